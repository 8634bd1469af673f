// SPDX-License-Identifier: Apache-2.0
#include "server/text_values.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace atelier::server {
namespace {

constexpr uint64_t kMostSeconds = 100ull * 366 * 86400;
constexpr uint64_t kMostBytes = uint64_t{1} << 60;
constexpr size_t kLongestHost = 253;  // RFC 1035, section 2.3.4

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_small(char c) { return c >= 'a' && c <= 'z'; }

// How many bytes follow this one in a character; -1: none begins so (RFC 3629, section 3).
int followers(unsigned char c) {
  if (c < 0x80) return 0;
  if (c >= 0xC2 && c <= 0xDF) return 1;
  if (c >= 0xE0 && c <= 0xEF) return 2;
  if (c >= 0xF0 && c <= 0xF4) return 3;
  return -1;
}

// Of a character of so many bytes: neither a longer form of it, nor a surrogate, nor beyond the
// last, nor one that moves the line.
bool is_clean_character(uint32_t code, int bytes) {
  constexpr std::array<uint32_t, 4> kLeast = {0, 0x80, 0x800, 0x10000};
  if (code < kLeast[static_cast<size_t>(bytes)] || code > 0x10FFFF) return false;
  if (code >= 0xD800 && code <= 0xDFFF) return false;
  if (code < 0x20 || (code >= 0x7F && code <= 0x9F)) return false;
  return code != 0x2028 && code != 0x2029;
}

struct Unit {
  std::string_view name;
  uint64_t factor;
};

template <size_t N>
std::optional<uint64_t> parse_with_unit(std::string_view text, const std::array<Unit, N>& units,
                                        uint64_t most) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  std::string_view rest(end, static_cast<size_t>(text.data() + text.size() - end));
  if (rest.starts_with(' ')) rest.remove_prefix(1);
  for (const Unit& unit : units) {
    if (rest == unit.name && value <= most / unit.factor) return value * unit.factor;
  }
  return std::nullopt;
}

bool is_ip(const std::string& host, int family) {
  std::array<unsigned char, 16> bytes{};
  return ::inet_pton(family, host.c_str(), bytes.data()) == 1;
}

// RFC 1123, section 2.1. A name whose last label begins with a digit is an attempt at a number.
bool is_host_name(std::string_view host) {
  if (host.empty() || host.size() > kLongestHost) return false;
  std::string_view label;
  for (std::string_view rest = host;; rest.remove_prefix(label.size() + 1)) {
    label = rest.substr(0, rest.find('.'));
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') {
      return false;
    }
    const bool good = std::all_of(label.begin(), label.end(),
                                  [](char c) { return is_small(c) || is_digit(c) || c == '-'; });
    if (!good) return false;
    if (label.size() == rest.size()) return !is_digit(label.front());
  }
}

}  // namespace

bool is_clean_text(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i]);
    const int more = followers(first);
    if (more < 0 || i + static_cast<size_t>(more) >= text.size()) return false;
    uint32_t code = more == 0 ? first : first & (0x3Fu >> more);
    for (int k = 1; k <= more; ++k) {
      const auto next = static_cast<unsigned char>(text[i + static_cast<size_t>(k)]);
      if ((next & 0xC0) != 0x80) return false;
      code = code << 6 | (next & 0x3F);
    }
    if (!is_clean_character(code, more)) return false;
    i += static_cast<size_t>(more) + 1;
  }
  return true;
}

bool is_name(std::string_view text) {
  if (text.empty() || text.size() > 63 || text.front() == '-') return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return is_small(c) || is_digit(c) || c == '-'; });
}

std::string shown(std::string_view text) {
  constexpr size_t kMost = 80;
  std::string result = "'";
  for (const char c : text.substr(0, kMost)) result += c >= ' ' && c <= '~' ? c : '?';
  return result + (text.size() > kMost ? "...'" : "'");
}

std::optional<std::chrono::seconds> parse_duration(std::string_view text) {
  constexpr std::array<Unit, 4> kUnits = {{{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}}};
  const auto seconds = parse_with_unit(text, kUnits, kMostSeconds);
  if (!seconds) return std::nullopt;
  return std::chrono::seconds(*seconds);
}

std::optional<uint64_t> parse_byte_size(std::string_view text) {
  constexpr std::array<Unit, 9> kUnits = {{{"B", 1},
                                           {"K", uint64_t{1} << 10},
                                           {"KiB", uint64_t{1} << 10},
                                           {"M", uint64_t{1} << 20},
                                           {"MiB", uint64_t{1} << 20},
                                           {"G", uint64_t{1} << 30},
                                           {"GiB", uint64_t{1} << 30},
                                           {"T", uint64_t{1} << 40},
                                           {"TiB", uint64_t{1} << 40}}};
  return parse_with_unit(text, kUnits, kMostBytes);
}

std::optional<double> parse_media_time(std::string_view text) {
  double total = 0;
  for (int part = 0; part < 3; ++part) {
    const std::string_view digits = text.substr(0, text.find(':'));
    double value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size() || !std::isfinite(value) ||
        std::signbit(value)) {
      return std::nullopt;
    }
    total = total * 60 + value;
    if (digits.size() == text.size()) {
      return std::isfinite(total) ? std::optional(total) : std::nullopt;
    }
    text.remove_prefix(digits.size() + 1);
  }
  return std::nullopt;
}

bool Address::is_loopback() const {
  return host == "localhost" || host == "::1" || (host.starts_with("127.") && is_ip(host, AF_INET));
}

std::string Address::text() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port)
                                             : fmt::format("[{}]:{}", host, port);
}

std::optional<Address> parse_address(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return std::nullopt;
  Address address;
  const std::string_view port = text.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (error != std::errc() || end != port.data() + port.size() || address.port == 0) {
    return std::nullopt;
  }
  address.host = text.substr(0, colon);
  // A NUL would end the text for inet_pton.
  if (address.host.find('\0') != std::string::npos) return std::nullopt;
  std::transform(address.host.begin(), address.host.end(), address.host.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (address.host.starts_with('[') && address.host.ends_with(']')) {
    address.host = address.host.substr(1, address.host.size() - 2);
    return is_ip(address.host, AF_INET6) ? std::optional(address) : std::nullopt;
  }
  const bool good = is_ip(address.host, AF_INET) || is_host_name(address.host);
  return good ? std::optional(address) : std::nullopt;
}

}  // namespace atelier::server
