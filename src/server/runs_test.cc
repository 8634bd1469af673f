// SPDX-License-Identifier: Apache-2.0
#include "server/runs.h"

#include <gmock/gmock.h>

#include "server/turn.h"
#include "store/test_folder.h"

namespace atelier::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr Millis kNow = 1'700'000'000'000;

struct RunsTest : ::testing::Test {
  TestFolder folder;
  std::unique_ptr<Database> database =
      std::move(Database::open(folder.path() / "atelier.db")).value();
  QueueLimits limits;

  NewRun run(const std::string& owner = "ann", int64_t priority = 0) const {
    NewRun made;
    made.pipeline = "paint";
    made.version = 1;
    made.sha256 = "ab";
    made.parameters = R"({"input":"a.mp4"})";
    made.owner = owner;
    made.pool = "local";
    made.priority = priority;
    made.input = "file:///a.mp4";
    made.output = "file:///b.mp4";
    return made;
  }
  // What `work` gives, in a transaction of its own.
  template <class F>
  auto write(F work) {
    std::optional<decltype(work(std::declval<Connection&>()))> result;
    const Result<void> done = database->write([&](Connection& connection) -> Result<void> {
      result.emplace(work(connection));
      if (!result->ok()) return result->error();
      return {};
    });
    (void)done;
    return std::move(*result);
  }
  std::string add(const NewRun& made, Millis now = kNow) {
    return write([&](Connection& c) { return add_run(c, made, limits, now); }).value();
  }
  RunRow find(const std::string& id) {
    return write([&](Connection& c) { return find_run(c, id); }).value().value();
  }
  std::vector<std::string> kinds(const std::string& id) {
    std::vector<std::string> found;
    for (const EventRow& event :
         write([&](Connection& c) { return list_events(c, id, 0, 100); }).value()) {
      found.push_back(event.kind);
    }
    return found;
  }
};

TEST_F(RunsTest, ARunGoesThroughItsStatesAndEachIsAnEvent) {
  const std::string id = add(run());
  EXPECT_TRUE(write([&](Connection& c) { return begin_attempt(c, id, kNow + 5); }).value());
  AttemptEnd end;
  end.state = RunState::finished;
  end.exit_code = 0;
  end.frames = 7;
  end.busy_ms = 1500;
  end.cost = 0.25;
  end.report = "{}";
  EXPECT_TRUE(write([&](Connection& c) { return end_attempt(c, id, end, kNow + 9); }).value());
  const RunRow row = find(id);
  EXPECT_EQ(row.state, RunState::finished);
  EXPECT_EQ(row.started_at, kNow + 5);
  EXPECT_EQ(row.ended_at, kNow + 9);
  EXPECT_EQ(row.attempts, 1);
  EXPECT_EQ(row.frames, 7);
  EXPECT_EQ(row.report, "{}");
  EXPECT_THAT(kinds(id), ElementsAre("queued", "running", "finished"));
  // What is over stays so.
  EXPECT_FALSE(write([&](Connection& c) { return begin_attempt(c, id, kNow); }).value());
  EXPECT_FALSE(write([&](Connection& c) { return ask_to_cancel(c, id, kNow); }).value());
  EXPECT_FALSE(write([&](Connection& c) { return retry_run(c, id, limits, kNow); }).value());
}

TEST_F(RunsTest, AnAttemptThatIsNobodysFaultIsNotCounted) {
  const std::string id = add(run());
  EXPECT_TRUE(write([&](Connection& c) { return begin_attempt(c, id, kNow); }).value());
  AttemptEnd end;
  end.counts = false;
  EXPECT_TRUE(write([&](Connection& c) { return end_attempt(c, id, end, kNow); }).value());
  EXPECT_EQ(find(id).attempts, 0);
  EXPECT_EQ(find(id).state, RunState::queued);
}

TEST_F(RunsTest, AKeyStandsForOneRequest) {
  const auto once = [&](const std::string& key, const std::string& hash) {
    return write([&](Connection& c) { return add_run_once(c, run(), key, hash, limits, kNow); });
  };
  const auto first = once("k", "1");
  ASSERT_TRUE(first.ok());
  EXPECT_TRUE(first->is_new);
  const auto again = once("k", "1");
  ASSERT_TRUE(again.ok());
  EXPECT_FALSE(again->is_new);
  EXPECT_EQ(again->id, first->id);
  const auto other = once("k", "2");
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().code, Code::conflict);
  EXPECT_NE(once("l", "2")->id, first->id);
}

TEST_F(RunsTest, AFullQueueIsRefusedWithATimeAndByOwner) {
  limits.max_queued = 3;
  limits.max_queued_of_owner = 2;
  add(run("ann"));
  add(run("ann"));
  const auto third = write([&](Connection& c) { return add_run(c, run("ann"), limits, kNow); });
  ASSERT_FALSE(third.ok());
  EXPECT_EQ(third.error().code, Code::unavailable);
  EXPECT_GT(third.error().retry_after.count(), 0);
  EXPECT_THAT(third.error().message, HasSubstr("'ann' has 2 runs"));
  const std::string bob = add(run("bob"));
  EXPECT_THAT(
      write([&](Connection& c) { return add_run(c, run("cy"), limits, kNow); }).error().message,
      HasSubstr("The queue is full (3 runs)"));
  // Room again when one of them has begun.
  EXPECT_TRUE(write([&](Connection& c) { return begin_attempt(c, bob, kNow); }).value());
  add(run("cy"));
}

