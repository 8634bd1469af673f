// SPDX-License-Identifier: Apache-2.0
#include "run/clean_up.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "run/ledger_records.h"
#include "run/run_folder.h"

namespace atelier::run {
namespace {

using nlohmann::json;
using std::chrono::duration_cast;
using std::chrono::seconds;

// After this long a remover that cannot be asked is thought to be dead.
constexpr std::chrono::hours kLongAgo(24);

std::string marker_key(const std::string& run_id) { return run_id + "/" + kRemovingName; }

// As make_run_id makes them.
bool is_run_name(std::string_view name) {
  return name.size() == 16 && name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool is_part_of_a_run(std::string_view path) {
  constexpr std::array<std::string_view, 6> kRecords = {
      "manifest.json", "report.json", "engine.json", "gang.json", "cancel.json", kRemovingName};
  constexpr std::array<std::string_view, 8> kFolders = {
      "chunks/", "failed/", "unpainted/", "workers/", "logs/", "frames/", "trace/", "gang/"};
  return std::find(kRecords.begin(), kRecords.end(), path) != kRecords.end() ||
         std::any_of(kFolders.begin(), kFolders.end(),
                     [&](std::string_view folder) { return path.starts_with(folder); });
}

// The names of folders that may be runs, without walking through any.
Result<std::vector<std::string>> run_names(ObjectStore& store) {
  std::vector<std::string> names;
  std::string after;
  for (;;) {
    const ListPage page = TRY(store.list("", after, 1));
    if (page.objects.empty()) return names;
    const std::string& key = page.objects.front().key;
    const size_t slash = key.find('/');
    if (slash == std::string::npos) {
      after = key;
      continue;
    }
    if (is_run_name(std::string_view(key).substr(0, slash))) names.push_back(key.substr(0, slash));
    after = key.substr(0, slash) + static_cast<char>('/' + 1);  // behind all that lies below it
  }
}

std::string text_of(std::chrono::system_clock::duration age) {
  const auto s = std::max<int64_t>(0, duration_cast<seconds>(age).count());
  return s < 120 ? fmt::format("{} s", s) : fmt::format("{} min", s / 60);
}

Result<std::optional<std::string>> remover_of(ObjectStore& store, const ObjectInfo& marker,
                                              WallTime now,
                                              const std::function<Liveness(const Origin&)>& life) {
  const auto record = read_record(store, marker.key);
  if (!record.ok() && record.error().code != Code::corrupt) return record.error();
  Liveness liveness = Liveness::unknown;
  try {
    if (record.ok() && !*record) return std::optional<std::string>();
    if (record.ok()) liveness = life(origin_of((*record)->at("origin")));
  } catch (const json::exception&) {
    liveness = Liveness::unknown;
  }
  if (liveness == Liveness::dead) return std::optional<std::string>();
  if (liveness == Liveness::unknown && now - marker.modified > kLongAgo) {
    return std::optional<std::string>();
  }
  return std::optional<std::string>(
      fmt::format("another gc began to remove it {} ago", text_of(now - marker.modified)));
}

class Looker {
 public:
  Looker(ObjectStore& store, WallTime now, const std::function<Liveness(const Origin&)>& liveness)
      : store_(store), now_(now), liveness_(liveness) {}

  Result<RunFacts> look(const std::string& run_id) {
    RunFacts facts;
    facts.run_id = run_id;
    const auto objects = TRY(list_all(store_, run_id + "/"));
    const ObjectInfo* report = nullptr;
    const ObjectInfo* marker = nullptr;
    WallTime worked;  // the last change but for the report
    bool foreign = false;
    for (const ObjectInfo& object : objects) {
      const std::string_view path = std::string_view(object.key).substr(run_id.size() + 1);
      facts.etags[object.key] = object.etag;
      facts.bytes += object.size;
      if (path == kRemovingName) {
        marker = &object;
      } else {
        facts.changed = std::max(facts.changed, object.modified);
      }
      if (path == "report.json") {
        report = &object;
      } else if (path != kRemovingName) {
        worked = std::max(worked, object.modified);
      }
      foreign = foreign || !is_part_of_a_run(path);
    }
    TRY(read_state(objects, report != nullptr, foreign, facts));
    if (marker != nullptr) {
      if (auto other = TRY(remover_of(store_, *marker, now_, liveness_))) facts.in_use = *other;
    }
    // Whoever prepares or joins may have no worker there; the report comes last.
    if ((report == nullptr || worked > report->modified) && now_ - worked < kMoment) {
      facts.in_use = fmt::format("changed {} ago and not published since", text_of(now_ - worked));
    }
    TRY(look_at_workers(objects, facts));
    return facts;
  }

 private:
  Result<void> read_state(const std::vector<ObjectInfo>& objects, bool published, bool foreign,
                          RunFacts& facts) {
    const auto manifest = RunFolder(store_, facts.run_id).read_manifest();
    if (foreign) {
      facts.state = RunFacts::State::foreign;
    } else if (!manifest.ok()) {
      const Code code = manifest.error().code;
      if (code != Code::corrupt && code != Code::conflict) return manifest.error();
      facts.state = RunFacts::State::unreadable;
    } else if (!*manifest) {
      facts.state = RunFacts::State::remains;
    } else {
      facts.state = published ? RunFacts::State::done : RunFacts::State::unfinished;
    }
    if (!manifest.ok() || !*manifest) return {};
    facts.frames_expected = (*manifest)->frames_expected();
    facts.frames = 0;
    const std::string chunks = facts.run_id + "/chunks/";
    for (const ObjectInfo& object : objects) {
      RecordName name;
      if (!object.key.starts_with(chunks) ||
          !parse_record_name(std::string_view(object.key).substr(chunks.size()), name) ||
          !name.commit || static_cast<size_t>(name.chunk) >= (*manifest)->chunks.size()) {
        continue;
      }
      *facts.frames += (*manifest)->chunks[static_cast<size_t>(name.chunk)].frames;
    }
    return {};
  }

  Result<void> look_at_workers(const std::vector<ObjectInfo>& objects, RunFacts& facts) {
    for (const WorkerView& worker : TRY(read_workers(store_, objects))) {
      if (worker.left) continue;
      const Liveness life = liveness_(worker.origin);
      if (life == Liveness::dead) continue;
      if (life == Liveness::alive) {
        facts.in_use =
            fmt::format("worker {} is there, process {}", worker.name, worker.origin.pid);
      } else if (now_ - worker.beat < kMoment) {
        facts.in_use =
            fmt::format("worker {} beat {} ago", worker.name, text_of(now_ - worker.beat));
      } else {
        facts.silent_workers = true;
      }
    }
    return {};
  }

  ObjectStore& store_;
  const WallTime now_;
  const std::function<Liveness(const Origin&)>& liveness_;
};

// Ours, unless another remover's stands that is not known to be dead: then its sentence.
Result<std::optional<std::string>> put_marker(ObjectStore& store, const std::string& run_id,
                                              WallTime now,
                                              const std::function<Liveness(const Origin&)>& life) {
  const std::string key = marker_key(run_id);
  const std::string text = record_text({{"origin", to_record(this_process())}});
  if (TRY(store.put(key, as_bytes(text), Condition::if_absent())).written) {
    return std::optional<std::string>();
  }
  const auto standing = TRY(store.head(key));
  if (standing) {
    if (auto other = TRY(remover_of(store, *standing, now, life))) return other;
    if (TRY(store.put(key, as_bytes(text), Condition::if_match(standing->etag))).written) {
      return std::optional<std::string>();
    }
  }
  return std::optional<std::string>("another gc came first");
}

// Whether anything but the marker differs from what was seen.
Result<bool> has_changed(ObjectStore& store, const RunFacts& facts) {
  const std::string marker = marker_key(facts.run_id);
  auto seen = facts.etags;
  std::map<std::string, std::string> now;
  for (const ObjectInfo& object : TRY(list_all(store, facts.run_id + "/"))) {
    now[object.key] = object.etag;
  }
  seen.erase(marker);
  now.erase(marker);
  return seen != now;
}

}  // namespace

const char* to_string(RunFacts::State state) {
  switch (state) {
    case RunFacts::State::done: return "done";
    case RunFacts::State::unfinished: return "unfinished";
    case RunFacts::State::remains: return "remains";
    case RunFacts::State::unreadable: return "unreadable";
    case RunFacts::State::foreign: return "foreign";
  }
  return "";
}

Result<std::vector<RunFacts>> look_at_runs(ObjectStore& store, WallTime now,
                                           const std::function<Liveness(const Origin&)>& liveness) {
  Looker looker(store, now, liveness);
  std::vector<RunFacts> runs;
  for (const std::string& name : TRY(run_names(store))) {
    RunFacts facts = TRY(looker.look(name));
    if (!facts.etags.empty()) runs.push_back(std::move(facts));
  }
  return runs;
}

std::vector<CleanUpChoice> choose_runs_to_remove(const std::vector<RunFacts>& runs,
                                                 const CleanUpPolicy& policy, WallTime now) {
  std::vector<CleanUpChoice> choices(runs.size());
  std::vector<size_t> rest;  // what may go for the sake of size
  uint64_t bytes = 0;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (runs[i].state == RunFacts::State::foreign) {
      choices[i].why = "holds files that are no part of a run";
    } else if (!runs[i].in_use.empty()) {
      choices[i].why = "in use: " + runs[i].in_use;
    } else if (policy.older_than && now - runs[i].changed > *policy.older_than) {
      choices[i] = {true, "older"};
      continue;
    } else {
      choices[i].why = policy.larger_than ? "within the size" : "younger";
      rest.push_back(i);
    }
    bytes += runs[i].bytes;
  }
  std::sort(rest.begin(), rest.end(), [&](size_t a, size_t b) {
    return std::tie(runs[a].changed, runs[a].run_id) < std::tie(runs[b].changed, runs[b].run_id);
  });
  for (const size_t i : rest) {
    if (!policy.larger_than || bytes <= *policy.larger_than) break;
    choices[i] = {true, "the oldest of too much"};
    bytes -= runs[i].bytes;
  }
  return choices;
}

Result<std::optional<std::string>> remove_run(
    ObjectStore& store, const RunFacts& facts, WallTime now,
    const std::function<Liveness(const Origin&)>& liveness) {
  if (auto other = TRY(put_marker(store, facts.run_id, now, liveness))) return other;
  const auto changed = has_changed(store, facts);
  if (!changed.ok() || *changed) {
    TRY(store.remove(marker_key(facts.run_id)));
    if (!changed.ok()) return changed.error();
    return std::optional<std::string>("it changed while it was looked at");
  }
  TRY(RunFolder(store, facts.run_id).clear());
  return std::optional<std::string>();
}

Result<void> check_stands(ObjectStore& store, const std::string& run_id,
                          const std::function<Liveness(const Origin&)>& liveness) {
  const auto marker = TRY(store.head(marker_key(run_id)));
  if (marker) {
    const auto now = std::chrono::system_clock::now();
    if (const auto other = TRY(remover_of(store, *marker, now, liveness))) {
      return make_error(Code::corrupt,
                        "Run {} is not to be used: {}; give the same command again when it has "
                        "ended, or with --no-reuse.",
                        run_id, *other);
    }
    TRY(store.remove(marker->key));
  }
  if (!TRY(store.head(run_id + "/manifest.json"))) {
    return make_error(Code::corrupt, "Run {} was removed while this command began; give it again.",
                      run_id);
  }
  return {};
}

}  // namespace atelier::run
