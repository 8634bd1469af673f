// SPDX-License-Identifier: Apache-2.0
// Steps on a real folder with a clock that stands still: the kernel's news are there before the
// call that made them returns.
#include "server/triggers/trigger_runner.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <fstream>

#include "server/outputs.h"
#include "server/triggers/receipts_testing.h"
#include "store/counting_store.h"
#include "store/local_store.h"
#include "store/memory_store.h"

namespace atelier::server {
namespace {

namespace fs = std::filesystem;
using std::chrono::minutes;
using std::chrono::seconds;

void write(const fs::path& file, const std::string& bytes = "bytes") {
  std::ofstream(file) << bytes;
}

struct TriggerRunnerTest : ::testing::Test {
  TestFolder folder;
  fs::path in = folder.path() / "in";
  fs::path outside = folder.path() / "outside";
  std::unique_ptr<Database> database = open_database(folder.path() / "a.db");
  FakeWallClock wall;
  FakeClock clock;
  bool queue_is_full = false;
  Receipts receipts{
      *database, wall, at_once([this](Connection& connection, const TriggeredRun& run) {
        if (queue_is_full) {
          return Result<std::string>(Error{Code::unavailable, "The queue is full.", seconds(3)});
        }
        return submit_row(connection, run);
      })};
  int opened = 0;
  OpenPlace open = [this](const Location& place) {
    ++opened;
    return open_local_store(place.path);
  };

