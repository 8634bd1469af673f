// SPDX-License-Identifier: Apache-2.0
#include "server/webhooks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>
#include <map>
#include <nlohmann/json.hpp>

#include "server/webhooks_testing.h"
#include "store/test_folder.h"

namespace atelier::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

constexpr Millis kHour = 3'600'000;

// Answers as it is told; the last answer stays.
class FakeSender final : public WebhookSender {
 public:
  Result<WebhookAnswer> send(const Webhook& webhook, const WebhookMessage& message,
                             int attempt) override {
    sent.push_back({webhook.name, message, attempt});
    if (const auto hook = std::exchange(meanwhile, nullptr)) hook();
    const auto answer = answers.front();
    if (answers.size() > 1) answers.erase(answers.begin());
    if (answer.status == 0) return make_error(Code::unavailable, "https://h/?hush is not there");
    return answer;
  }
  struct Sent {
    std::string webhook;
    WebhookMessage message;
    int attempt;
  };
  std::vector<Sent> sent;
  std::vector<WebhookAnswer> answers{{200}};
  std::function<void()> meanwhile;  // once, while it is sent
};

class LinesLog final : public Log {
 public:
  void line(LogLevel, std::string_view text) override { lines.emplace_back(text); }
  std::vector<std::string> lines;
};

struct WebhooksTest : ::testing::Test {
  TestFolder folder;
  std::unique_ptr<Database> database = Database::open(folder.path() / "atelier.db").value();
  FakeWallClock clock{1'700'000'000'123};
  LinesLog log;
  FakeSender sender;
  Deliveries deliveries{*database, sender, clock, log};
  Webhook hook = webhook_to("https://hooks.example.com/");

  void queue(int64_t seq, const std::string& kind = "finished") {
    EXPECT_TRUE(add_event(*database, {hook}, clock, seq, kind).ok());
  }
  Deliveries::Next deliver() { return deliveries.deliver_due(hook).value(); }
  DeliveryRow row(int64_t event = 1) { return delivery_rows(*database).at({hook.name, event}); }
};

TEST_F(WebhooksTest, WhatIsDueIsSentOnceAndInOrder) {
  for (int64_t seq = 1; seq <= 5; ++seq) queue(seq);
  const auto next = deliver();
  EXPECT_FALSE(next.due);
  ASSERT_THAT(sender.sent, SizeIs(5));
  for (int64_t seq = 1; seq <= 5; ++seq) {
    const auto& sent = sender.sent[static_cast<size_t>(seq - 1)];
    EXPECT_THAT(sent.message.body, HasSubstr(fmt::format("\"event\":{}", seq)));
    EXPECT_EQ(row(seq).state, "delivered");
    EXPECT_EQ(row(seq).attempts, 1);
  }
  deliver();
  EXPECT_THAT(sender.sent, SizeIs(5));
}

