// SPDX-License-Identifier: Apache-2.0
// A listener: HTTP/1.1 (RFC 9112) or HTTPS in, Calls out. Over GNU libmicrohttpd, a thread for each
// connection, with bounds on everything that a client can make us keep:
//
//   connections   `connections` are kept, `connections_of_one_address` of one; more are closed at
//                 once. `at_once` requests that are there with their bodies are answered at the
//                 same time; more get 503 with Retry-After
//   requests      `request_deadline` for the first line, counted from the connection (later ones:
//                 `idle`), again from there to the last byte of the body, and again from when
//                 the answer is made to its last byte, however it trickles; streams are exempt
//   headers       32 KiB together; more is 431 or 414
//   bodies        `most_body` bytes; more is 413, and is not read
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "server/call.h"

namespace atelier::server {

struct ListenerOptions {
  std::string host = "127.0.0.1";  // a numeric address
  int port = 0;                    // 0: any that is free
  int connections = 512;
  int connections_of_one_address = 128;  // nobody fills the service alone
  int at_once = 256;
  size_t most_body = size_t{1} << 20;
  // Called when it stops, before it waits for what is under way: wakes streams that wait for news.
  std::function<void()> on_stop;
  std::chrono::milliseconds request_deadline = std::chrono::seconds(30);
  std::chrono::seconds idle = std::chrono::seconds(30);  // of a connection between requests
  std::string certificate;                               // PEM files; empty: plain HTTP
  std::string key;
};

// The next piece of an endless answer, as soon as there is one; nothing at its end. It blocks for
// seconds at most: then an empty comment of the stream's own kind keeps the connection.
using NextPiece = std::function<std::optional<std::string>()>;

struct StreamReply {
  Reply reply;     // its body is used where there is no stream
  NextPiece next;  // may be empty
};

struct ListenerCounts {
  uint64_t requests = 0;
  uint64_t refused = 0;    // because too many were being answered
  uint64_t too_large = 0;  // bodies
  uint64_t malformed = 0;  // targets
  uint64_t overdue = 0;    // cut off by the deadline
};

// Safe from several threads.
class HttpListener {
 public:
  // It listens when this returns. `answer` is called in a connection's thread, several at a time,
  // and must not outlive what it refers to. Errors: invalid_argument (the address is not this
  // machine's or is taken; certificate and key cannot be read or do not belong together).
  static Result<std::unique_ptr<HttpListener>> open(const ListenerOptions& options,
                                                    std::function<StreamReply(const Call&)> answer);
  virtual ~HttpListener() = default;
  virtual int port() const = 0;
  // Reads certificate and key again, for connections from now on; those there are end when their
  // request is answered. Errors: those of open(); the old ones stay.
  virtual Result<void> reload_certificate() = 0;
  // No more connections; requests under way are answered, for at most their deadline.
  virtual void stop() = 0;
  virtual ListenerCounts counts() const = 0;
};

}  // namespace atelier::server
