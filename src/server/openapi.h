// SPDX-License-Identifier: Apache-2.0
// The OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.0), made of the router's table.
#pragma once

#include <string>
#include <vector>

#include "server/router.h"

namespace atelier::server {

// `streams` are served at `events_address`.
std::string make_openapi(const std::vector<Operation>& operations,
                         const std::vector<Operation>& streams, const std::string& version,
                         const std::string& events_address);

}  // namespace atelier::server
