// SPDX-License-Identifier: Apache-2.0
#include "run/ledger_records.h"

#include <charconv>

namespace atelier::run {
namespace {

using nlohmann::json;

constexpr uint64_t kLargestRecord = 1u << 20;

}  // namespace

Error damaged_record(const std::string& url, const char* why) {
  return make_error(Code::corrupt, "The record '{}' is damaged ({}); start anew with --no-reuse.",
                    url, why);
}

// One that changes between the two calls is read again: beats are overwritten all the time.
Result<std::optional<json>> read_record(ObjectStore& store, const std::string& key) {
  const auto bytes = TRY(read_object(store, key, kLargestRecord));
  if (!bytes) return std::optional<json>();
  json record = json::parse(as_text(*bytes), nullptr, false);
  if (!record.is_object()) return damaged_record(store.url(key), "not JSON");
  return std::optional(std::move(record));
}

std::string record_text(const json& record) {
  return record.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

json to_record(const Origin& o) {
  return {{"machine", o.machine},
          {"boot", o.boot},
          {"space", o.space},
          {"pid", o.pid},
          {"started", o.started}};
}

Origin origin_of(const json& j) {
  return {j.at("machine").get<std::string>(), j.at("boot").get<std::string>(),
          j.at("space").get<std::string>(), j.at("pid").get<int64_t>(),
          j.at("started").get<uint64_t>()};
}

bool parse_record_name(std::string_view text, RecordName& name) {
  const auto number = [](std::string_view digits, int& value) {
    const auto [end, error] = std::from_chars(digits.begin(), digits.end(), value);
    return error == std::errc() && end == digits.end() && value >= 0;
  };
  if (text.ends_with(".json")) {
    name.commit = true;
    return number(text.substr(0, text.size() - 5), name.chunk);
  }
  constexpr std::string_view kClaim = ".claim.";
  const size_t at = text.find(kClaim);
  return at != std::string_view::npos && number(text.substr(0, at), name.chunk) &&
         number(text.substr(at + kClaim.size()), name.generation);
}

}  // namespace atelier::run
