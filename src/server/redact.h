// SPDX-License-Identifier: Apache-2.0
// What is written down for others to read, without what would give somebody rights. A safety net
// under code that should not have passed a secret on in the first place: it errs towards taking
// out too much.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace atelier::server {

// Takes out of a text: the query, fragment, user and password of every URL; every query that has a
// "name=value"; the value of "name=..." where the name sounds like a secret; tokens of this
// service.
std::string redacted(std::string_view text);

// The same for every string of a JSON text and for its names, and the whole value of every name
// that sounds like a secret ("password", "sig", "access_key", "client_token"). What is nested
// deeper than 32 is left out. Errors: invalid_argument (it is no JSON).
Result<std::string> redacted_json(std::string_view json);

}  // namespace atelier::server
