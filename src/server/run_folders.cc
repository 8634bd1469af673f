// SPDX-License-Identifier: Apache-2.0
#include "server/run_folders.h"

#include <algorithm>
#include <map>

#include "run/ledger_view.h"
#include "run/report.h"
#include "run/run_folder.h"

namespace atelier::server {

std::optional<std::string> RunFolders::name_of(const std::string& run_url) const {
  const size_t slash = run_url.rfind('/');
  if (slash == std::string::npos) return std::nullopt;
  const std::string name = run_url.substr(slash + 1);
  const bool is_name =
      !name.empty() && name.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!is_name || store_.url(name) != run_url) return std::nullopt;
  return name;
}

Result<std::optional<std::string>> RunFolders::state(const std::string& run_url) {
  const auto name = name_of(run_url);
  if (!name) return std::optional<std::string>();
  auto state = run::read_state(store_, *name);
  if (!state.ok() && state.error().code == Code::invalid_argument) {
    return std::optional<std::string>();
  }
  return std::optional<std::string>(run::to_json(TRY(std::move(state))));
}

Result<std::optional<std::string>> RunFolders::report(const std::string& run_url) {
  const auto name = name_of(run_url);
  if (!name) return std::optional<std::string>();
  return run::RunFolder(store_, *name).read_report();
}

Result<std::vector<NodeTime>> RunFolders::node_times(const std::string& run_url, Millis since,
                                                     bool of_machines) {
  std::map<std::string, NodeTime> nodes;
  const auto name = name_of(run_url);
  if (!name) return std::vector<NodeTime>();
  const auto objects = TRY(list_all(store_, *name + "/workers/"));
  for (const run::WorkerView& worker : TRY(run::read_workers(store_, objects))) {
    // Who waits for the workers beats, too, on the service's own machine; an engine's workers are
    // called after it: WAITER.JOB.
    if (worker.name.find('.') == std::string::npos) continue;
    NodeTime time{worker.name, 0, 0};
    time.end =
        std::chrono::floor<std::chrono::milliseconds>(worker.beat.time_since_epoch()).count();
    time.begin = time.end - static_cast<Millis>(std::max(0.0, worker.seconds) * 1000);
    if (time.end < since) continue;
    if (of_machines && !worker.origin.boot.empty()) time.node = worker.origin.boot;
    const auto [known, is_new] = nodes.emplace(time.node, time);
    if (is_new) continue;
    known->second.begin = std::min(known->second.begin, time.begin);
    known->second.end = std::max(known->second.end, time.end);
  }
  std::vector<NodeTime> times;
  for (auto& [key, time] : nodes) times.push_back(std::move(time));
  return times;
}

Result<std::vector<LogPiece>> RunFolders::logs(const std::string& run_url,
                                               const std::string& worker, uint64_t most_bytes) {
  std::vector<LogPiece> pieces;
  const auto name = name_of(run_url);
  if (!name) return pieces;
  const std::string prefix = *name + "/logs/";
  std::vector<ObjectInfo> objects = TRY(list_all(store_, prefix));
  const auto worker_of = [&](const ObjectInfo& object) {
    const std::string rest = object.key.substr(prefix.size());
    return rest.substr(0, rest.find('/'));
  };
  std::erase_if(objects, [&](const ObjectInfo& object) {
    return !worker.empty() && worker_of(object) != worker;
  });
  std::stable_sort(objects.begin(), objects.end(), [](const ObjectInfo& a, const ObjectInfo& b) {
    return a.modified < b.modified;
  });
  uint64_t bytes = 0;
  size_t first = objects.size();
  while (first > 0 && bytes + objects[first - 1].size <= most_bytes) {
    bytes += objects[--first].size;
  }
  for (size_t i = first; i < objects.size(); ++i) {
    const auto text = TRY(read_object(store_, objects[i].key, most_bytes));
    if (!text) continue;  // removed meanwhile
    pieces.push_back({worker_of(objects[i]), objects[i].modified,
                      std::string(reinterpret_cast<const char*>(text->data()), text->size())});
  }
  return pieces;
}

}  // namespace atelier::server
