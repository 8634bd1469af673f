// SPDX-License-Identifier: Apache-2.0
// The plain page at "/": one document without anything from elsewhere.
#pragma once

#include <string_view>

namespace atelier::server {

std::string_view status_page();

}  // namespace atelier::server
