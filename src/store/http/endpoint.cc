// SPDX-License-Identifier: Apache-2.0
#include "store/http/endpoint.h"

#include <algorithm>

#include "store/http/http_client.h"
#include "store/names.h"

namespace atelier::http {
namespace {

std::string in_lower_case(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return result;
}

}  // namespace

bool is_sendable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7F; });
}

Result<std::string> parse_endpoint(std::string_view text, std::string_view service) {
  constexpr std::string_view kMark = "://";
  while (text.ends_with('/')) text.remove_suffix(1);
  const size_t mark = text.find(kMark);
  const std::string scheme = in_lower_case(text.substr(0, std::min(mark, text.size())));
  const bool known = mark != std::string_view::npos && (scheme == "http" || scheme == "https");
  const std::string_view rest = known ? text.substr(mark + kMark.size()) : std::string_view();
  const bool has_host = !rest.empty() && !rest.starts_with('/') && !rest.starts_with(':');
  if (!has_host || !is_sendable(text) || text.find_first_of("?#@\\") != std::string_view::npos) {
    return make_error(Code::invalid_argument,
                      "'{}' is not the address of {}; give https://host[:port][/path].",
                      percent_encode(origin_of(text.substr(text.rfind('@') + 1))), service);
  }
  return scheme + std::string(kMark) + std::string(rest);
}

}  // namespace atelier::http