TEST_F(WebhooksTest, TheBodyTellsWhatHappenedWithoutSecrets) {
  const RunEvent event{7, "run-1", 1'700'000'000'042, "failed",
                       R"({"why":"bad","token":"hush","url":"https://h/?hush"})"};
  ASSERT_TRUE(database
                  ->write([&](Connection& connection) {
                    return queue_deliveries(connection, std::span(&hook, 1), event, clock);
                  })
                  .ok());
  deliver();
  ASSERT_THAT(sender.sent, SizeIs(1));
  const auto body = nlohmann::json::parse(sender.sent[0].message.body);
  EXPECT_EQ(body["type"], "run.failed");
  EXPECT_EQ(body["timestamp"], "2023-11-14T22:13:20.042Z");
  EXPECT_EQ(body["data"]["run"], "run-1");
  EXPECT_EQ(body["data"]["event"], 7);
  EXPECT_EQ(body["data"]["detail"]["why"], "bad");
  EXPECT_THAT(body.dump(), Not(HasSubstr("hush")));
}

TEST_F(WebhooksTest, OneRowForEachWebhookThatWantsTheKind) {
  Webhook all = hook, none = hook;
  all.name = "all";
  all.kinds = {"finished", "cancelled"};
  none.name = "none";
  none.kinds = {"cancelled"};
  const std::vector<Webhook> hooks = {hook, all, none};
  ASSERT_TRUE(add_event(*database, hooks, clock, 1, "finished").ok());
  ASSERT_TRUE(add_event(*database, hooks, clock, 2, "progress").ok());
  ASSERT_TRUE(add_event(*database, hooks, clock, 3, "cancelled").ok());
  std::vector<std::pair<std::string, int64_t>> keys;
  for (const auto& [key, ignored] : delivery_rows(*database)) keys.push_back(key);
  using Key = std::pair<std::string, int64_t>;
  EXPECT_THAT(keys, ElementsAre(Key("all", 1), Key("all", 3), Key("hook", 1), Key("none", 3)));
}

TEST_F(WebhooksTest, AnEventThatIsAddedAgainIsNotToldAgain) {
  queue(1);
  deliver();
  ASSERT_TRUE(database
                  ->write([&](Connection& connection) {
                    return queue_deliveries(connection, std::span(&hook, 1),
                                            {1, "other", clock.now(), "failed", "{}"}, clock);
                  })
                  .ok());
  deliver();
  EXPECT_THAT(sender.sent, SizeIs(1));
  EXPECT_EQ(row().state, "delivered");
  EXPECT_EQ(row().attempts, 1);
}

TEST_F(WebhooksTest, AnEventThatIsTakenBackIsNotTold) {
  EXPECT_FALSE(database
                   ->write([&](Connection& connection) -> Result<void> {
                     TRY(queue_deliveries(connection, std::span(&hook, 1),
                                          {1, "run", clock.now(), "finished", "{}"}, clock));
                     return make_error(Code::conflict, "no");
                   })
                   .ok());
  deliver();
  EXPECT_THAT(sender.sent, SizeIs(0));
}

TEST_F(WebhooksTest, WhatFailsIsRepeatedUnderTheSameIdWithAFreshTime) {
  queue(1);
  sender.answers = {{500}, {302}, {200}};
  const auto next = deliver();
  EXPECT_FALSE(next.pause);
  EXPECT_EQ(row().last_error, "The receiver answered 500 Internal Server Error.");
  ASSERT_TRUE(next.due);
  EXPECT_GE(*next.due, clock.now() + 5000);
  EXPECT_LE(*next.due, clock.now() + 6250);
  deliver();
  EXPECT_THAT(sender.sent, SizeIs(1)) << "not before it is due";
  clock.advance(6250);
  deliver();
  EXPECT_EQ(row().attempts, 2);
  EXPECT_THAT(row().last_error, HasSubstr("302"));
  clock.advance(12'500);
  EXPECT_FALSE(deliver().due);
  EXPECT_EQ(row().state, "delivered");
  EXPECT_EQ(row().last_error, "");
  ASSERT_THAT(sender.sent, SizeIs(3));
  for (int i = 0; i < 3; ++i) {
    const auto& sent = sender.sent[static_cast<size_t>(i)];
    EXPECT_EQ(sent.attempt, i);
    EXPECT_EQ(sent.message.id, sender.sent[0].message.id);
    EXPECT_EQ(sent.message.body, sender.sent[0].message.body);
  }
  EXPECT_EQ(sender.sent[0].message.timestamp, 1'700'000'000);
  EXPECT_EQ(sender.sent[2].message.timestamp, 1'700'000'018);
}

TEST_F(WebhooksTest, EveryEventAndWebhookHasItsOwnId) {
  Webhook other = hook;
  other.name = "other";
  ASSERT_TRUE(add_event(*database, {hook, other}, clock, 1, "finished").ok());
  ASSERT_TRUE(add_event(*database, {hook, other}, clock, 2, "finished").ok());
  deliver();
  ASSERT_TRUE(deliveries.deliver_due(other).ok());
  std::map<std::string, int> ids;
  for (const auto& sent : sender.sent) ++ids[sent.message.id];
  EXPECT_THAT(ids, SizeIs(4));
  for (const auto& [id, count] : ids) EXPECT_EQ(id.find('.'), std::string::npos) << count;
}

TEST_F(WebhooksTest, AfterADayItIsGivenUp) {
  queue(1);
  sender.answers = {{500}};
  const Millis begin = clock.now();
  Millis waited = 0, longest = 0;
  while (row().state == "waiting") {
    const auto next = deliver();
    if (!next.due) break;
    waited = *next.due - clock.now();
    longest = std::max(longest, waited);
    ASSERT_GT(waited, 0);
    clock.advance(waited);
  }
  EXPECT_EQ(row().state, "given_up");
  EXPECT_EQ(clock.now() - begin, 24 * kHour);
  EXPECT_GE(longest, kHour);
  EXPECT_LE(longest, kHour * 5 / 4);
  EXPECT_GE(row().attempts, 24);
  EXPECT_LE(row().attempts, 40);
  ASSERT_THAT(log.lines, SizeIs(1));
  EXPECT_THAT(log.lines[0], HasSubstr("was not told of run"));
}

TEST_F(WebhooksTest, WhatIsToBeToldAgainIsNotUndoneByTheAttemptUnderWay) {
  queue(1);
  clock.advance(1000);
  sender.answers = {{410}, {200}};
  sender.meanwhile = [&] {
    const auto told = database->write(
        [&](Connection& connection) { return deliver_again(connection, row().seq, clock.now()); });
    EXPECT_TRUE(told.ok());
  };
  deliver();
  EXPECT_EQ(row().state, "waiting");
  EXPECT_EQ(row().attempts, 0);
  EXPECT_THAT(log.lines, SizeIs(0));
  deliver();
  EXPECT_EQ(row().state, "delivered");
}

TEST_F(WebhooksTest, AReceiverThatIsGoneIsNotAskedAgain) {
  queue(1);
  sender.answers = {{410}};
  EXPECT_FALSE(deliver().due);
  EXPECT_EQ(row().state, "given_up");
  EXPECT_EQ(row().attempts, 1);
  clock.advance(48 * kHour);
  deliver();
  EXPECT_THAT(sender.sent, SizeIs(1));
}

TEST_F(WebhooksTest, WhenItAsksForTimeItGetsIt) {
  queue(1);
  queue(2);
  sender.answers = {{429, std::chrono::seconds(1000)}, {200}};
  EXPECT_TRUE(deliver().pause);
  EXPECT_THAT(sender.sent, SizeIs(1));
  EXPECT_EQ(row(1).next_at, clock.now() + 1'000'000);
  EXPECT_EQ(row(2).attempts, 0);
  clock.advance(5000);
  EXPECT_EQ(deliver().due, row(1).next_at);
  EXPECT_EQ(row(2).state, "delivered");
  // Nobody may ask for a year.
  queue(3);
  sender.answers = {{503, std::chrono::hours(9000)}};
  deliver();
  EXPECT_EQ(row(3).next_at, clock.now() + kHour);
}

TEST_F(WebhooksTest, AnEventThatItCannotTakeKeepsNoOtherWaiting) {
  for (int64_t seq = 1; seq <= 3; ++seq) queue(seq);
  sender.answers = {{500}, {200}};
  deliver();
  EXPECT_EQ(row(1).state, "waiting");
  EXPECT_EQ(row(2).state, "delivered");
  EXPECT_EQ(row(3).state, "delivered");
}

TEST_F(WebhooksTest, AReceiverThatIsNotThereIsTriedWithOneAtATime) {
  for (int64_t seq = 1; seq <= 3; ++seq) queue(seq);
  sender.answers = {{0}, {0}, {200}};
  auto next = deliver();
  EXPECT_TRUE(next.pause);
  EXPECT_EQ(next.due, clock.now() + 5000);
  EXPECT_THAT(sender.sent, SizeIs(1));
  EXPECT_THAT(row(1).last_error, Not(HasSubstr("hush")));
  clock.advance(5000);
  EXPECT_TRUE(deliver().pause);
  EXPECT_EQ(row(2).attempts, 1) << "the others have their turn";
  clock.advance(kHour);
  EXPECT_FALSE(deliver().due);
  for (int64_t seq = 1; seq <= 3; ++seq) EXPECT_EQ(row(seq).state, "delivered");
}

TEST_F(WebhooksTest, WhatWasPutOffByAClockThatWasWrongIsDue) {
  clock.advance(1000 * kHour);
  queue(1);
  clock.advance(-1000 * kHour);
  deliver();
  EXPECT_EQ(row(1).state, "delivered");
}

TEST_F(WebhooksTest, WebhooksThatWereRemovedAreGivenUp) {
  queue(1);
  hook.name = "other";
  queue(2);
  EXPECT_EQ(deliveries.give_up_removed(std::span(&hook, 1)).value(), 1);
  EXPECT_EQ(delivery_rows(*database).at({"hook", 1}).state, "given_up");
  EXPECT_EQ(row(2).state, "waiting");
  EXPECT_EQ(deliveries.give_up_removed({}).value(), 1);
}

TEST_F(WebhooksTest, PausesGrowAndAreSpread) {
  EXPECT_EQ(retry_delay(1, 0), 5000);
  EXPECT_EQ(retry_delay(2, 0), 10'000);
  EXPECT_EQ(retry_delay(10, 0), 2'560'000);
  EXPECT_EQ(retry_delay(11, 0), kHour);
  EXPECT_EQ(retry_delay(1'000'000, 1), kHour * 5 / 4);
  EXPECT_EQ(retry_delay(1, 0.5), 5625);
  std::map<Millis, int> delays;
  sender.answers = {{500}};
  for (int64_t seq = 1; seq <= 20; ++seq) queue(seq);
  deliver();
  for (int64_t seq = 1; seq <= 20; ++seq) ++delays[row(seq).next_at];
  EXPECT_GT(delays.size(), 10U);
}

TEST_F(WebhooksTest, AThreadForEachIsWokenAndEndsWithItsObject) {
  class Promises final : public WebhookSender {
   public:
    Result<WebhookAnswer> send(const Webhook& webhook, const WebhookMessage&, int) override {
      if (webhook.name == "stuck") {
        stuck.set_value();
        go.get_future().wait();
      } else {
        sent.set_value();
      }
      return WebhookAnswer{200};
    }
    std::promise<void> sent, stuck, go;
  } promises;
  Deliveries with_promises(*database, promises, clock, log);
  Webhook stuck = hook;
  stuck.name = "stuck";
  {
    DeliveryThreads threads(with_promises, clock, log, {stuck, hook});
    ASSERT_TRUE(add_event(*database, {stuck, hook}, clock, 1, "finished").ok());
    threads.wake();
    promises.stuck.get_future().wait();
    promises.sent.get_future().wait();  // though the other one hangs
    promises.go.set_value();
  }
  EXPECT_EQ(row().state, "delivered");
  EXPECT_EQ(delivery_rows(*database).at({"stuck", 1}).state, "delivered");
}

}  // namespace
}  // namespace atelier::server
