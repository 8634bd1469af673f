// SPDX-License-Identifier: Apache-2.0
// Small values as people write them in the service's files and requests: names, durations, sizes,
// addresses. All pure and safe from several threads.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace atelier::server {

// Valid UTF-8 (RFC 3629) without control characters (C0, DEL, C1) and line separators: text that
// can stand in a log, a header and a table.
bool is_clean_text(std::string_view text);

// Of a pipeline, pool, trigger or webhook: [a-z0-9][a-z0-9-]{0,62}.
bool is_name(std::string_view text);

// For a message: what somebody wrote, in quotes, cut after 80 bytes, with '?' for every byte that
// is not printable ASCII.
std::string shown(std::string_view text);

// "90s", "10m", "2h", "30d", with or without a blank before the unit. Nothing if it is not of that
// form, or above 100 years.
std::optional<std::chrono::seconds> parse_duration(std::string_view text);

// "512B", "8KiB", "8MiB", "8GiB", "8TiB", with or without a blank; K, M, G and T mean the same as
// in `atelier gc`. Nothing if it is not of that form, or above 2^60.
std::optional<uint64_t> parse_byte_size(std::string_view text);

// Seconds or [hours:]minutes:seconds, as `atelier run --from` takes them. Nothing if it is not of
// that form.
std::optional<double> parse_media_time(std::string_view text);

// Where something listens, or may be reached.
struct Address {
  std::string host;  // a name in lower case, or an IP address without brackets
  uint16_t port = 0;
  // Whether it is this machine alone: 127.0.0.0/8, ::1 or "localhost".
  bool is_loopback() const;
  // "127.0.0.1:8080", "[::1]:8080"
  std::string text() const;
  auto operator<=>(const Address&) const = default;
};
// As Address::text() writes it; the port is 1 to 65535. Numbers that only some programs take for
// an IPv4 address (127.1, 0x7f000001, 017700000001) are refused. Nothing if it is not of that form.
std::optional<Address> parse_address(std::string_view text);

}  // namespace atelier::server
