// SPDX-License-Identifier: Apache-2.0
// Over a real connection to a receiver on this machine.
#include "server/webhook_sender.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <fstream>

#include "server/webhooks_testing.h"
#include "store/test_folder.h"
#include "store/test_server.h"

namespace atelier::server {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

// Made with Python's hmac and base64: the key is 32 times 'k', the text
// "msg_1.1700000000.{\"a\":1}".
constexpr const char* kSignature = "v1,tDnYFrCIK4MQWDoOot4FXQ7/xKQ3Ta7J5hEfw60KmoA=";
// The same with 24 times 'n'.
constexpr const char* kOtherSecret = "whsec_bm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5u";
constexpr const char* kOtherSignature = "v1,XGSmYjo+V5jpb+rIUyIXQGHtXrkVA+LjB/nCoVVU/zg=";

const WebhookMessage kMessage{"msg_1", 1'700'000'000, "{\"a\":1}"};

class Answers final : public Resolver {
 public:
  Result<std::vector<IpAddress>> resolve(const std::string&) override {
    std::vector<IpAddress> addresses;
    for (const char* text : answers.at(std::min(asked++, answers.size() - 1))) {
      addresses.push_back(parse_ip(text).value());
    }
    return addresses;
  }
  std::vector<std::vector<const char*>> answers;
  size_t asked = 0;
};

std::string port_of(const TestServer& server) {
  return server.url().substr(server.url().rfind(':') + 1);
}

std::vector<AllowedTarget> allow(const std::vector<std::string>& lines) {
  std::vector<AllowedTarget> allowed;
  for (const std::string& line : lines) allowed.push_back(parse_allowed_target(line).value());
  return allowed;
}

struct WebhookSenderTest : ::testing::Test {
  http::Client client;
  Answers resolver;
  Result<WebhookAnswer> send(const std::string& url, const std::vector<std::string>& lines,
                             int attempt = 0) {
    HttpWebhookSender sender(client, resolver, allow(lines));
    return sender.send(webhook_to(url), kMessage, attempt);
  }
};

TEST(WebhookSignature, IsThatOfAnotherImplementation) {
  EXPECT_EQ(sign_webhook(kTestSecret, kMessage).value(), kSignature);
  EXPECT_EQ(sign_webhook(std::string(kTestSecret).substr(6), kMessage).value(), kSignature);
  EXPECT_EQ(sign_webhook(kOtherSecret, kMessage).value(), kOtherSignature);
}

TEST(WebhookSignature, TwoSecretsSignWhileTheReceiverChanges) {
  const std::string both = std::string(kTestSecret) + "\n" + kOtherSecret + "\n";
  EXPECT_EQ(sign_webhook(both, kMessage).value(), std::string(kSignature) + " " + kOtherSignature);
}

TEST(WebhookSignature, WhatIsNoSecretIsRefusedAndNotRepeated) {
  for (const std::string& secret :
       {std::string(), std::string(" \n"), std::string("whsec_"), std::string("hush"),
        std::string("whsec_hush"), std::string("hunter2hunter2hunter2hunter2hunter2!"),
        std::string(kTestSecret) + " hush", std::string(kTestSecret) + "hush",
        "whsec_" + std::string(1000, 'A')}) {
    const auto signature = sign_webhook(secret, kMessage);
    ASSERT_FALSE(signature.ok()) << secret;
    EXPECT_EQ(signature.error().code, Code::invalid_argument);
    EXPECT_THAT(signature.error().message, Not(HasSubstr("hush")));
  }
}

TEST_F(WebhookSenderTest, TheReceiverGetsASignedMessage) {
  TestServer server({http_answer(204)});
  const auto answer = send(server.url() + "/hook?key=a%20b", {"127.0.0.1:" + port_of(server)});
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  EXPECT_EQ(answer->status, 204);
  ASSERT_THAT(server.requests(), SizeIs(1));
  const TestRequest request = server.requests()[0];
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.target, "/hook?key=a%20b");
  EXPECT_EQ(request.body, kMessage.body);
  EXPECT_EQ(request.header("Content-Type"), "application/json");
  EXPECT_EQ(request.header("webhook-id"), "msg_1");
  EXPECT_EQ(request.header("webhook-timestamp"), "1700000000");
  EXPECT_EQ(request.header("webhook-signature"), kSignature);
}

TEST_F(WebhookSenderTest, ARedirectIsAnAnswerAndIsNotFollowed) {
  TestServer inner({http_answer(200)});
  for (const int status : {301, 302, 303, 307, 308}) {
    TestServer server(
        {http_answer(status, "", "Location: " + inner.url() + "/latest/meta-data\r\n")});
    // Though the operator would permit the other place.
    const auto answer =
        send(server.url() + "/", {"127.0.0.1:" + port_of(server), "127.0.0.1:" + port_of(inner)});
    EXPECT_EQ(answer.value().status, status);
  }
  EXPECT_THAT(inner.requests(), SizeIs(0));
}

TEST_F(WebhookSenderTest, WhatIsNotListedIsNotConnectedTo) {
  TestServer server({http_answer(200)});
  EXPECT_EQ(send(server.url(), {"127.0.0.1:1"}).error().code, Code::invalid_argument);
  EXPECT_EQ(send(server.url(), {}).error().code, Code::invalid_argument);
  EXPECT_THAT(server.requests(), SizeIs(0));
}

// 127.0.0.2 stands for the place that is meant, and nobody listens there; 127.0.0.1 for the one
// that is not.
TEST_F(WebhookSenderTest, ANameThatChangesItsMindLeadsNowhereElse) {
  TestServer server([](const TestRequest&) { return http_answer(200); });
  const std::string port = port_of(server), url = "http://hook.example.com:" + port + "/";
  resolver.answers = {{"127.0.0.2"}, {"127.0.0.1"}};
  // Who looked the name up again would reach the server.
  EXPECT_EQ(send(url, {"hook.example.com:" + port, "127.0.0.2:" + port}).error().code,
            Code::unavailable);
  EXPECT_EQ(resolver.asked, 1U);
  // The next attempt asks anew, and what it hears is refused.
  EXPECT_EQ(send(url, {"hook.example.com:" + port, "127.0.0.2:" + port}).error().code,
            Code::invalid_argument);
  EXPECT_THAT(server.requests(), SizeIs(0));
  EXPECT_EQ(send(url, {"hook.example.com:" + port, "127.0.0.1:" + port}).value().status, 200);
  EXPECT_EQ(server.requests().at(0).header("Host"), "hook.example.com:" + port);
}

TEST_F(WebhookSenderTest, EachAttemptTakesTheNextAddress) {
  TestServer server([](const TestRequest&) { return http_answer(200); });
  const std::string port = port_of(server), url = "http://hook.example.com:" + port + "/";
  resolver.answers = {{"127.0.0.2", "127.0.0.1"}};
  const std::vector<std::string> lines = {"hook.example.com:" + port, "127.0.0.0/8:" + port};
  EXPECT_FALSE(send(url, lines, 0).ok());
  EXPECT_TRUE(send(url, lines, 1).ok());
  EXPECT_FALSE(send(url, lines, 2).ok());
}

TEST_F(WebhookSenderTest, WhatTheReceiverAsksForIsToldOn) {
  TestServer server({http_answer(429, "", "Retry-After: 17\r\n")});
  const auto answer = send(server.url(), {"127.0.0.1:" + port_of(server)});
  EXPECT_EQ(answer.value().status, 429);
  EXPECT_EQ(answer.value().retry_after, std::chrono::seconds(17));
}

TEST_F(WebhookSenderTest, ASecretThatOthersCanReadIsNotUsed) {
  TestServer server({http_answer(200)});
  const TestFolder folder;
  const auto file = folder.path() / "secret";
  std::ofstream(file) << kTestSecret;
  ASSERT_EQ(::chmod(file.c_str(), 0644), 0);
  Webhook webhook = webhook_to(server.url());
  webhook.secret = Secret::file(file);
  HttpWebhookSender sender(client, resolver, allow({"127.0.0.1:" + port_of(server)}));
  EXPECT_EQ(sender.send(webhook, kMessage, 0).error().code, Code::invalid_argument);
  EXPECT_THAT(server.requests(), SizeIs(0));
  ASSERT_EQ(::chmod(file.c_str(), 0600), 0);
  EXPECT_EQ(sender.send(webhook, kMessage, 0).value().status, 200);
}

// From the event to the receiver and back, with a receiver that is ill for a while.
TEST_F(WebhookSenderTest, AnEventReachesAReceiverThatRecovers) {
  TestServer server({http_answer(500),
                     cut_answer(http_answer(200, "x"), 0, TestAnswer::Then::reset),
                     http_answer(200), http_answer(410)});
  const TestFolder folder;
  const auto database = Database::open(folder.path() / "atelier.db").value();
  FakeWallClock clock;
  NullLog log;
  HttpWebhookSender sender(client, resolver, allow({"127.0.0.1:" + port_of(server)}));
  Deliveries deliveries(*database, sender, clock, log);
  const Webhook webhook = webhook_to(server.url() + "/hook");
  ASSERT_TRUE(add_event(*database, {webhook}, clock, 1, "finished").ok());
  for (int attempt = 0; attempt < 3; ++attempt) {
    EXPECT_EQ(delivery_rows(*database).at({"hook", 1}).state, "waiting");
    ASSERT_TRUE(deliveries.deliver_due(webhook).ok());
    clock.advance(60'000);
  }
  const auto row = delivery_rows(*database).at({"hook", 1});
  EXPECT_EQ(row.state, "delivered");
  EXPECT_EQ(row.attempts, 3);
  const auto requests = server.requests();
  ASSERT_THAT(requests, SizeIs(3));
  for (const TestRequest& request : requests) {
    EXPECT_EQ(request.header("webhook-id"), requests[0].header("webhook-id"));
    const WebhookMessage message{std::string(request.header("webhook-id")),
                                 std::stoll(std::string(request.header("webhook-timestamp"))),
                                 request.body};
    EXPECT_EQ(request.header("webhook-signature"), sign_webhook(kTestSecret, message).value());
  }
  ASSERT_TRUE(add_event(*database, {webhook}, clock, 2, "failed").ok());
  ASSERT_TRUE(deliveries.deliver_due(webhook).ok());
  EXPECT_EQ(delivery_rows(*database).at({"hook", 2}).state, "given_up");
}

}  // namespace
}  // namespace atelier::server
