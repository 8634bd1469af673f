// SPDX-License-Identifier: Apache-2.0
// How the records of the ledger lie in the store, for those who write or read them. Used inside
// src/run alone.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "run/ledger.h"

namespace atelier::run {

// corrupt, with what to do.
Error damaged_record(const std::string& url, const char* why);

// The whole object, or nothing if it is absent. Errors: corrupt, those of the store.
Result<std::optional<nlohmann::json>> read_record(ObjectStore& store, const std::string& key);
std::string record_text(const nlohmann::json& record);

nlohmann::json to_record(const Origin& origin);
// Throws json::exception.
Origin origin_of(const nlohmann::json& record);

// "000007.json" or "000007.claim.3" after the folder's name; false for anything else.
struct RecordName {
  int chunk = -1;
  int generation = 0;   // of a claim
  bool commit = false;  // or, in failed/, that the chunk was given up
};
bool parse_record_name(std::string_view text, RecordName& name);

}  // namespace atelier::run
