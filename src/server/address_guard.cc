// SPDX-License-Identifier: Apache-2.0
#include "server/address_guard.h"

#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>

namespace atelier::server {
namespace {

constexpr size_t kMostUrl = 2048, kMostHost = 253, kMostLabel = 63, kMostAddresses = 64;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](char c) { return lower(c); });
  return result;
}

Error refused(const char* why) {
  return make_error(Code::invalid_argument,
                    "The URL {}; write http(s)://host[:port]/path, in ASCII.", why);
}

// Empty: no port that a person would write.
std::optional<int> parse_port(std::string_view text) {
  if (text.empty() || text.size() > 5 || text[0] == '0') return std::nullopt;
  if (!std::ranges::all_of(text, is_digit)) return std::nullopt;
  int port = 0;
  std::from_chars(text.data(), text.data() + text.size(), port);
  if (port > 65535) return std::nullopt;
  return port;
}

bool is_label(std::string_view label) {
  const auto good = [](char c) { return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-'; };
  return !label.empty() && label.size() <= kMostLabel && label.front() != '-' &&
         label.back() != '-' && std::ranges::all_of(label, good);
}

// Other parsers take a host that ends so for an address: "2130706433", "127.1", "0x7f.0x1".
bool is_number(std::string_view label) {
  return label.starts_with("0x") || std::ranges::all_of(label, is_digit);
}

// RFC 1123 in lower case, without a dot at the end.
bool is_host_name(std::string_view host) {
  if (host.empty() || host.size() > kMostHost) return false;
  std::string_view label = host;
  for (std::string_view rest = host; !rest.empty();) {
    const size_t dot = std::min(rest.find('.'), rest.size());
    label = rest.substr(0, dot);
    if (!is_label(label) || dot + 1 == rest.size()) return false;
    rest.remove_prefix(std::min(dot + 1, rest.size()));
  }
  return !is_number(label);
}

struct HostAndPort {
  std::string_view host, port;
  bool bracketed = false, has_port = false;
};

// "host", "host:port", "[host]:port"; empty: neither.
std::optional<HostAndPort> split(std::string_view text) {
  HostAndPort parts;
  size_t end = text.find(':');
  if (text.starts_with('[')) {
    const size_t bracket = text.find(']');
    if (bracket == std::string_view::npos) return std::nullopt;
    parts.bracketed = true;
    parts.host = text.substr(1, bracket - 1);
    end = bracket + 1;
    if (end != text.size() && text[end] != ':') return std::nullopt;
  } else {
    parts.host = text.substr(0, end);
  }
  parts.has_port = end < text.size();
  if (parts.has_port) parts.port = text.substr(end + 1);
  return parts;
}

bool names(const AllowedTarget& entry, const TargetUrl& url) {
  if (entry.port != url.port) return false;
  if (entry.host.empty()) return url.address && entry.network.holds(*url.address);
  if (url.address) return false;
  if (!entry.subdomains) return url.host == entry.host;
  return url.host.size() > entry.host.size() + 1 && url.host.ends_with('.' + entry.host);
}

// Nothing: it may be connected to.
std::optional<Error> forbidden(const IpAddress& address, const TargetUrl& url,
                               std::span<const AllowedTarget> allowed) {
  if (is_public(address)) return std::nullopt;
  const bool metadata = is_metadata(address);
  const bool listed = std::ranges::any_of(allowed, [&](const AllowedTarget& entry) {
    const bool narrow = !metadata || entry.network.bits == 8 * address.size;
    return entry.host.empty() && entry.port == url.port && narrow && entry.network.holds(address);
  });
  if (listed) return std::nullopt;
  // Not which address: what a name means inside a network is nobody's business outside.
  return make_error(Code::invalid_argument,
                    "The host '{}' has an address that is not public; the operator may list that "
                    "address or its network with port {}{}.",
                    url.host, url.port, metadata ? ", alone" : "");
}

}  // namespace

Result<AllowedTarget> parse_allowed_target(std::string_view text) {
  const Error wrong = make_error(
      Code::invalid_argument,
      "'{}' is no target; write host:port, *.suffix:port, 10.0.0.0/8:port or [fd00::/8]:port.",
      text.substr(0, kMostHost));
  const auto parts = split(text);
  if (!parts) return wrong;
  AllowedTarget target;
  if (parts->has_port) {
    const auto port = parse_port(parts->port);
    if (!port) return wrong;
    target.port = *port;
  }
  if (const auto network = parse_network(parts->host)) {
    if ((network->first.size == 16) != parts->bracketed) return wrong;
    target.network = *network;
    return target;
  }
  target.host = lower(parts->host);
  if (target.host.starts_with("*.")) {
    target.subdomains = true;
    target.host.erase(0, 2);
  }
  if (parts->bracketed || !is_host_name(target.host)) return wrong;
  return target;
}

