// SPDX-License-Identifier: Apache-2.0
#include "store/http/http_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "store/test_server.h"

namespace atelier::http {
namespace {

using testing::HasSubstr;
using testing::SizeIs;
using Then = TestAnswer::Then;

ClientOptions impatient() {
  ClientOptions options;
  options.stall_timeout = std::chrono::seconds(1);
  return options;
}

Request request(const TestServer& server, std::string method, std::string_view body = {}) {
  Request made;
  made.method = std::move(method);
  made.url = server.url() + "/a%20b?c=d";
  made.body = as_bytes(body);
  return made;
}

TEST(HttpClient, WhatIsAskedArrivesAndWhatIsAnsweredComesBack) {
  TestServer server([](const TestRequest& asked) {
    return http_answer(asked.method == "PUT" ? 201 : 200, asked.body + "!", "ETag: \"x\"\r\n");
  });
  Client client;
  const Response response = client.send(request(server, "PUT", "body")).value();
  EXPECT_EQ(response.status, 201);
  EXPECT_EQ(as_text(response.body), "body!");
  EXPECT_EQ(response.header("etag"), "\"x\"");
  ASSERT_THAT(server.requests(), SizeIs(1));
  EXPECT_EQ(server.requests()[0].target, "/a%20b?c=d");
  EXPECT_EQ(server.requests()[0].path(), "/a b");
  EXPECT_EQ(server.requests()[0].query("c"), "d");
  EXPECT_EQ(server.requests()[0].header("Expect"), "");
}

TEST(HttpClient, ABodyThatBreaksOffIsNoAnswer) {
  for (const Then then : {Then::close, Then::reset, Then::stall}) {
    TestServer server({cut_answer(http_answer(200, "0123456789"), 4, then)});
    Client client(impatient());
    EXPECT_EQ(client.send(request(server, "GET")).error().code, Code::unavailable);
  }
}

TEST(HttpClient, AServerThatTricklesIsGivenUp) {
  TestAnswer answer = http_answer(200, std::string(1000, 'x'));
  answer.then = Then::trickle;
  TestServer server({answer});
  Client client(impatient());
  const auto response = client.send(request(server, "GET"));
  EXPECT_EQ(response.error().code, Code::unavailable);
  EXPECT_THAT(response.error().message, HasSubstr("did not answer in time"));
}

// What completes a large upload may take minutes and says so by a blank now and then.
TEST(HttpClient, AServerThatMayTrickleIsWaitedFor) {
  const std::string body = std::string(60, ' ') + "done";
  TestAnswer answer = http_answer(200, body);
  answer.then = Then::trickle;
  TestServer server({answer});
  ClientOptions options;
  options.stall_timeout = std::chrono::seconds(4);  // less than the answer takes
  Client client(options);
  Request asked = request(server, "POST", "body");
  asked.may_trickle = true;
  const auto response = client.send(asked);
  ASSERT_TRUE(response.ok()) << response.error().message;
  EXPECT_EQ(as_text(response->body), body);
}

TEST(HttpClient, AServerThatMayTrickleAndSaysNothingIsGivenUp) {
  for (const char* begun : {"", "HTTP/1.1 200 OK\r\nContent-Len", "HTTP/1.1 200 OK\r\n\r\n  "}) {
    TestServer server({{begun, Then::stall}});
    Client client(impatient());
    Request asked = request(server, "POST", "body");
    asked.may_trickle = true;
    const auto response = client.send(asked);
    ASSERT_FALSE(response.ok());
    EXPECT_EQ(response.error().code, Code::unavailable);
    EXPECT_THAT(response.error().message, HasSubstr("did not answer in time"));
  }
}

TEST(HttpClient, MoreThanWasAskedForIsNotTaken) {
  TestServer server({http_answer(200, std::string(100'001, 'x'))});
  Request asked = request(server, "GET");
  asked.most_bytes = 100'000;
  Client client;
  EXPECT_EQ(client.send(asked).error().code, Code::unavailable);
}

// libcurl would send again by itself what it sent on a kept connection that then closed: the second
// of two conditional writes meets the first as a conflict.
TEST(HttpClient, AWriteWhoseAnswerIsLostIsSentOnce) {
  for (const char* body : {"", "body"}) {
    TestServer server({http_answer(200), no_answer(), http_answer(412)});
    Client client;
    EXPECT_EQ(client.send(request(server, "PUT", body)).value().status, 200);
    EXPECT_EQ(client.send(request(server, "PUT", body)).error().code, Code::unavailable);
    EXPECT_THAT(server.requests(), SizeIs(2)) << body;
  }
}

// The name leads nowhere; what is sent still bears it.
TEST(HttpClient, ARequestGoesToTheAddressThatItNames) {
  TestServer server({http_answer(200), http_answer(200)});
  Request asked = request(server, "GET");
  const std::string port = server.url().substr(server.url().rfind(':'));
  asked.url = "http://no-such-host.invalid" + port + "/";
  asked.connect_to = "127.0.0.1";
  Client client;
  EXPECT_EQ(client.send(asked).value().status, 200);
  asked.url = "http://192.0.2.1" + port + "/";
  EXPECT_EQ(client.send(asked).value().status, 200);
  ASSERT_THAT(server.requests(), SizeIs(2));
  EXPECT_EQ(server.requests()[0].header("Host"), "no-such-host.invalid" + port);
  EXPECT_EQ(server.requests()[1].header("Host"), "192.0.2.1" + port);
}

TEST(HttpClient, AKeptConnectionIsNotUsedForAnotherAddress) {
  TestServer server({http_answer(200), http_answer(200), http_answer(200)});
  Request asked = request(server, "GET");
  Client client;
  EXPECT_EQ(client.send(asked).value().status, 200);
  asked.connect_to = "127.0.0.2";  // where nobody listens
  EXPECT_EQ(client.send(asked).error().code, Code::unavailable);
  asked.connect_to = "::1";
  EXPECT_EQ(client.send(asked).error().code, Code::unavailable);
  asked.connect_to.clear();
  EXPECT_EQ(client.send(asked).value().status, 200);
}

TEST(HttpClient, AnAddressThatIsNamedIsReachedPastAnyProxy) {
  TestServer server({http_answer(200)}), proxy({http_answer(502)});
  ::setenv("http_proxy", proxy.url().c_str(), 1);
  Request asked = request(server, "GET");
  asked.connect_to = "127.0.0.1";
  Client client;
  const auto response = client.send(asked);
  ::unsetenv("http_proxy");
  EXPECT_EQ(response.value().status, 200);
  EXPECT_THAT(proxy.requests(), SizeIs(0));
}

TEST(HttpClient, ANameIsNoAddressToConnectTo) {
  TestServer server({http_answer(200)});
  Request asked = request(server, "GET");
  Client client;
  for (const char* name : {"localhost", "127.1", "0x7f000001", "127.0.0.1:80", "[::1]", " "}) {
    asked.connect_to = name;
    EXPECT_EQ(client.send(asked).error().code, Code::invalid_argument) << name;
  }
  EXPECT_THAT(server.requests(), SizeIs(0));
}

}  // namespace
}  // namespace atelier::http