TEST_F(RunsTest, BytesOfAnOwnerAreBounded) {
  limits.max_queued_bytes_of_owner = 100;
  NewRun large = run();
  large.bytes = 60;
  add(large);
  EXPECT_FALSE(write([&](Connection& c) { return add_run(c, large, limits, kNow); }).ok());
  large.bytes = 40;
  add(large);
}

TEST_F(RunsTest, CancellingAndRetrying) {
  const std::string queued = add(run()), running = add(run());
  EXPECT_TRUE(write([&](Connection& c) { return begin_attempt(c, running, kNow); }).value());
  EXPECT_TRUE(write([&](Connection& c) { return ask_to_cancel(c, queued, kNow); }).value());
  EXPECT_TRUE(write([&](Connection& c) { return ask_to_cancel(c, running, kNow); }).value());
  EXPECT_EQ(find(queued).state, RunState::cancelled);
  EXPECT_EQ(find(running).state, RunState::running);
  EXPECT_TRUE(find(running).cancel_asked);
  EXPECT_FALSE(write([&](Connection& c) { return delete_run(c, running); }).value());
  EXPECT_TRUE(write([&](Connection& c) { return retry_run(c, queued, limits, kNow); }).value());
  EXPECT_EQ(find(queued).state, RunState::queued);
  EXPECT_THAT(kinds(queued), ElementsAre("queued", "cancelled", "retried"));
}

// A retry is no way around the queue's bounds, nor around the run's own.
TEST_F(RunsTest, ARetryNeedsRoomAndKeepsWhatWasSpent) {
  NewRun bounded = run();
  bounded.max_cost = 1.0;
  bounded.bytes = 50;
  const std::string id = add(bounded);
  const auto fail = [&](double cost) {
    EXPECT_TRUE(write([&](Connection& c) { return begin_attempt(c, id, kNow); }).value());
    AttemptEnd end;
    end.state = RunState::failed;
    end.cost = cost;
    end.busy_ms = 2000;
    EXPECT_TRUE(write([&](Connection& c) { return end_attempt(c, id, end, kNow); }).value());
  };
  const auto retry = [&] {
    return write([&](Connection& c) { return retry_run(c, id, limits, kNow); });
  };
  fail(0.25);
  add(run());
  limits.max_queued = 1;
  EXPECT_EQ(retry().error().code, Code::unavailable);
  EXPECT_GT(retry().error().retry_after.count(), 0);
  limits.max_queued = 10;
  limits.max_queued_of_owner = 1;
  EXPECT_EQ(retry().error().code, Code::unavailable);
  limits.max_queued_of_owner = 10;
  limits.max_queued_bytes_of_owner = 49;
  EXPECT_EQ(retry().error().code, Code::invalid_argument) << "it will never fit";
  EXPECT_EQ(find(id).state, RunState::failed);
  limits.max_queued_bytes_of_owner = 50;
  EXPECT_TRUE(retry().value());
  EXPECT_EQ(find(id).cost, 0.25);
  EXPECT_EQ(find(id).busy_ms, 2000);
  EXPECT_EQ(find(id).attempts, 0);
  fail(0.75);
  EXPECT_EQ(retry().error().code, Code::conflict);
  EXPECT_THAT(retry().error().message, HasSubstr("max_cost"));
}

TEST_F(RunsTest, PrefixesStayWithTheRun) {
  NewRun scoped = run();
  scoped.prefixes = {"/srv/a", "az://acct/b"};
  scoped.replace_own = true;
  const RunRow row = find(add(scoped));
  EXPECT_EQ(row.prefixes, scoped.prefixes);
  EXPECT_TRUE(row.replace_own);
}

TEST_F(RunsTest, ListsAreFilteredAndPagedNewestFirst) {
  for (int i = 0; i < 5; ++i) add(run(i % 2 == 0 ? "ann" : "bob"), kNow + i);
  RunFilter filter;
  filter.limit = 2;
  const auto list = [&] {
    return write([&](Connection& c) { return list_runs(c, filter); }).value();
  };
  const auto first = list();
  ASSERT_EQ(first.size(), 2U);
  EXPECT_EQ(first[0].created_at, kNow + 4);
  filter.before = first[1].seq;
  EXPECT_EQ(list()[0].created_at, kNow + 2);
  filter = {};
  filter.owner = "bob";
  EXPECT_EQ(list().size(), 2U);
  filter = {};
  filter.label_name = "film";
  filter.label_value = "one";
  EXPECT_TRUE(list().empty());
  NewRun labelled = run();
  labelled.labels = R"({"film":"one","x":"y"})";
  const std::string id = add(labelled, kNow - 10);
  ASSERT_EQ(list().size(), 1U);
  EXPECT_EQ(list()[0].id, id);
  write([&](Connection& c) { return ask_to_cancel(c, id, kNow); }).value();
  write([&](Connection& c) { return delete_run(c, id); }).value();
  filter = {};
  filter.since = kNow + 1;
  filter.until = kNow + 3;
  EXPECT_EQ(list().size(), 2U);
  filter = {};
  filter.pipelines = {"other"};
  EXPECT_TRUE(list().empty());
  filter.pipelines = {"other", "paint"};
  filter.state = RunState::queued;
  EXPECT_EQ(list().size(), 5U);
}

