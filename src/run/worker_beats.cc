// SPDX-License-Identifier: Apache-2.0
#include "run/worker_beats.h"

#include <string_view>

#include "run/ledger_records.h"

namespace atelier::run {

Result<std::map<std::string, std::string>> beats_of(ObjectStore& store, const std::string& run_id,
                                                    const std::string& prefix) {
  constexpr std::string_view kEnd = ".beat";
  const std::string folder = run_id + "/workers/";
  std::map<std::string, std::string> beats;
  for (const ObjectInfo& object : TRY(list_all(store, folder + prefix))) {
    if (!object.key.ends_with(kEnd)) continue;
    beats[object.key.substr(folder.size(), object.key.size() - folder.size() - kEnd.size())] =
        object.etag;
  }
  return beats;
}

Result<void> bury(ObjectStore& store, const std::string& run_id, const std::string& worker) {
  const std::string key = run_id + "/workers/" + worker + ".beat";
  auto record = TRY(read_record(store, key));
  if (!record) return {};
  try {
    if (record->at("left").get<bool>()) return {};
  } catch (const nlohmann::json::exception& e) {
    return damaged_record(store.url(key), e.what());
  }
  (*record)["left"] = true;
  (*record)["lost"] = true;
  const std::string text = record->dump() + "\n";
  TRY(store.put(key, as_bytes(text), Condition::always()));
  return {};
}

}  // namespace atelier::run
