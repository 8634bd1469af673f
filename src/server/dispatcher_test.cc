// SPDX-License-Identifier: Apache-2.0
#include "server/dispatcher.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/stat.h>

#include <array>
#include <fstream>

#include "server/dispatcher_testing.h"

namespace atelier::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST_F(DispatcherTest, ARunIsStartedWatchedAndFinished) {
  const std::string id = add();
  step();
  ASSERT_THAT(plays, SizeIs(1));
  EXPECT_THAT(plays[0].words, ElementsAre("run", id, "0"));
  EXPECT_EQ(find(id).state, RunState::running);
  plays[0].says = "a.mp4: 9 frames\nRun: file:///runs/1\n";
  step();
  EXPECT_THAT(find(id).run_urls, ElementsAre("file:///runs/1"));
  clock.advance(std::chrono::seconds(2000));
  reports["file:///runs/1"] = R"({"frames":9,"engine":{"nodes":["n1","n2"]}})";
  end(exit_status(0), "Painted 9 frames\n");
  const RunRow row = find(id);
  EXPECT_EQ(row.state, RunState::finished);
  EXPECT_EQ(row.frames, 9);
  EXPECT_EQ(row.busy_ms, 2'000'000);
  EXPECT_DOUBLE_EQ(row.cost, 4.0);  // two nodes at 3.6 an hour
  EXPECT_EQ(row.report, reports["file:///runs/1"]);
  ASSERT_TRUE(
      database
          ->read([&](Connection& connection) -> Result<void> {
            const auto busy = TRY(connection.integer(
                "SELECT sum(end_at - begin_at) FROM pool_time WHERE pool = 'local' AND run_id = ?",
                {id}));
            EXPECT_EQ(busy, 2 * 2'000'000);
            return {};
          })
          .ok());
  EXPECT_THAT(ended, ElementsAre(id));
  std::ifstream log(folder.path() / "logs" / (id + ".log"));
  const std::string text(std::istreambuf_iterator<char>(log), {});
  EXPECT_EQ(text, "a.mp4: 9 frames\nRun: file:///runs/1\nPainted 9 frames\n");
}

TEST_F(DispatcherTest, AReportThatIsNoneCountsForNothing) {
  for (const char* report :
       {"", "[]", "3", "{\"engine\":[1]}", "{\"engine\":{\"nodes\":\"n1\"},\"frames\":\"9\"}"}) {
    const std::string id = add();
    step();
    reports["file:///runs/1"] = report;
    end(exit_status(0), "Run: file:///runs/1\n");
    EXPECT_EQ(find(id).state, RunState::finished) << report;
    EXPECT_EQ(find(id).frames, 0) << report;
  }
}