TEST_F(RunsTest, RunFoldersAreNotedByStep) {
  const std::string id = add(run());
  const auto note = [&](int64_t step, const char* url) {
    ASSERT_TRUE(
        database->write([&](Connection& c) { return note_run_url(c, id, step, url); }).ok());
  };
  note(0, "file:///r/1");
  note(0, "file:///r/2");  // the input changed between two attempts
  EXPECT_THAT(find(id).run_urls, ElementsAre("file:///r/2"));
  note(1, "file:///r/3");
  EXPECT_THAT(find(id).run_urls, ElementsAre("file:///r/2", "file:///r/3"));
}

TEST_F(RunsTest, CountsStayTrueThroughEverything) {
  std::vector<std::string> ids;
  for (int i = 0; i < 6; ++i) ids.push_back(add(run(i < 3 ? "ann" : "bob")));
  for (int i = 0; i < 4; ++i) {
    write([&](Connection& c) {
      return begin_attempt(c, ids[static_cast<size_t>(i)], kNow);
    }).value();
  }
  write([&](Connection& c) { return ask_to_cancel(c, ids[5], kNow); }).value();
  write([&](Connection& c) { return delete_run(c, ids[5]); }).value();
  const auto different = write([&](Connection& c) {
    return c.integer(
        "SELECT count(*) FROM (SELECT owner, pool, state, runs FROM run_counts WHERE "
        "runs != 0 EXCEPT SELECT owner, pool, state, count(*) FROM runs GROUP BY "
        "owner, pool, state)");
  });
  EXPECT_EQ(different.value(), 0);
  const auto all =
      write([&](Connection& c) { return c.integer("SELECT sum(runs) FROM run_counts"); });
  EXPECT_EQ(all.value(), 5);
}

TEST_F(RunsTest, TurnsAreFairBetweenOwners) {
  for (int i = 0; i < 10; ++i) add(run("ann"));
  add(run("bob"));
  add(run("cy"));
  std::map<std::string, uint64_t> last_begun;
  std::vector<std::string> owners;
  for (uint64_t turn = 1; turn <= 5; ++turn) {
    const auto candidates =
        write([&](Connection& c) { return find_candidates(c, "local", last_begun, kNow); });
    const Candidate* next = choose_next(candidates.value(), [](const std::string&) { return 99; });
    ASSERT_NE(next, nullptr);
    owners.push_back(next->owner);
    last_begun[next->owner] = turn;
    write([&](Connection& c) { return begin_attempt(c, next->id, kNow); }).value();
    AttemptEnd end;
    end.state = RunState::finished;
    write([&](Connection& c) { return end_attempt(c, next->id, end, kNow); }).value();
  }
  EXPECT_THAT(owners, ElementsAre("ann", "bob", "cy", "ann", "ann"));
}

TEST(Turn, PriorityGoesFirstThenWhoHasFewestRunning) {
  const std::vector<Candidate> candidates = {
      {"a1", "ann", 0, 1, 3, 9}, {"b1", "bob", 0, 2, 1, 9}, {"c1", "cy", 0, 3, 1, 4}};
  const auto any = [](const std::string&) -> int64_t { return 99; };
  EXPECT_EQ(choose_next(candidates, any)->id, "c1");
  auto urgent = candidates;
  urgent[0].priority = 5;
  EXPECT_EQ(choose_next(urgent, any)->id, "a1");
  EXPECT_EQ(choose_next(urgent, [](const std::string& o) { return o == "ann" ? 3 : 2; })->id, "c1");
  EXPECT_EQ(choose_next(candidates, [](const std::string&) { return 0; }), nullptr);
}

TEST_F(RunsTest, WhatMustWaitIsNoCandidateYet) {
  const std::string id = add(run());
  write([&](Connection& c) { return begin_attempt(c, id, kNow); }).value();
  AttemptEnd end;
  end.not_before = kNow + 1000;
  write([&](Connection& c) { return end_attempt(c, id, end, kNow); }).value();
  const auto at = [&](Millis now) {
    return write([&](Connection& c) { return find_candidates(c, "local", {}, now); })
        .value()
        .size();
  };
  EXPECT_EQ(at(kNow + 999), 0U);
  EXPECT_EQ(at(kNow + 1000), 1U);
}

}  // namespace
}  // namespace atelier::server
