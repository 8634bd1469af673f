// SPDX-License-Identifier: Apache-2.0
// Where the service may connect to on behalf of somebody: against requests that a stranger has it
// make to places that only it can reach (CWE-918).
//
// The idea: a URL is taken apart strictly, and put together again from what was understood, so that
// no other parser understands it differently. Its host and port must be on a list that the
// operator wrote. The name is looked up once, every address of the answer is checked, and the
// connection is made to one of these (http::Request::connect_to): a second answer of the name's
// server is never heard (DNS rebinding). Redirects are not followed by the client (http_client.h).
// Limits: what a listed host itself passes on is its own affair.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "server/ip_address.h"

namespace atelier::server {

// One line of the allow-list.
struct AllowedTarget {
  std::string host;         // in lower case; empty: `network`
  bool subdomains = false;  // hosts below `host`, at any depth, and not itself
  IpNetwork network;
  int port = 443;
};

// "hooks.example.com:8443", "*.example.com", "127.0.0.1:9000", "10.0.0.0/8:443", "[fd00::/8]:443",
// "[::1]"; without a port: 443. Errors: invalid_argument (anything else).
Result<AllowedTarget> parse_allowed_target(std::string_view text);

// Safe from several threads.
class Resolver {
 public:
  virtual ~Resolver() = default;
  // All addresses of a host, in the order in which to try them. Errors: unavailable.
  virtual Result<std::vector<IpAddress>> resolve(const std::string& host) = 0;
};

// As the machine is configured: its hosts file, its name servers (getaddrinfo). May take as long
// as these take to answer.
class SystemResolver final : public Resolver {
 public:
  Result<std::vector<IpAddress>> resolve(const std::string& host) override;
};

struct TargetUrl {
  std::string scheme;  // http, https
  std::string host;    // in lower case; an IPv6 address without brackets
  int port = 0;
  std::string path;                  // with the query, as it was given; at least "/"
  std::optional<IpAddress> address;  // if the host is one
  // The whole, for the client. May hold a secret in its query.
  std::string url() const;
};

// Only what needs no guessing: http or https, no user or password, no fragment, printable ASCII
// without backslash, a port in plain decimal, a host of letters, digits and hyphens or an address
// in its usual form. Errors, which never repeat path and query: invalid_argument.
Result<TargetUrl> parse_target_url(std::string_view url);

struct ResolvedTarget {
  TargetUrl url;
  std::vector<IpAddress> addresses;  // at least one, every one checked
};

// A host must be listed by name (an address: by itself or its network), with the port. An address
// that is not public must be listed, too, by itself or its network, with the port, whatever name
// leads there; one where clouds give out identities only by itself. One address of several that
// may not be reached is enough to refuse: the name is not to be trusted. Errors: invalid_argument
// (not a URL, not listed, an address that is not), unavailable (the name has no address now).
Result<ResolvedTarget> check_target(std::string_view url, std::span<const AllowedTarget> allowed,
                                    Resolver& resolver);

}  // namespace atelier::server