Result<std::vector<IpAddress>> SystemResolver::resolve(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  if (error != 0) {
    return make_error(Code::unavailable, "Cannot find the host '{}' ({}); check its name.", host,
                      ::gai_strerror(error));
  }
  std::vector<IpAddress> addresses;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    IpAddress address;
    if (one->ai_family == AF_INET) {
      const auto* ipv4 = reinterpret_cast<const sockaddr_in*>(one->ai_addr);
      std::memcpy(address.bytes.data(), &ipv4->sin_addr, 4);
    } else if (one->ai_family == AF_INET6) {
      const auto* ipv6 = reinterpret_cast<const sockaddr_in6*>(one->ai_addr);
      std::memcpy(address.bytes.data(), &ipv6->sin6_addr, 16);
      address.size = 16;
    } else {
      continue;
    }
    addresses.push_back(address);
  }
  return addresses;
}

std::string TargetUrl::url() const {
  const std::string in_url = address && address->size == 16 ? "[" + host + "]" : host;
  return fmt::format("{}://{}:{}{}", scheme, in_url, port, path);
}

Result<TargetUrl> parse_target_url(std::string_view url) {
  if (url.size() > kMostUrl) return refused("is too long");
  const bool plain = std::ranges::all_of(url, [](char c) { return c > ' ' && c < '\x7f'; });
  if (!plain) return refused("has characters that are not printable ASCII");
  if (url.find('\\') != std::string_view::npos) return refused("has a backslash");
  if (url.find('#') != std::string_view::npos) return refused("has a fragment");
  TargetUrl target;
  const size_t colon = url.find("://");
  if (colon == std::string_view::npos) return refused("is not http(s)");
  target.scheme = lower(url.substr(0, colon));
  if (target.scheme != "http" && target.scheme != "https") return refused("is not http(s)");
  url.remove_prefix(colon + 3);
  const size_t end = std::min(url.find_first_of("/?"), url.size());
  const std::string_view authority = url.substr(0, end);
  const std::string_view path = url.substr(end);
  target.path = fmt::format("{}{}", path.starts_with('/') ? "" : "/", path);
  if (authority.find('@') != std::string_view::npos) return refused("has a user or password");

  const auto parts = split(authority);
  if (!parts) return refused("has no host that can be read");
  target.port = target.scheme == "https" ? 443 : 80;
  if (parts->has_port) {
    const auto port = parse_port(parts->port);
    if (!port) return refused("has a port that is not a number from 1 to 65535");
    target.port = *port;
  }
  target.host = lower(parts->host);
  target.address = parse_ip(target.host);
  if (target.address && (target.address->size == 16) == parts->bracketed) {
    target.host = target.address->text();
    return target;
  }
  if (parts->bracketed || target.address || !is_host_name(target.host)) {
    return refused("has a host that is neither a name nor an address in its usual form");
  }
  return target;
}

Result<ResolvedTarget> check_target(std::string_view url, std::span<const AllowedTarget> allowed,
                                    Resolver& resolver) {
  ResolvedTarget target;
  target.url = TRY(parse_target_url(url));
  const TargetUrl& parsed = target.url;
  if (std::ranges::none_of(allowed, [&](const auto& entry) { return names(entry, parsed); })) {
    return make_error(Code::invalid_argument,
                      "'{}:{}' is not on the list of hosts that the service may connect to; the "
                      "operator can add it.",
                      parsed.host, parsed.port);
  }
  if (parsed.address) {
    target.addresses = {*parsed.address};
  } else {
    target.addresses = TRY(resolver.resolve(parsed.host));
  }
  if (target.addresses.empty()) {
    return make_error(Code::unavailable, "The host '{}' has no address; check its name.",
                      parsed.host);
  }
  if (target.addresses.size() > kMostAddresses) target.addresses.resize(kMostAddresses);
  for (const IpAddress& address : target.addresses) {
    if (auto error = forbidden(address, parsed, allowed)) return *std::move(error);
  }
  return target;
}

}  // namespace atelier::server