  void SetUp() override {
    fs::create_directories(in);
    fs::create_directories(outside);
  }
  Trigger trigger(const std::string& kind = "watch") const {
    return trigger_of("name='t'\nkind='" + kind + "'\nlocation='" + in.string() +
                      "'\npipeline='p'\n[parameters]\ninput='{url}'\n");
  }
  TriggerRunner runner(Trigger of) {
    return TriggerRunner(std::move(of), open, receipts, clock, wall);
  }
  int64_t runs() { return number_of(*database, "SELECT count(*) FROM runs"); }
  void move_in(const std::string& name, const std::string& bytes = "bytes") {
    write(outside / "x", bytes);
    fs::rename(outside / "x", in / name);
  }
};

TEST_F(TriggerRunnerTest, AFileThatIsRenamedIntoTheFolderStartsAtOnce) {
  TriggerRunner runner = this->runner(trigger());
  runner.step(always);
  EXPECT_GE(runner.watch_fd(), 0);
  EXPECT_EQ(runner.next_due(), clock.now() + seconds(60));
  move_in("a.mp4");
  runner.step(always);
  EXPECT_EQ(runs(), 1);
  // The same content at another time of modification, and another content.
  move_in("a.mp4");
  runner.step(always);
  EXPECT_EQ(runs(), 2);
  runner.step(always);
  EXPECT_EQ(runs(), 2);
}

TEST_F(TriggerRunnerTest, AFileThatIsWrittenSettlesFirst) {
  TriggerRunner runner = this->runner(trigger());
  runner.step(always);
  write(in / "a.mp4");
  runner.step(always);
  EXPECT_EQ(runs(), 0);
  EXPECT_EQ(runner.state().settling, 1);
  EXPECT_EQ(runner.next_due(), clock.now() + seconds(5));
  clock.advance(seconds(3));
  std::ofstream(in / "a.mp4", std::ios::app) << "more";
  runner.step(always);
  clock.advance(seconds(3));
  runner.step(always);
  EXPECT_EQ(runs(), 0);
  clock.advance(seconds(2));
  runner.step(always);
  EXPECT_EQ(runs(), 1);
}

TEST_F(TriggerRunnerTest, WhatWasThereBeforeIsFound) {
  fs::create_directories(in / "sub");
  write(in / "sub" / "a.mp4");
  TriggerRunner runner = this->runner(trigger());
  runner.step(always);
  clock.advance(seconds(5));
  runner.step(always);
  EXPECT_EQ(runs(), 1);
}

TEST_F(TriggerRunnerTest, AFileInANewFolderAndAHardLinkAreFound) {
  TriggerRunner runner = this->runner(trigger());
  runner.step(always);
  fs::create_directories(in / "new" / "deep");
  write(in / "new" / "deep" / "a.mp4");
  write(outside / "b");
  fs::create_hard_link(outside / "b", in / "b.mp4");
  runner.step(always);
  clock.advance(seconds(5));
  runner.step(always);
  EXPECT_EQ(runs(), 2);
}

TEST_F(TriggerRunnerTest, MoreNewsThanTheKernelKeepsLoseNothing) {
  constexpr int kFiles = 20'000;
  Trigger unsettled = trigger();
  unsettled.settle = seconds(0);
  unsettled.min_bytes = 0;
  TriggerRunner runner = this->runner(unsettled);
  runner.step(always);
  for (int i = 0; i < kFiles; ++i) {
    const Fd made(::creat((in / fmt::format("{:05}.mp4", i)).c_str(), 0600));
    ASSERT_TRUE(made);
  }
  // Once for the news that there are, once for the word that some were lost.
  for (int i = 0; i < 3; ++i) runner.step(always);
  EXPECT_EQ(runs(), kFiles);
}

TEST_F(TriggerRunnerTest, AtelierUnfinishedAndHiddenFilesStartNothing) {
  TriggerRunner runner = this->runner(trigger());
  runner.step(always);
  move_in(".atelier-tmp-1234");
  move_in(".hidden.mp4");
  runner.step(always);
  clock.advance(minutes(2));
  runner.step(always);
  EXPECT_EQ(runs(), 0);
}

TEST_F(TriggerRunnerTest, AnOutputInTheWatchedFolderStartsNothing) {
  TriggerRunner runner = this->runner(trigger());
  runner.step(always);
  move_in("a.mp4");
  runner.step(always);
  ASSERT_TRUE(database
                  ->write([&](Connection& connection) -> Result<void> {
                    return note_outputs(connection, "run-1", "",
                                        {"file://" + in.string() + "/a-painted.mp4"});
                  })
                  .ok());
  // As the local store puts it.
  const auto store = open_local_store(in);
  const std::vector<std::byte> bytes(10);
  ASSERT_TRUE((*store)->put("a-painted.mp4", bytes, Condition::if_absent()).ok());
  runner.step(always);
  clock.advance(minutes(2));
  runner.step(always);
  EXPECT_EQ(runs(), 1);
  EXPECT_EQ(receipts.counts("t")->ignored, 1);
}

TEST_F(TriggerRunnerTest, AFolderThatIsNotThereIsSaidAndWaitedFor) {
  fs::remove_all(in);
  TriggerRunner runner = this->runner(trigger());
  runner.step(always);
  EXPECT_NE(runner.state().last_error.find("cannot be watched"), std::string::npos);
  EXPECT_EQ(runner.state().last_error_at, wall.now());
  EXPECT_EQ(runner.next_due(), clock.now() + seconds(1));
  fs::create_directories(in);
  clock.advance(seconds(1));
  runner.step(always);
  EXPECT_EQ(runner.state().last_error, "");
  move_in("a.mp4");
  runner.step(always);
  EXPECT_EQ(runs(), 1);
  // And when it goes.
  fs::remove_all(in);
  runner.step(always);
  EXPECT_NE(runner.state().last_error.find("is gone"), std::string::npos);
  fs::create_directories(in);
  move_in("b.mp4");
  clock.advance(seconds(1));
  runner.step(always);
  clock.advance(seconds(5));
  runner.step(always);
  EXPECT_EQ(runs(), 2);
}

TEST_F(TriggerRunnerTest, AFullQueueIsAskedAgainLater) {
  TriggerRunner runner = this->runner(trigger());
  runner.step(always);
  queue_is_full = true;
  move_in("a.mp4");
  runner.step(always);
  EXPECT_EQ(runs(), 0);
  EXPECT_EQ(runner.state().last_error, "The queue is full.");
  EXPECT_EQ(runner.next_due(), clock.now() + seconds(3));
  queue_is_full = false;
  runner.ask_to_start();
  runner.step(always);
  EXPECT_EQ(runs(), 0);
  clock.advance(seconds(3));
  runner.step(always);
  EXPECT_EQ(runs(), 1);
  EXPECT_EQ(runner.state().last_error, "");
}

TEST_F(TriggerRunnerTest, WhatWasSeenBeforeARestartStarts) {
  queue_is_full = true;
  {
    TriggerRunner runner = this->runner(trigger());
    runner.step(always);
    move_in("a.mp4");
    runner.step(always);
  }
  queue_is_full = false;
  TriggerRunner runner = this->runner(trigger("event"));
  runner.step(always);
  EXPECT_EQ(runs(), 1);
}

TEST_F(TriggerRunnerTest, APollListsWhenItIsTime) {
  Trigger poll = trigger("poll");
  poll.settle = seconds(0);
  TriggerRunner runner = this->runner(poll);
  runner.step(always);
  EXPECT_EQ(runner.watch_fd(), -1);
  EXPECT_EQ(runner.next_due(), clock.now() + seconds(30));
  move_in("a.mp4");
  clock.advance(seconds(29));
  runner.step(always);
  EXPECT_EQ(runs(), 0);
  clock.advance(seconds(1));
  wall.advance(30'000);
  runner.step(always);
  EXPECT_EQ(runs(), 1);
  EXPECT_EQ(runner.state().listed, 1);
  EXPECT_EQ(runner.state().last_scan, wall.now());
}

TEST_F(TriggerRunnerTest, APollOfObjectsListsAgainWhenTheySettle) {
  const auto memory = make_memory_store();
  open = [&](const Location&) {
    return Result<std::unique_ptr<ObjectStore>>(std::make_unique<CountingStore>(*memory));
  };
  Trigger poll = trigger("poll");
  poll.location = *parse_location("s3://b/in");
  poll.settle = seconds(5);
  TriggerRunner runner = this->runner(poll);
  const std::vector<std::byte> bytes(10);
  ASSERT_TRUE(memory->put("a.mp4", bytes, Condition::always()).ok());
  runner.step(always);
  EXPECT_EQ(runner.next_due(), clock.now() + seconds(5));
  clock.advance(seconds(5));
  runner.step(always);
  EXPECT_EQ(runs(), 1);
}

TEST_F(TriggerRunnerTest, AnUnreachableStoreIsAskedEverMoreSeldom) {
  int fails = 12;
  open = [&](const Location& place) -> Result<std::unique_ptr<ObjectStore>> {
    if (fails-- > 0) return Error{Code::unavailable, "The store is away."};
    return open_local_store(place.path);
  };
  write(in / "a.mp4");
  Trigger poll = trigger("poll");
  poll.settle = seconds(0);
  TriggerRunner runner = this->runner(poll);
  Clock::Duration waited{};
  std::vector<Clock::Duration> waits;
  while (fails > 0) {
    runner.step(always);
    EXPECT_EQ(runner.state().last_error, "The store is away.");
    waits.push_back(runner.next_due() - clock.now());
    clock.advance(waits.back());
    waited += waits.back();
  }
  EXPECT_EQ(waits.front(), seconds(1));
  EXPECT_EQ(waits.at(1), seconds(2));
  EXPECT_EQ(waits.back(), minutes(5));
  runner.step(always);
  EXPECT_EQ(runner.state().last_error, "");
  EXPECT_EQ(runs(), 1);
  EXPECT_EQ(runner.next_due(), clock.now() + seconds(30));
}

TEST_F(TriggerRunnerTest, AnEventTriggerListsOnlyIfAsked) {
  write(in / "a.mp4");
  TriggerRunner silent = runner(trigger("event"));
  silent.step(always);
  EXPECT_EQ(opened, 0);
  EXPECT_EQ(silent.next_due(), TriggerRunner::kNever);
  Trigger safe = trigger("event");
  safe.every = minutes(10);
  safe.settle = seconds(0);
  TriggerRunner runner = this->runner(safe);
  runner.step(always);
  EXPECT_EQ(runs(), 1);
  EXPECT_EQ(runner.next_due(), clock.now() + minutes(10));
}

}  // namespace
}  // namespace atelier::server
