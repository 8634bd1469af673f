// SPDX-License-Identifier: Apache-2.0
// IP addresses and networks as values, and which of them are places on the public Internet.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace atelier::server {

struct IpAddress {
  std::array<uint8_t, 16> bytes{};  // in network order; of IPv4 the first four
  int size = 4;                     // in bytes: 4, or 16 for IPv6
  bool operator==(const IpAddress&) const = default;
  // "10.0.0.1", or the form of RFC 5952.
  std::string text() const;
};

// Four decimal numbers without leading zeros, or the forms of RFC 4291 without brackets and zone.
// Empty: anything else, so also what C libraries take for an address ("127.1", "0x7f000001").
std::optional<IpAddress> parse_ip(std::string_view text);

struct IpNetwork {
  IpAddress first;
  int bits = 32;  // that an address has in common with `first`
  // An IPv4 network holds no IPv6 address, and the other way about.
  bool holds(const IpAddress& address) const;
};

// "10.0.0.0/8", "fd00::/8", or an address, which is a network of one. Empty: anything else, also
// where bits behind the prefix are set: whoever wrote 10.1.2.3/8 meant something else.
std::optional<IpNetwork> parse_network(std::string_view text);

// False: what the registries of special addresses (RFC 6890 and those after it, as of 2026) do not
// call globally reachable, and every IPv6 address that carries an IPv4 address: loopback, private,
// link-local, shared, multicast, reserved, for documentation, mapped, translated, 6to4, Teredo.
// For IPv6 that is all outside 2000::/3, so that what is not known is not public.
bool is_public(const IpAddress& address);

// Where the machines of clouds ask for their identity and its tokens: whoever reaches one of these
// in the name of a machine has its rights.
bool is_metadata(const IpAddress& address);

}  // namespace atelier::server
