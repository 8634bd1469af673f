// SPDX-License-Identifier: Apache-2.0
#include "store/test_server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <memory>
#include <optional>

#include "store/names.h"

namespace atelier {
namespace {

bool same_name(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return (x | 32) == (y | 32); });
}

// Takes what is before `mark` off the front, and the mark.
std::string_view take_until(std::string_view& text, std::string_view mark) {
  const size_t end = text.find(mark);
  const std::string_view front = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + mark.size());
  return front;
}

TestRequest parse_head(std::string_view head) {
  TestRequest request;
  std::string_view line = take_until(head, "\r\n");
  request.method = take_until(line, " ");
  request.target = take_until(line, " ");
  while (!head.empty()) {
    line = take_until(head, "\r\n");
    const std::string_view name = take_until(line, ":");
    if (line.starts_with(' ')) line.remove_prefix(1);
    request.headers.push_back({std::string(name), std::string(line)});
  }
  return request;
}

// Reads from `fd` behind `text` until it has `size` bytes.
bool fill(int fd, std::string& text, size_t size) {
  std::array<char, 65536> buffer{};
  while (text.size() < size) {
    const ssize_t count = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (count <= 0) return false;
    text.append(buffer.data(), static_cast<size_t>(count));
  }
  return true;
}

// `rest` holds what was read too far, from call to call.
std::optional<TestRequest> read_request(int fd, std::string& rest) {
  size_t end = 0;
  while ((end = rest.find("\r\n\r\n")) == std::string::npos) {
    if (!fill(fd, rest, rest.size() + 1)) return std::nullopt;
  }
  TestRequest request = parse_head(std::string_view(rest).substr(0, end));
  rest.erase(0, end + 4);
  const std::string_view length = request.header("Content-Length");
  size_t size = 0;
  std::from_chars(length.data(), length.data() + length.size(), size);
  if (!fill(fd, rest, size)) return std::nullopt;
  request.body = rest.substr(0, size);
  rest.erase(0, size);
  return request;
}

bool send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

// Waits until the client closes, or for so long; true if it is still there.
bool wait_for_end(int fd, int milliseconds) {
  pollfd wanted{fd, POLLIN | POLLRDHUP, 0};
  return ::poll(&wanted, 1, milliseconds) == 0;
}

TestServer::Handler scripted(std::vector<TestAnswer> script) {
  auto next = std::make_shared<std::atomic<size_t>>(0);
  return [script = std::move(script), next](const TestRequest&) {
    const size_t at = (*next)++;
    return at < script.size() ? script[at] : http_answer(599, "the script has ended");
  };
}

}  // namespace

std::string_view TestRequest::header(std::string_view name) const {
  for (const http::Header& each : headers) {
    if (same_name(each.name, name)) return each.value;
  }
  return {};
}

std::string TestRequest::query(std::string_view name) const {
  std::string_view rest = target;
  take_until(rest, "?");
  while (!rest.empty()) {
    std::string_view value = take_until(rest, "&");
    if (take_until(value, "=") == name) return percent_decode(value).value_or("");
  }
  return {};
}

std::string TestRequest::path() const {
  return percent_decode(std::string_view(target).substr(0, target.find('?'))).value_or("");
}

TestAnswer http_answer(int status, std::string_view body, std::string_view headers, bool head) {
  TestAnswer answer;
  answer.bytes =
      fmt::format("HTTP/1.1 {} Told\r\nContent-Length: {}\r\n{}\r\n", status, body.size(), headers);
  if (!head) answer.bytes += body;
  return answer;
}

TestAnswer cut_answer(TestAnswer whole, size_t bytes, TestAnswer::Then then) {
  const size_t body = whole.bytes.find("\r\n\r\n") + 4;
  whole.bytes.resize(std::min(whole.bytes.size(), body + bytes));
  whole.then = then;
  return whole;
}

TestAnswer no_answer() { return {{}, TestAnswer::Then::close}; }

TestServer::TestServer(Handler handler) : handler_(std::move(handler)) {
  listen();
  accepting_ = std::jthread([this] { accept_all(); });
}

TestServer::TestServer(std::vector<TestAnswer> script) : TestServer(scripted(std::move(script))) {}

TestServer::~TestServer() {
  std::list<std::jthread> threads;
  {
    MutexLock lock(mutex_);
    ended_ = true;
    // Wakes whoever waits in accept, recv, send or poll.
    ::shutdown(listener_.get(), SHUT_RDWR);
    for (const Fd& fd : connections_) ::shutdown(fd.get(), SHUT_RDWR);
  }
  accepting_.join();
  {
    MutexLock lock(mutex_);
    threads.swap(threads_);
  }
}

void TestServer::listen() {
  listener_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  const bool good = ::bind(listener_.get(), generic, size) == 0 &&
                    ::listen(listener_.get(), SOMAXCONN) == 0 &&
                    ::getsockname(listener_.get(), generic, &size) == 0;
  // A test that cannot have its server fails at its first request.
  port_ = good ? ntohs(address.sin_port) : 1;
}

void TestServer::accept_all() {
  for (;;) {
    Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd) return;
    MutexLock lock(mutex_);
    if (ended_) return;
    connections_.push_back(std::move(fd));
    Fd& kept = connections_.back();
    threads_.emplace_back([this, &kept] {
      serve(kept.get());
      // Only here, so that nobody uses the number of a descriptor that is closed.
      MutexLock closing(mutex_);
      kept = Fd();
    });
  }
}

void TestServer::serve(int fd) {
  std::string rest;
  while (const auto request = read_request(fd, rest)) {
    {
      MutexLock lock(mutex_);
      requests_.push_back(*request);
    }
    const TestAnswer answer = handler_(*request);
    send_answer(fd, answer);
    if (answer.then != TestAnswer::Then::keep) return;
  }
}

void TestServer::send_answer(int fd, const TestAnswer& answer) {
  if (answer.then == TestAnswer::Then::trickle) {
    for (const char byte : answer.bytes) {
      if (!send_all(fd, {&byte, 1}) || !wait_for_end(fd, 50)) return;
    }
    return;
  }
  if (!send_all(fd, answer.bytes)) return;
  if (answer.then == TestAnswer::Then::stall) wait_for_end(fd, -1);
  if (answer.then == TestAnswer::Then::reset) {
    const linger at_once{1, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }
}

std::vector<TestRequest> TestServer::requests() const {
  MutexLock lock(mutex_);
  return requests_;
}

}  // namespace atelier