TEST_F(DispatcherTest, AReportIsWaitedForWhileItsStoreIsAway) {
  reports["file:///runs/1"] = R"({"frames": 7})";
  const std::string id = end_without_store();
  EXPECT_EQ(find(id).state, RunState::running);
  clock.advance(std::chrono::seconds(90));
  step();
  EXPECT_EQ(find(id).state, RunState::running);
  no_reports.reset();
  clock.advance(std::chrono::seconds(90));
  step();
  EXPECT_EQ(find(id).state, RunState::finished);
  EXPECT_EQ(find(id).frames, 7);
  EXPECT_LT(find(id).busy_ms, 60'000) << "the wait is nobody's work";
}

TEST_F(DispatcherTest, AReportThatDoesNotComeIsDoneWithout) {
  const std::string id = end_without_store();
  clock.advance(std::chrono::hours(1));
  step();
  EXPECT_EQ(find(id).state, RunState::finished);
  ASSERT_FALSE(said.empty());
  EXPECT_NE(said.back().find("The store is away."), std::string::npos) << said.back();
  EXPECT_EQ(dispatcher->running(), 0U);
}

TEST_F(DispatcherTest, AServiceThatStopsMeanwhileReadsTheReportWhenItStartsAgain) {
  const std::string id = end_without_store();
  std::stop_source stop;
  stop.request_stop();
  dispatcher->run(stop.get_token());
  no_reports.reset();
  create();
  EXPECT_EQ(find(id).state, RunState::queued) << "its command goes on where it stopped: at the end";
  reports["file:///runs/1"] = R"({"frames": 7})";
  step();
  plays.back().says = "Run: file:///runs/1\n";
  step();
  end(exit_status(0));
  EXPECT_EQ(find(id).state, RunState::finished);
  EXPECT_EQ(find(id).frames, 7);
}

TEST_F(DispatcherTest, StepsFollowOneAnother) {
  steps = 2;
  const std::string id = add();
  step();
  end(exit_status(0));
  EXPECT_EQ(find(id).step, 1);
  step();
  ASSERT_THAT(plays, SizeIs(2));
  EXPECT_THAT(plays[1].words, ElementsAre("run", id, "1"));
  EXPECT_THAT(ended, IsEmpty());
  end(exit_status(0));
  EXPECT_EQ(find(id).state, RunState::finished);
}

TEST_F(DispatcherTest, APoolHasItsNumberAndOwnersTheirs) {
  setup.pools["local"].max_running = 2;
  create();
  most_running = 1;
  for (int i = 0; i < 3; ++i) add("ann");
  const std::string bob = add("bob");
  step();
  ASSERT_THAT(plays, SizeIs(2));
  EXPECT_EQ(plays[1].words[1], bob);
}

TEST_F(DispatcherTest, PoisonIsSetAsideAndDoesNotBlockTheNext) {
  most_attempts = 2;
  const std::string poison = add("ann"), good = add("bob");
  step();
  end(SIGSEGV, "what it said last\n");
  EXPECT_EQ(find(poison).state, RunState::queued);
  EXPECT_GT(find(poison).not_before, wall.now());
  // While it waits for its next attempt, the other goes on.
  ASSERT_THAT(plays, SizeIs(2));
  EXPECT_EQ(plays[1].words[1], good);
  end(exit_status(0));
  EXPECT_EQ(find(good).state, RunState::finished);
  wall.advance(10'000);
  step();
  ASSERT_THAT(plays, SizeIs(3));
  end(SIGSEGV);
  EXPECT_EQ(find(poison).state, RunState::set_aside);
  EXPECT_THAT(find(poison).reason,
              HasSubstr("2 attempts, the last one: It was killed by signal 11"));
  EXPECT_THAT(ended, ElementsAre(good, poison));
  // An operator releases it.
  ASSERT_TRUE(database
                  ->write([&](Connection& connection) -> Result<void> {
                    EXPECT_TRUE(TRY(retry_run(connection, poison, {}, wall.now())));
                    return {};
                  })
                  .ok());
  step();
  ASSERT_THAT(plays, SizeIs(4));
}

TEST_F(DispatcherTest, ExitCodesDecide) {
  struct Case {
    int status;
    RunState state;
  };
  for (const Case& one :
       {Case{exit_status(2), RunState::failed}, Case{exit_status(3), RunState::set_aside},
        Case{exit_status(4), RunState::queued}, Case{exit_status(1), RunState::queued},
        Case{exit_status(130), RunState::queued}}) {
    const std::string id = add();
    step();
    end(one.status, "atelier: Why it ended.\n");
    EXPECT_EQ(find(id).state, one.state) << one.status;
    EXPECT_EQ(find(id).reason, "Why it ended.");
    const bool is_nobodys = one.status == exit_status(130) || one.status == exit_status(4);
    EXPECT_EQ(find(id).attempts, is_nobodys ? 0 : 1);
    if (!is_over(find(id).state)) {
      ASSERT_TRUE(database
                      ->write([&](Connection& connection) -> Result<void> {
                        TRY(ask_to_cancel(connection, id, wall.now()));
                        return {};
                      })
                      .ok());
    }
    if (dispatcher->running() > 0) end(exit_status(130));
  }
}

// A store that is away for an evening must not empty the queue, as attempts at poison would.
TEST_F(DispatcherTest, WhatCannotBeReachedIsTriedForADayThenFails) {
  most_attempts = 1;
  const std::string id = add();
  const Millis begin = wall.now();
  for (int attempts = 0; !is_over(find(id).state) && attempts < 1000; ++attempts) {
    step();
    end(exit_status(4), "atelier: The store does not answer.\n");
    const RunRow row = find(id);
    EXPECT_EQ(row.attempts, 0);
    if (is_over(row.state)) break;
    EXPECT_EQ(row.reason, "The store does not answer.");
    EXPECT_GE(row.not_before, wall.now() + 60'000);
    EXPECT_LE(row.not_before, wall.now() + 1'800'000);
    wall.advance(row.not_before - wall.now());
  }
  EXPECT_EQ(find(id).state, RunState::failed);
  EXPECT_THAT(find(id).reason, HasSubstr("The store does not answer."));
  EXPECT_GE(wall.now() - begin, Millis{20} * 3600 * 1000);
}

TEST_F(DispatcherTest, AFullDiskIsNotTheRunsFault) {
  most_attempts = 1;
  const std::string id = add();
  for (int i = 0; i < 5; ++i) {
    step();
    end(exit_status(1), "atelier: Cannot write '/runs/x': No space left on device.\n");
    EXPECT_EQ(find(id).state, RunState::queued);
    wall.advance(find(id).not_before - wall.now());
  }
  EXPECT_EQ(find(id).troubles, 5);
  // Any other end of an attempt is one as ever, and a row of troubles is over.
  most_attempts = 2;
  step();
  end(exit_status(1), "atelier: A bug.\n");
  EXPECT_EQ(find(id).attempts, 1);
  EXPECT_EQ(find(id).troubles, 0);
}

TEST_F(DispatcherTest, NothingIsStartedWhileTheServiceIsNotReady) {
  std::string why = "There is 1 MiB left.";
  setup.why_not_ready = [&] { return why; };
  create();
  const std::string id = add();
  step();
  step();
  EXPECT_THAT(plays, IsEmpty());
  EXPECT_EQ(find(id).state, RunState::queued);
  EXPECT_THAT(said, ElementsAre(HasSubstr("There is 1 MiB left.")));
  why.clear();
  step();
  EXPECT_THAT(plays, SizeIs(1));
}

TEST_F(DispatcherTest, WaitingForNodesElsewhereCostsNothing) {
  setup.pools["local"] = {1, 2, 3.6, true};
  std::vector<NodeTime> times;
  std::vector<std::string> asked;
  setup.node_times = [&](const RunRow&, const std::string& url, Millis) {
    asked.push_back(url);
    return Result<std::vector<NodeTime>>(times);
  };
  create();
  const std::string id = add("ann", {}, 1.0);
  step();
  plays[0].says = "Run: file:///runs/1\n";
  step();
  // Two hours in the cluster's queue: at two nodes that would be 14.4.
  for (int i = 0; i < 7200; i += 60) {
    clock.advance(std::chrono::minutes(1));
    wall.advance(60'000);
    plays[0].says = "Waiting.\n";
    step();
  }
  EXPECT_FALSE(plays[0].asked);
  times = {{"a", wall.now(), wall.now() + 100'000},
           {"b", wall.now() + 40'000, wall.now() + 90'000}};
  clock.advance(std::chrono::seconds(100));
  wall.advance(100'000);
  end(exit_status(1), "atelier: It failed.\n");  // failed attempts count their nodes, too
  EXPECT_DOUBLE_EQ(find(id).cost, 0.15);
  EXPECT_EQ(find(id).busy_ms, 7'300'000);
  EXPECT_EQ(number("SELECT sum(end_at - begin_at) FROM pool_time"), 150'000);
}

TEST_F(DispatcherTest, CostIsBoundedFromWhenTheNodesBegan) {
  setup.pools["local"] = {1, 2, 3.6, true};
  std::vector<NodeTime> times;
  setup.node_times = [&](const RunRow&, const std::string&, Millis) {
    return Result<std::vector<NodeTime>>(times);
  };
  create();
  add("ann", {}, 0.3);
  step();
  plays[0].says = "Run: file:///runs/1\n";
  step();
  clock.advance(std::chrono::seconds(500));
  wall.advance(500'000);
  times = {{"a", wall.now() - 100'000, wall.now()}};
  step();
  EXPECT_FALSE(plays[0].asked);
  clock.advance(std::chrono::seconds(51));  // two nodes at most, for 151 s
  step();
  EXPECT_TRUE(plays[0].asked);
}

TEST_F(DispatcherTest, AStoreThatDoesNotAnswerIsAskedForNodesOnceAMinute) {
  setup.pools["local"] = {8, 2, 3.6, true};
  Code code = Code::unavailable;
  int asked = 0;
  setup.node_times = [&](const RunRow&, const std::string&, Millis) {
    ++asked;
    return Result<std::vector<NodeTime>>(make_error(code, "No times."));
  };
  create();
  const auto end_three = [&] {
    const size_t first = plays.size();
    for (int i = 0; i < 3; ++i) add();
    step();
    for (size_t i = first; i < plays.size(); ++i) {
      plays[i].says = "Run: file:///runs/1\n";
      plays[i].status = exit_status(3);
    }
    step();
  };
  end_three();
  EXPECT_EQ(asked, 1);
  clock.advance(std::chrono::seconds(61));
  end_three();
  EXPECT_EQ(asked, 2);
  clock.advance(std::chrono::seconds(61));
  code = Code::corrupt;  // of one run
  end_three();
  EXPECT_EQ(asked, 5);
}

TEST_F(DispatcherTest, AnAttemptThatEndedWithTheServiceCountsToItsLastSignOfLife) {
  const std::string id = add();
  step();
  plays[0].says = "still there\n";
  step();
  const auto log = folder.path() / "logs" / (id + ".log");
  const Millis last = wall.now() + 1'000'000;
  const timespec time{last / 1000, 0};
  const std::array<timespec, 2> both = {time, time};
  ASSERT_EQ(::utimensat(AT_FDCWD, log.c_str(), both.data(), 0), 0);
  wall.advance(9'000'000);  // until somebody starts the service again
  create();
  EXPECT_EQ(find(id).busy_ms, 1'000'000);
  EXPECT_DOUBLE_EQ(find(id).cost, 1.0);
  EXPECT_EQ(number("SELECT sum(end_at - begin_at) FROM pool_time"), 1'000'000);
}

// What a run writes is known from when it begins, and forgotten if it did not write.
TEST_F(DispatcherTest, OutputsAreKnownWhileARunMayWriteAndWhenItDid) {
  setup.output_urls = [this](const std::string& url) {
    // Whoever writes does not wait for the disk: in the writer's thread this would not end.
    EXPECT_TRUE(database->write([](Connection&) -> Result<void> { return {}; }).ok());
    return std::vector<std::string>{url, "file:///real" + url.substr(7)};
  };
  create();
  output = "file:///out/1.mp4";
  const std::string finished = add();
  EXPECT_EQ(number("SELECT count(*) FROM outputs"), 0);
  step();
  EXPECT_EQ(number("SELECT count(*) FROM outputs WHERE state = 'begun'"), 2);
  end(exit_status(0));
  output = "file:///out/2.mp4";
  const std::string refused = add();
  step();
  end(exit_status(3));
  output = "file:///out/3.mp4";
  most_attempts = 1;
  const std::string killed = add();
  step();
  end(SIGKILL);
  EXPECT_EQ(find(killed).state, RunState::set_aside);
  output = "file:///out/4.mp4";
  const std::string failed = add();
  step();
  plays.back().says = "Run: file:///runs/4\n";
  step();
  end(exit_status(1));
  for (const auto& id : {finished, refused, killed, failed}) {
    ASSERT_TRUE(database
                    ->write([&](Connection& connection) -> Result<void> {
                      EXPECT_TRUE(TRY(delete_run(connection, id)));
                      return {};
                    })
                    .ok());
  }
  EXPECT_EQ(number("SELECT count(*) FROM outputs WHERE url LIKE '%/1.mp4'"), 2);
  EXPECT_EQ(number("SELECT count(*) FROM outputs WHERE url LIKE '%/2.mp4'"), 0);
  // Nobody saw whether it had written.
  EXPECT_EQ(number("SELECT count(*) FROM outputs WHERE url LIKE '%/3.mp4'"), 2);
  EXPECT_EQ(number("SELECT count(*) FROM outputs WHERE url LIKE '%/4.mp4' AND state = 'perhaps'"),
            2);
}

TEST_F(DispatcherTest, CancelledRunsLeaveOrAreKilled) {
  const std::string id = add();
  step();
  ASSERT_TRUE(database
                  ->write([&](Connection& connection) -> Result<void> {
                    EXPECT_TRUE(TRY(ask_to_cancel(connection, id, wall.now())));
                    return {};
                  })
                  .ok());
  step();
  EXPECT_TRUE(plays[0].asked);
  EXPECT_FALSE(plays[0].gone);
  clock.advance(setup.patience + std::chrono::seconds(1));
  step();
  EXPECT_TRUE(plays[0].gone);
  EXPECT_EQ(find(id).state, RunState::cancelled);
}

TEST_F(DispatcherTest, TimeAndCostAreBounded) {
  const std::string late = add("ann", 10);
  step();
  clock.advance(std::chrono::seconds(11));
  plays.back().says = "still there\n";
  step();
  EXPECT_TRUE(plays.back().asked);
  end(exit_status(130));
  EXPECT_EQ(find(late).state, RunState::failed);
  EXPECT_THAT(find(late).reason, HasSubstr("longer than it may"));
  const std::string costly = add("ann", {}, 0.5);
  step();
  clock.advance(std::chrono::seconds(501));
  step();
  end(exit_status(130));
  EXPECT_EQ(find(costly).state, RunState::failed);
  EXPECT_THAT(find(costly).reason, HasSubstr("cost more"));
}

TEST_F(DispatcherTest, ASilentProcessIsEndedAndCountsAsAnAttempt) {
  most_attempts = 1;
  const std::string id = add();
  step();
  clock.advance(setup.silence + std::chrono::seconds(1));
  step();
  end(exit_status(130));
  EXPECT_EQ(find(id).state, RunState::set_aside);
  EXPECT_THAT(find(id).reason, HasSubstr("said nothing"));
}

TEST_F(DispatcherTest, AServiceThatDiedFindsItsRunsAgain) {
  const std::string id = add();
  step();
  EXPECT_EQ(find(id).state, RunState::running);
  create();
  EXPECT_EQ(find(id).state, RunState::queued);
  EXPECT_EQ(find(id).attempts, 0);
  step();
  EXPECT_EQ(find(id).state, RunState::running);
}

TEST_F(DispatcherTest, AServiceThatStopsLeavesItsRunsInTheQueue) {
  const std::string id = add();
  step();
  plays[0].status = exit_status(130);
  std::stop_source stop;
  stop.request_stop();
  dispatcher->run(stop.get_token());
  EXPECT_EQ(find(id).state, RunState::queued);
  EXPECT_EQ(find(id).attempts, 0);
  EXPECT_EQ(dispatcher->running(), 0U);
}

TEST_F(DispatcherTest, WhatIsKilledWhileTheServiceStopsIsNobodysFault) {
  most_attempts = 1;
  const std::string id = add();
  step();
  std::stop_source stop;
  stop.request_stop();
  dispatcher->run(stop.get_token());  // the process does not obey
  EXPECT_TRUE(plays[0].gone);
  EXPECT_EQ(find(id).state, RunState::queued);
  EXPECT_EQ(find(id).attempts, 0);
}

TEST_F(DispatcherTest, NamesThatPretendToBeLinesAreNotBelieved) {
  const std::string id = add();
  step();
  plays[0].says = "b\nRun: http://elsewhere/1\n.mp4: 9 frames\nRun: file:///runs/2\n";
  step();
  EXPECT_THAT(find(id).run_urls, ElementsAre("file:///runs/2"));
}

}  // namespace
}  // namespace atelier::server
