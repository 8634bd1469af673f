// SPDX-License-Identifier: Apache-2.0
#include "run/gang_record.h"

#include <nlohmann/json.hpp>

namespace atelier::run {
namespace {

using nlohmann::json;

std::string key_of(const std::string& run_id) { return run_id + "/gang.json"; }

}  // namespace

std::string to_json(const GangRecord& record) {
  const json j = {{"gang", record.gang}, {"statistics", record.statistics}};
  return j.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

Result<GangRecord> gang_from_json(std::string_view text) {
  try {
    const json j = json::parse(text);
    return GangRecord{j.at("gang").get<std::string>(),
                      j.at("statistics").get<std::map<std::string, double>>()};
  } catch (const json::exception&) {
    return make_error(Code::corrupt, "The run's gang.json is damaged; remove it.");
  }
}

Result<void> put_gang(ObjectStore& store, const std::string& run_id, const GangRecord& record) {
  TRY(store.put(key_of(run_id), as_bytes(to_json(record)), Condition::always()));
  return {};
}

Result<std::optional<GangRecord>> read_gang(ObjectStore& store, const std::string& run_id) {
  constexpr uint64_t kLargest = 1U << 20;
  const auto bytes = TRY(read_object(store, key_of(run_id), kLargest));
  if (!bytes) return std::optional<GangRecord>();
  return std::optional(TRY(gang_from_json(as_text(*bytes))));
}

}  // namespace atelier::run
