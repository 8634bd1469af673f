// SPDX-License-Identifier: Apache-2.0
#include "store/names.h"

#include <algorithm>

namespace atelier {
namespace {

// <cctype> follows the locale; RFC 3986 does not.
bool is_unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_good_part(std::string_view part) {
  return !part.empty() && part != "." && part != ".." && !part.starts_with(kReservedName);
}

}  // namespace

Result<void> check_key(std::string_view key) {
  bool good = key.find('\0') == std::string_view::npos;
  for (size_t begin = 0; good && begin <= key.size();) {
    const size_t end = std::min(key.find('/', begin), key.size());
    good = is_good_part(key.substr(begin, end - begin));
    begin = end + 1;
  }
  if (good) return {};
  return make_error(Code::invalid_argument,
                    "'{}' cannot name an object: use a relative path without empty, '.' or '..' "
                    "parts and without parts that begin with '{}'.",
                    percent_encode(key), kReservedName);
}

std::string percent_encode(std::string_view path) {
  std::string encoded;
  encoded.reserve(path.size());
  for (const char c : path) {
    if (is_unreserved(c) || c == '/') {
      encoded += c;
    } else {
      encoded += fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    }
  }
  return encoded;
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const int high = hex_value(text[i + 1]);
    const int low = hex_value(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    decoded += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return decoded;
}

}  // namespace atelier
