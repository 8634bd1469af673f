// SPDX-License-Identifier: Apache-2.0
#include "server/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "base/file.h"
#include "server/http_target.h"
#include "store/http/http_client.h"
#include "store/test_folder.h"

namespace atelier::server {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

StreamReply echo(const Call& call) {
  Reply reply;
  reply.body = call.method + " " + call.path + " " + call.query_value("q") + " " +
               std::to_string(call.body.size()) + " " + call.address;
  return {reply, {}};
}

// A certificate for 127.0.0.1 in `folder`.
void make_certificate(const std::filesystem::path& folder, const std::string& name) {
  const std::string command = fmt::format(
      "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "
      "/CN={1} -addext subjectAltName=IP:127.0.0.1 -keyout {0}/{1}.key -out {0}/{1}.pem "
      ">/dev/null 2>&1",
      folder.string(), name);
  ASSERT_EQ(std::system(command.c_str()), 0);
}

struct HttpServerTest : ::testing::Test {
  ListenerOptions options;
  std::unique_ptr<HttpListener> listener;

  void open(std::function<StreamReply(const Call&)> answer = echo) {
    auto opened = HttpListener::open(options, std::move(answer));
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    listener = std::move(opened).value();
  }
  Fd connect() const {
    Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(listener->port()));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
  static void say(const Fd& fd, std::string_view text) {
    EXPECT_EQ(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  // Until the other side closes.
  static std::string hear(const Fd& fd) {
    std::string heard;
    std::array<char, 4096> piece{};
    ssize_t count = 0;
    while ((count = ::recv(fd.get(), piece.data(), piece.size(), 0)) > 0) {
      heard.append(piece.data(), static_cast<size_t>(count));
    }
    return heard;
  }
  std::string ask(std::string_view text) const {
    const Fd fd = connect();
    say(fd, text);
    return hear(fd);
  }
};

TEST_F(HttpServerTest, ARequestBecomesACall) {
  open();
  const std::string heard =
      ask("POST /a%20b?q=1%2B2+3 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: "
          "close\r\n\r\nabc");
  EXPECT_THAT(heard, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(heard, HasSubstr("POST /a b 1+2 3 3 127.0.0.1"));
  EXPECT_THAT(heard, HasSubstr("X-Content-Type-Options: nosniff"));
}

TEST_F(HttpServerTest, AConnectionServesManyRequests) {
  open();
  const Fd fd = connect();
  for (int i = 0; i < 20; ++i) say(fd, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
  say(fd, "GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string heard = hear(fd);
  size_t count = 0;
  for (size_t at = 0; (at = heard.find("HTTP/1.1 200", at)) != std::string::npos; ++at) ++count;
  EXPECT_EQ(count, 21U);
}

TEST_F(HttpServerTest, ABodyThatIsTooLargeIsRefusedUnread) {
  options.most_body = 10;
  std::atomic<int> calls = 0;
  open([&](const Call& call) {
    ++calls;
    return echo(call);
  });
  EXPECT_THAT(ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\nConnection: close\r\n\r\n"),
              StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n"
                  "Connection: close\r\n\r\n"),
              ::testing::Not(HasSubstr(" 200 ")));
  // One that does not say how long it is.
  EXPECT_THAT(ask("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "8\r\n12345678\r\n8\r\n12345678\r\n0\r\n\r\n"),
              ::testing::Not(HasSubstr(" 200 ")));
  EXPECT_EQ(calls, 0);
  EXPECT_GE(listener->counts().too_large, 2U);
}

TEST_F(HttpServerTest, WhatIsNoRequestIsAnsweredOrClosed) {
  open();
  for (const char* text :
       {"\r\n\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
        "GET /%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "\x16\x03\x01\x02"}) {
    const Fd fd = connect();
    say(fd, text);
    ::shutdown(fd.get(), SHUT_WR);
    EXPECT_THAT(hear(fd), ::testing::Not(HasSubstr(" 200 "))) << text;
  }
  EXPECT_EQ(listener->counts().malformed, 2U);
  const std::string long_header(100000, 'a');
  const Fd fd = connect();
  (void)!::send(fd.get(), ("GET / HTTP/1.1\r\nX: " + long_header).data(), 90000, MSG_NOSIGNAL);
  EXPECT_THAT(hear(fd), ::testing::Not(HasSubstr(" 200 ")));
}

TEST_F(HttpServerTest, WhoTricklesIsCutOff) {
  options.request_deadline = std::chrono::milliseconds(300);
  open();
  const Fd fd = connect();
  say(fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc");
  EXPECT_THAT(hear(fd), ::testing::Not(HasSubstr(" 200 ")));
  EXPECT_EQ(listener->counts().overdue, 1U);
}

TEST_F(HttpServerTest, WhoNeverEndsTheFirstLineIsCutOff) {
  options.request_deadline = std::chrono::milliseconds(300);
  open();
  const Fd fd = connect();
  say(fd, "GE");
  EXPECT_EQ(hear(fd), "");
  EXPECT_EQ(listener->counts().overdue, 1U);
}

TEST_F(HttpServerTest, AnAnswerMayTakeLongerToMakeThanTheClientHas) {
  options.request_deadline = std::chrono::milliseconds(50);
  open([](const Call& call) {
    std::this_thread::sleep_for(std::chrono::milliseconds(600));
    return echo(call);
  });
  EXPECT_THAT(ask("GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
              HasSubstr("GET /slow"));
  EXPECT_EQ(listener->counts().overdue, 0U);
}

TEST_F(HttpServerTest, AReloadAfterTheStopDoesNothing) {
  TestFolder folder;
  make_certificate(folder.path(), "one");
  options.certificate = (folder.path() / "one.pem").string();
  options.key = (folder.path() / "one.key").string();
  open();
  const auto open_files = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  };
  const auto before = open_files();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(listener->reload_certificate().ok());
  // What was replaced goes when nobody is connected to it any more.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (open_files() != before && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(open_files(), before);
  listener->stop();
  EXPECT_TRUE(listener->reload_certificate().ok());
}

TEST_F(HttpServerTest, MoreThanCanBeAnsweredIsRefusedWithATime) {
  options.at_once = 1;
  std::atomic<bool> go = false, begun = false;
  open([&](const Call& call) {
    begun = true;
    while (!go) std::this_thread::yield();
    return echo(call);
  });
  const Fd first = connect();
  say(first, "GET /1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  while (!begun) std::this_thread::yield();
  const std::string second = ask("GET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(second, StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(second, HasSubstr("Retry-After: 1"));
  go = true;
  EXPECT_THAT(hear(first), StartsWith("HTTP/1.1 200"));
  EXPECT_EQ(listener->counts().refused, 1U);
}

TEST_F(HttpServerTest, WhoOnlySendsTakesNoPlaceOfThoseThatAreAnswered) {
  options.at_once = 2;
  open();
  std::vector<Fd> slow;
  for (int i = 0; i < 4; ++i) {
    slow.push_back(connect());
    say(slow.back(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na");
  }
  // Their headers were seen.
  while (listener->counts().requests < slow.size()) std::this_thread::yield();
  EXPECT_THAT(ask("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
              StartsWith("HTTP/1.1 200"));
  EXPECT_EQ(listener->counts().refused, 0U);
}

TEST_F(HttpServerTest, OneAddressHasItsShareOfTheConnections) {
  options.connections_of_one_address = 2;
  open();
  std::vector<Fd> held;
  for (int i = 0; i < 2; ++i) {
    held.push_back(connect());
    say(held.back(), "GET / HTTP/1.1\r\nHost: x\r\n");
  }
  EXPECT_EQ(ask("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "");
  held.clear();
}

TEST_F(HttpServerTest, AStreamComesInPiecesAndEndsWithTheService) {
  std::atomic<int> piece = 0;
  open([&](const Call&) {
    StreamReply reply;
    reply.reply.type = "text/event-stream";
    reply.next = [&]() -> std::optional<std::string> {
      return fmt::format("data: {}\n\n", ++piece);
    };
    return reply;
  });
  const Fd fd = connect();
  say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  std::string heard;
  std::array<char, 512> some{};
  while (heard.find("data: 3\n") == std::string::npos) {
    const ssize_t count = ::recv(fd.get(), some.data(), some.size(), 0);
    ASSERT_GT(count, 0);
    heard.append(some.data(), static_cast<size_t>(count));
  }
  EXPECT_THAT(heard, HasSubstr("text/event-stream"));
  std::jthread reader([&] { hear(fd); });
  listener->stop();
}

TEST_F(HttpServerTest, AnAnswerThatThrowsEndsNoOther) {
  open([](const Call& call) -> StreamReply {
    if (call.path == "/bug") throw std::runtime_error("a bug");
    if (call.path == "/stream") {
      return {Reply{}, []() -> std::optional<std::string> { throw std::runtime_error("a bug"); }};
    }
    return echo(call);
  });
  EXPECT_THAT(ask("GET /bug HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
              StartsWith("HTTP/1.1 500"));
  ask("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(ask("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
              StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServerTest, AnAddressThatIsTakenIsASentence) {
  open();
  ListenerOptions same = options;
  same.port = listener->port();
  const auto second = HttpListener::open(same, echo);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, Code::invalid_argument);
  EXPECT_THAT(second.error().message, HasSubstr("cannot listen on 127.0.0.1"));
  same.host = "example.com";
  EXPECT_FALSE(HttpListener::open(same, echo).ok());
}

TEST_F(HttpServerTest, TlsTakesANewCertificateWithoutAStop) {
  TestFolder folder;
  make_certificate(folder.path(), "one");
  make_certificate(folder.path(), "two");
  const auto use = [&](const std::string& name) {
    for (const char* kind : {".pem", ".key"}) {
      std::filesystem::copy_file(folder.path() / (name + kind),
                                 folder.path() / (std::string("now") + kind),
                                 std::filesystem::copy_options::overwrite_existing);
    }
  };
  const auto status = [&](const std::string& authority) {
    http::ClientOptions client_options;
    client_options.ca_file = (folder.path() / (authority + ".pem")).string();
    client_options.direct = true;
    http::Client client(client_options);
    http::Request request;
    request.method = "GET";
    request.url = fmt::format("https://127.0.0.1:{}/", listener->port());
    const auto response = client.send(request);
    return response.ok() ? response->status : 0;
  };
  use("one");
  options.certificate = (folder.path() / "now.pem").string();
  options.key = (folder.path() / "now.key").string();
  open();
  EXPECT_EQ(status("one"), 200);
  EXPECT_EQ(status("two"), 0);
  use("two");
  ASSERT_TRUE(listener->reload_certificate().ok());
  EXPECT_EQ(status("two"), 200);
  EXPECT_EQ(status("one"), 0);
  // A key that does not belong to it changes nothing.
  std::filesystem::copy_file(folder.path() / "one.key", folder.path() / "now.key",
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_FALSE(listener->reload_certificate().ok());
  EXPECT_EQ(status("two"), 200);
}

TEST(HttpTarget, PathAndQueryAreSplitAndDecoded) {
  Call call;
  ASSERT_TRUE(read_target("/v1/runs?state=queued&x=%C3%A4&empty&state=2", call));
  EXPECT_EQ(call.path, "/v1/runs");
  EXPECT_EQ(call.query_value("state"), "queued");
  EXPECT_EQ(call.query_value("x"), "ä");
  EXPECT_EQ(call.query_value("empty"), "");
  for (const char* bad : {"", "v1", "*", "/%", "/%4", "/%g0", "/?a=%", "/%00"}) {
    Call other;
    EXPECT_FALSE(read_target(bad, other)) << bad;
  }
  EXPECT_FALSE(read_target("/" + std::string(9000, 'a'), call));
}

}  // namespace
}  // namespace atelier::server
