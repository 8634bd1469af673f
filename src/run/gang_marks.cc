// SPDX-License-Identifier: Apache-2.0
#include "run/gang_marks.h"

#include <fmt/format.h>

#include <string_view>

namespace atelier::run {
namespace {

constexpr std::string_view kEnd = ".there";

std::string folder_of(const std::string& run_id, const std::string& gang) {
  return fmt::format("{}/gang/{}/", run_id, gang);
}

std::string key_of(const std::string& run_id, const std::string& gang, const std::string& node) {
  return fmt::format("{}{}{}", folder_of(run_id, gang), node, kEnd);
}

}  // namespace

Result<void> put_mark(ObjectStore& store, const std::string& run_id, const std::string& gang,
                      const std::string& node, int count) {
  const std::string text = fmt::format("{}\n", count);
  TRY(store.put(key_of(run_id, gang, node), as_bytes(text), Condition::always()));
  return {};
}

Result<void> remove_mark(ObjectStore& store, const std::string& run_id, const std::string& gang,
                         const std::string& node) {
  TRY(store.remove(key_of(run_id, gang, node)));
  return {};
}

Result<GangMarks> marks_of(ObjectStore& store, const std::string& run_id, const std::string& gang) {
  const std::string folder = folder_of(run_id, gang);
  GangMarks marks;
  for (const ObjectInfo& object : TRY(list_all(store, folder))) {
    std::string_view node = std::string_view(object.key).substr(folder.size());
    if (!node.ends_with(kEnd)) continue;
    node.remove_suffix(kEnd.size());
    marks[std::string(node)] = object.etag;
  }
  return marks;
}

std::vector<std::string> absent_nodes(const std::vector<std::string>& nodes,
                                      const GangMarks& before, const GangMarks& now) {
  std::vector<std::string> absent;
  for (const std::string& node : nodes) {
    const auto mark = now.find(node);
    const auto earlier = before.find(node);
    const bool beats =
        mark != now.end() && (earlier == before.end() || earlier->second != mark->second);
    if (!beats) absent.push_back(node);
  }
  return absent;
}

}  // namespace atelier::run
