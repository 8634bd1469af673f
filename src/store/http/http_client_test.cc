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

}  // namespace
}  // namespace atelier::http
