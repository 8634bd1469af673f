// SPDX-License-Identifier: Apache-2.0
// For tests: an HTTP/1.1 server on a port of its own at 127.0.0.1 that answers as it is told, badly
// if need be. It knows nothing of stores: who wants one writes it as a handler.
#pragma once

#include <functional>
#include <list>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/mutex.h"
#include "store/http/http_client.h"

namespace atelier {

struct TestRequest {
  std::string method;
  std::string target;  // as sent: path and query, encoded
  std::vector<http::Header> headers;
  std::string body;
  // The first of that name, whatever its case; empty if there is none.
  std::string_view header(std::string_view name) const;
  // What the query has for `name`, decoded; empty if it is not there.
  std::string query(std::string_view name) const;
  // The target without its query, decoded.
  std::string path() const;
};

// What is sent, byte by byte, and what becomes of the connection then.
struct TestAnswer {
  enum class Then {
    keep,     // the next request may come
    close,    // in order (FIN): short, if the bytes promise more
    reset,    // with a RST
    stall,    // nothing more until the client goes
    trickle,  // the bytes go one by one, 20 a second
  };
  std::string bytes;
  Then then = Then::keep;
};

// A whole response: a status line, Content-Length and the given headers ("Name: value\r\n" each),
// the body (left out for HEAD by `head`, its length is not).
TestAnswer http_answer(int status, std::string_view body = {}, std::string_view headers = {},
                       bool head = false);
// The same, of which only the first `bytes` of the body are sent.
TestAnswer cut_answer(TestAnswer whole, size_t bytes, TestAnswer::Then then);
// The request arrives and no answer comes.
TestAnswer no_answer();

// Answers from several threads at once, one for each connection; ends with the object.
class TestServer {
 public:
  using Handler = std::function<TestAnswer(const TestRequest& request)>;
  // The handler is called from several threads.
  explicit TestServer(Handler handler);
  // One answer for each request in the order in which they come; 599 when there is none left.
  explicit TestServer(std::vector<TestAnswer> script);
  ~TestServer();
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  // All that came so far.
  std::vector<TestRequest> requests() const;

 private:
  void listen();
  void accept_all();
  void serve(int fd);
  void send_answer(int fd, const TestAnswer& answer);

  const Handler handler_;
  Fd listener_;
  int port_ = 0;
  mutable Mutex mutex_;
  bool ended_ GUARDED_BY(mutex_) = false;
  std::vector<TestRequest> requests_ GUARDED_BY(mutex_);
  std::list<Fd> connections_ GUARDED_BY(mutex_);  // closed with the server
  std::list<std::jthread> threads_ GUARDED_BY(mutex_);
  std::jthread accepting_;
};

}  // namespace atelier
