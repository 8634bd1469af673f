// SPDX-License-Identifier: Apache-2.0
// How values of the service look in JSON, and how requests are read.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "server/call.h"
#include "server/catalog.h"
#include "server/runs.h"

namespace atelier::server {

// Bytes that are no UTF-8 (names of files) are replaced.
Reply json_reply(const nlohmann::json& body, int status = 200);

// "2026-11-30T03:04:05.678Z" (RFC 3339), and back; a date alone is its first moment.
std::string time_text(Millis time);
std::optional<Millis> parse_time_text(const std::string& text);

nlohmann::json to_json(const RunRow& run);
nlohmann::json to_json(const EventRow& event);
nlohmann::json to_json(const PublishedPipeline& pipeline);

// A whole number of the query within bounds, or `otherwise`. Errors: invalid_argument.
Result<int64_t> integer_of_query(const Call& call, const std::string& name, int64_t least,
                                 int64_t most, int64_t otherwise);

}  // namespace atelier::server
