// SPDX-License-Identifier: Apache-2.0
#include "server/config_parts.h"

namespace atelier::server {
namespace {

constexpr int64_t kMostRuns = 1'000'000;
constexpr int64_t kMostMinutes = 100 * 24 * 60;
constexpr int64_t kMostPixels = int64_t{16384} * 16384;
constexpr double kMostRequests = 1e6;
constexpr size_t kMostOwners = 1000;

// `suffix`: of the keys that name a number of runs.
Result<OwnerLimits> read_owner(TomlReader& reader, const OwnerLimits& otherwise,
                               const std::string& suffix) {
  OwnerLimits limits;
  limits.max_queued =
      TRY(reader.integer("max_queued" + suffix, 1, kMostRuns, otherwise.max_queued));
  limits.max_queued_bytes =
      TRY(reader.bytes("max_queued_bytes" + suffix, otherwise.max_queued_bytes));
  limits.max_running =
      TRY(reader.integer("max_running" + suffix, 1, kMostRuns, otherwise.max_running));
  limits.max_input_bytes = TRY(reader.bytes("max_input_bytes", otherwise.max_input_bytes));
  limits.max_minutes = TRY(reader.integer("max_minutes", 1, kMostMinutes, otherwise.max_minutes));
  limits.max_pixels = TRY(reader.integer("max_pixels", 1, kMostPixels, otherwise.max_pixels));
  limits.requests_per_second =
      TRY(reader.number("requests_per_second", 0.01, kMostRequests, otherwise.requests_per_second));
  return limits;
}

Result<void> read_owners(TomlReader& reader, ServiceLimits& limits) {
  const toml::table* owners = TRY(reader.table("owners"));
  if (owners == nullptr) return {};
  if (owners->size() > kMostOwners) {
    return reader.wrong("owners", fmt::format("at most {} tables", kMostOwners));
  }
  TomlReader all(*owners, reader.what(), reader.path_of("owners"));
  for (const auto& [key, node] : *owners) {
    const std::string name(key.str());
    const toml::table* table = TRY(all.table(name));
    if (table == nullptr || name.empty() || name.size() > 255 || !is_clean_text(name)) {
      return all.wrong(name, "a table whose name is an owner's");
    }
    TomlReader one(*table, all.what(), all.path_of(name));
    limits.by_name[name] = TRY(read_owner(one, limits.each, ""));
    TRY(one.finish());
  }
  return {};
}

}  // namespace

Result<ServiceLimits> read_limits(TomlReader& reader) {
  ServiceLimits limits;
  const toml::table* table = TRY(reader.table("limits"));
  if (table == nullptr) return limits;
  TomlReader own(*table, reader.what(), reader.path_of("limits"));
  limits.max_queued = TRY(own.integer("max_queued", 1, kMostRuns, limits.max_queued));
  limits.each = TRY(read_owner(own, limits.each, "_per_owner"));
  limits.requests_per_second_per_address =
      TRY(own.number("requests_per_second_per_address", 0.01, kMostRequests,
                     limits.requests_per_second_per_address));
  constexpr uint64_t kMostBody = uint64_t{64} << 20;
  limits.max_body_bytes = TRY(own.bytes("max_body_bytes", limits.max_body_bytes));
  if (limits.max_body_bytes < 1024 || limits.max_body_bytes > kMostBody) {
    return own.wrong("max_body_bytes", "from 1KiB to 64MiB, since bodies are held in memory");
  }
  limits.max_streams = TRY(own.integer("max_streams", 1, 10000, limits.max_streams));
  limits.max_streams_per_token =
      TRY(own.integer("max_streams_per_token", 1, 10000, limits.max_streams_per_token));
  limits.request_timeout = TRY(own.duration("request_timeout", limits.request_timeout));
  if (limits.request_timeout > std::chrono::minutes(10)) {
    return own.wrong("request_timeout", "at most 10m, since a slow client holds a thread");
  }
  TRY(read_owners(own, limits));
  TRY(own.finish());
  return limits;
}

const OwnerLimits& ServiceLimits::of(const std::string& owner) const {
  const auto named = by_name.find(owner);
  return named == by_name.end() ? each : named->second;
}

}  // namespace atelier::server
