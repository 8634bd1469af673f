// SPDX-License-Identifier: Apache-2.0
#include "server/http_target.h"

#include <algorithm>

namespace atelier::server {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::optional<std::string> decode_percent(std::string_view text, bool is_query) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '+' && is_query) {
      c = ' ';
    } else if (c == '%') {
      if (text.size() - i < 3) return std::nullopt;
      const int high = hex_value(text[i + 1]), low = hex_value(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (c == '\0') return std::nullopt;
    decoded += c;
  }
  return decoded;
}

bool read_target(std::string_view target, Call& call) {
  constexpr size_t kLongest = 8192, kMostParameters = 64;
  if (target.empty() || target[0] != '/' || target.size() > kLongest) return false;
  const size_t question = std::min(target.find('?'), target.size());
  auto path = decode_percent(target.substr(0, question), false);
  if (!path) return false;
  call.path = std::move(*path);
  std::string_view rest = target.substr(question);
  if (!rest.empty()) rest.remove_prefix(1);
  for (size_t count = 0; !rest.empty(); ++count) {
    if (count == kMostParameters) return false;
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    if (pair.empty()) continue;
    const size_t equals = std::min(pair.find('='), pair.size());
    const auto name = decode_percent(pair.substr(0, equals), true);
    const auto value = decode_percent(pair.substr(std::min(pair.size(), equals + 1)), true);
    if (!name || !value) return false;
    call.query.emplace(*name, *value);
  }
  return true;
}

}  // namespace atelier::server
