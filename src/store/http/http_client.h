// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 requests to an object store, over libcurl: one at a time per call, from any thread.
//
// Whatever a network does ends as one of two answers: a whole response, or an Error that says that
// none came. Nothing is repeated here; who repeats must know what a request does (retry.h).
// Redirects are not followed: no store sends one on purpose, and a signature is good for one host.
// Proxies are taken from the usual variables (https_proxy, no_proxy).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace atelier::http {

struct Header {
  std::string name, value;
};

struct Request {
  std::string method;
  // Whole and encoded. May hold a secret in its query, so that it is never part of a message.
  std::string url;
  std::vector<Header> headers;               // with Content-Type where there is a body
  std::span<const std::byte> body;           // of PUT and POST; must outlive the call
  uint64_t most_bytes = uint64_t{64} << 20;  // of the response's body, or 64 KiB; more is an error
  // An IP address to connect to in place of the URL's host: whoever checked it is sure that no
  // other look-up of the name leads elsewhere. Port, Host and the certificate's name stay the
  // URL's; no proxy is asked, and no connection of another request is used. Empty: by name.
  std::string connect_to;
  // The server may work at it for minutes and say so by a byte now and then: only one that moves
  // nothing at all for stall_timeout has failed.
  bool may_trickle = false;
};

struct Response {
  int status = 0;
  std::vector<Header> headers;
  std::vector<std::byte> body;
  // The first of that name, whatever its case; empty if there is none.
  std::string_view header(std::string_view name) const;
};

struct ClientOptions {
  std::string ca_file;  // PEM, in place of the system's authorities; empty: the system's
  std::chrono::milliseconds connect_timeout = std::chrono::seconds(10);
  // An exchange that moves less than slow_bytes a second for so long has failed: a server that says
  // nothing, and one that trickles.
  std::chrono::seconds stall_timeout = std::chrono::seconds(30);
  long slow_bytes = 1024;
  bool direct = false;  // past any proxy: what is asked is a service of this machine's
};

// Keeps connections open between requests, one for every request that was under way at once.
class Client {
 public:
  explicit Client(ClientOptions options = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Errors: unavailable (no such host, refused, timed out, cut off, longer or shorter than the
  // response said: the request may have taken effect), invalid_argument (not a URL, connect_to
  // is no IP address, a certificate that is not to be trusted, an authority file that cannot be
  // read), internal.
  Result<Response> send(const Request& request);

 private:
  struct Pool;
  std::unique_ptr<Pool> pool_;
};

// "https://host:port" of a URL, for messages: without user, path and query.
std::string origin_of(std::string_view url);

// When the response says after how long to ask again (RFC 9110, 10.2.3); 0: it does not. At most an
// hour.
std::chrono::milliseconds retry_after(const Response& response,
                                      std::chrono::system_clock::time_point now);

// IMF-fixdate (RFC 9110, 5.6.7), as in Date and x-ms-date: "Sun, 06 Nov 1994 08:49:37 GMT".
std::string format_date(std::chrono::system_clock::time_point time);
// Nothing if it is not one.
std::optional<std::chrono::system_clock::time_point> parse_date(std::string_view text);

}  // namespace atelier::http
