// SPDX-License-Identifier: Apache-2.0
#include "server/ip_address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

namespace atelier::server {
namespace {

// What is inside the unicast space but is not for everybody.
constexpr std::array kSpecial = {
    "0.0.0.0/8",        // this network
    "10.0.0.0/8",       // private
    "100.64.0.0/10",    // shared by carriers
    "127.0.0.0/8",      // loopback
    "169.254.0.0/16",   // link-local
    "172.16.0.0/12",    // private
    "192.0.0.0/24",     // protocols of the IETF
    "192.0.2.0/24",     // documentation
    "192.88.99.0/24",   // 6to4 relays
    "192.168.0.0/16",   // private
    "198.18.0.0/15",    // benchmarks
    "198.51.100.0/24",  // documentation
    "203.0.113.0/24",   // documentation
    "224.0.0.0/4",      // multicast
    "240.0.0.0/4",      // reserved, broadcast
    "2001::/23",        // protocols of the IETF: Teredo, ORCHID
    "2001:db8::/32",    // documentation
    "2002::/16",        // 6to4
    "3fff::/20",        // documentation
};

constexpr std::array kMetadata = {
    "169.254.169.254",  // most clouds
    "169.254.170.2",    // credentials of containers
    "169.254.170.23",   // credentials of pods
    "168.63.129.16",    // Azure's host, a public address
    "100.100.100.200",  // Alibaba
    "192.0.0.192",      // Oracle
    "fd00:ec2::254",    // AWS
    "fd00:ec2::23",     // credentials of pods
    "fd20:ce::254",     // Google
};

template <size_t N>
bool is_in(const std::array<const char*, N>& networks, const IpAddress& address) {
  return std::ranges::any_of(networks, [&](const char* text) {
    const auto network = parse_network(text);
    return network && network->holds(address);
  });
}

bool has_bit(const IpAddress& address, int bit) {
  return (address.bytes.at(static_cast<size_t>(bit / 8)) >> (7 - bit % 8) & 1) != 0;
}

}  // namespace

std::string IpAddress::text() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = size == 4 ? AF_INET : AF_INET6;
  return ::inet_ntop(family, bytes.data(), text.data(), text.size()) == nullptr ? "" : text.data();
}

std::optional<IpAddress> parse_ip(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) return std::nullopt;
  const std::string whole(text);
  IpAddress address;
  // POSIX demands plain decimal of inet_pton; glibc refuses leading zeros, too.
  if (::inet_pton(AF_INET, whole.c_str(), address.bytes.data()) == 1) return address;
  address.size = 16;
  if (::inet_pton(AF_INET6, whole.c_str(), address.bytes.data()) == 1) return address;
  return std::nullopt;
}

bool IpNetwork::holds(const IpAddress& address) const {
  if (address.size != first.size) return false;
  for (int bit = 0; bit < bits; ++bit) {
    if (has_bit(address, bit) != has_bit(first, bit)) return false;
  }
  return true;
}

std::optional<IpNetwork> parse_network(std::string_view text) {
  const size_t slash = text.find('/');
  const auto address = parse_ip(text.substr(0, slash));
  if (!address) return std::nullopt;
  IpNetwork network{*address, 8 * address->size};
  if (slash == std::string_view::npos) return network;
  const std::string_view bits = text.substr(slash + 1);
  const auto [end, error] = std::from_chars(bits.data(), bits.data() + bits.size(), network.bits);
  const bool whole = error == std::errc() && end == bits.data() + bits.size() && bits[0] != '-';
  if (!whole || network.bits < 0 || network.bits > 8 * address->size) return std::nullopt;
  for (int bit = network.bits; bit < 8 * address->size; ++bit) {
    if (has_bit(*address, bit)) return std::nullopt;
  }
  return network;
}

bool is_public(const IpAddress& address) {
  const bool unicast = address.size == 4 || (address.bytes[0] & 0xe0) == 0x20;
  return unicast && !is_in(kSpecial, address) && !is_metadata(address);
}

bool is_metadata(const IpAddress& address) { return is_in(kMetadata, address); }

}  // namespace atelier::server
