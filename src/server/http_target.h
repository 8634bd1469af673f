// SPDX-License-Identifier: Apache-2.0
// The target of a request, "/v1/runs?state=queued" (RFC 9110, 7.1): pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "server/call.h"

namespace atelier::server {

// Percent-decodes (RFC 3986); "+" is a space with `is_query`. Nothing for a broken escape or a NUL.
std::optional<std::string> decode_percent(std::string_view text, bool is_query);

// Splits a request target, "/v1/runs?state=queued", into the call's path and query. False if it is
// none, or of more than 8 KiB or 64 parameters.
bool read_target(std::string_view target, Call& call);

}  // namespace atelier::server
