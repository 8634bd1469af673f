// SPDX-License-Identifier: Apache-2.0
// The address of a service, as people write it.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace atelier::http {

// Printable ASCII without a blank: what can stand in a URL or a header as it is.
bool is_sendable(std::string_view text);

// "https://host[:port][/path]", the scheme in lower case, without a '/' at the end. The scheme must
// be there, since what guesses one (libcurl) guesses http, and a credential would go in clear.
// `service` names what should be there: "an S3 server". Errors, which show nothing but scheme and
// host: invalid_argument (another scheme or none, no host, a user or a password, a query).
Result<std::string> parse_endpoint(std::string_view text, std::string_view service);

}  // namespace atelier::http
