// SPDX-License-Identifier: Apache-2.0
#include "server/triggers/receipts.h"

#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "server/outputs.h"
#include "server/triggers/receipts_testing.h"

namespace atelier::server {
namespace {

struct ReceiptsTest : ::testing::Test {
  TestFolder folder;
  std::unique_ptr<Database> database = open_database(folder.path() / "a.db");
  FakeWallClock clock;
  Receipts receipts{*database, clock, at_once(submit_row)};
  Trigger trigger = trigger_of(R"(
    name='t'
    kind='poll'
    location='s3://b/in'
    suffix='.mp4'
    pipeline='p'
    owner='o'
    [parameters]
    input='{url}'
    output='s3://b/in/out/{stem}.mp4'
  )");

  Blob blob(const std::string& path, const std::string& etag = "e1") const {
    return Blob{place_below(trigger, path), path, 10, etag, {}};
  }
  int64_t record(const std::vector<Blob>& blobs) {
    const Result<int64_t> added = receipts.record_seen(trigger, blobs);
    EXPECT_TRUE(added.ok()) << added.error().message;
    return added.ok() ? *added : -1;
  }
  Started start(Receipts& from) {
    Result<Started> started = from.start_due(trigger, always);
    EXPECT_TRUE(started.ok()) << started.error().message;
    return started.ok() ? *started : Started{};
  }
  Started start() { return start(receipts); }
  Receipt only() {
    const auto listed = receipts.list("t", "", "", "", 10);
    EXPECT_TRUE(listed.ok());
    EXPECT_EQ(listed->size(), 1U);
    return listed->empty() ? Receipt{} : listed->at(0);
  }
  // A run begins that writes there.
  void note(const std::string& run_id, const std::string& url) {
    EXPECT_TRUE(database
                    ->write([&](Connection& connection) {
                      return note_outputs(connection, run_id, "", {url});
                    })
                    .ok());
  }
  int64_t runs() { return number_of(*database, "SELECT count(*) FROM runs"); }
};

TEST_F(ReceiptsTest, ABlobStartsOneRunHoweverOftenItIsSeen) {
  EXPECT_EQ(record({blob("a.mp4"), blob("a.mp4")}), 1);
  EXPECT_EQ(record({blob("a.mp4")}), 0);
  EXPECT_EQ(start().submitted, 1);
  EXPECT_EQ(record({blob("a.mp4")}), 0);
  EXPECT_EQ(start().submitted, 0);
  EXPECT_EQ(runs(), 1);
  EXPECT_EQ(only(), (Receipt{"s3://b/in/a.mp4", "e1", clock.now(), "submitted", "run-1", ""}));
  EXPECT_EQ(number_of(*database, "SELECT bytes FROM runs"), 10);
}

TEST_F(ReceiptsTest, NewContentStartsAgainWhateverTheOrder) {
  record({blob("a.mp4", "e2")});
  start();
  record({blob("a.mp4", "e1")});
  record({blob("a.mp4", "e2")});
  EXPECT_EQ(start().submitted, 1);
  EXPECT_EQ(runs(), 2);
}

TEST_F(ReceiptsTest, TriggersDoNotShareReceipts) {
  record({blob("a.mp4")});
  start();
  trigger.name = "u";
  EXPECT_EQ(record({blob("a.mp4")}), 1);
  EXPECT_EQ(start().submitted, 1);
}

TEST_F(ReceiptsTest, WhatIsUnknownIsTold) {
  record({blob("a.mp4")});
  const auto unknown =
      receipts.unknown(trigger, {blob("a.mp4"), blob("a.mp4", "e2"), blob("b.mp4")});
  ASSERT_TRUE(unknown.ok());
  ASSERT_EQ(unknown->size(), 2U);
  EXPECT_EQ(unknown->at(0).etag, "e2");
  EXPECT_EQ(unknown->at(1).path, "b.mp4");
}

TEST_F(ReceiptsTest, WhatIsRefusedIsIgnoredWithItsReason) {
  Receipts refusing(*database, clock, at_once([](Connection& connection, const TriggeredRun& run) {
    (void)submit_row(connection, run);  // is undone
    return Result<std::string>(Error{Code::invalid_argument, "The width is odd."});
  }));
  record({blob("a.mp4")});
  EXPECT_EQ(start(refusing).ignored, 1);
  EXPECT_EQ(only().state, "ignored");
  EXPECT_EQ(only().reason, "The width is odd.");
  EXPECT_EQ(runs(), 0);
  record({blob("a.mp4")});
  EXPECT_EQ(start().submitted, 0);
  record({blob("a.mp4", "e2")});
  EXPECT_EQ(start().submitted, 1);
}

TEST_F(ReceiptsTest, WhatWasIgnoredByMistakeIsTriedAgainWhenAsked) {
  Receipts refusing(*database, clock, [](const TriggeredRun&) -> Result<AddRun> {
    return Error{Code::invalid_argument, "There is no parameter 'width'."};
  });
  record({blob("a.mp4"), blob("b.mp4"), blob("c.mp4")});
  EXPECT_EQ(start(refusing).ignored, 3);
  RetriedPage page;
  const auto retry = [&](const std::string& trigger_name, const std::string& url,
                         const RetriedPage& after = {}, int64_t most = 100) {
    EXPECT_TRUE(database
                    ->write([&](Connection& connection) -> Result<void> {
                      page = TRY(retry_ignored(connection, trigger_name, url, after, most));
                      return {};
                    })
                    .ok());
    return page.retried;
  };
  // By pages, and although each is ignored again at once.
  EXPECT_EQ(retry("t", "", {}, 2), 2);
  EXPECT_EQ(start(refusing).ignored, 2);
  EXPECT_EQ(retry("t", "", page, 2), 1);
  EXPECT_EQ(start(refusing).ignored, 1);
  EXPECT_EQ(retry("other", ""), 0);
  EXPECT_EQ(retry("t", "s3://b/in/b.mp4"), 1);
  EXPECT_EQ(start().submitted, 1);
  EXPECT_EQ(retry("t", ""), 2) << "what started does not start again";
  EXPECT_EQ(start().submitted, 2);
  EXPECT_EQ(runs(), 3);
}

TEST_F(ReceiptsTest, WhatCannotBeMappedIsIgnored) {
  trigger = trigger_of(
      "name='t'\nkind='poll'\nlocation='s3://b/in'\npipeline='p'\n[parameters]\n"
      "x='{meta.style}'");
  record({blob("a.mp4")});
  EXPECT_EQ(start().ignored, 1);
  EXPECT_NE(only().reason.find("no metadata 'style'"), std::string::npos) << only().reason;
}

TEST_F(ReceiptsTest, MetadataAndSizeAreKeptUntilItStarts) {
  trigger = trigger_of(
      "name='t'\nkind='poll'\nlocation='s3://b/in'\npipeline='p'\n[parameters]\n"
      "x='{meta.style}'");
  Blob with = blob("a.mp4");
  with.metadata = {{"style", "monet"}, {"odd", "\xff"}};
  record({with});
  EXPECT_EQ(start().submitted, 1);
  EXPECT_EQ(
      number_of(*database, "SELECT count(*) FROM runs WHERE parameters = '{\"x\":\"monet\"}'"), 1);
}

TEST_F(ReceiptsTest, AFullQueueLetsThemWait) {
  int64_t room = 2;
  Receipts bounded(*database, clock, at_once([&](Connection& connection, const TriggeredRun& run) {
    const auto queued = connection.integer("SELECT count(*) FROM runs");
    if (**queued >= room) {
      Error full = make_error(Code::unavailable, "The queue is full.");
      full.retry_after = std::chrono::seconds(7);
      return Result<std::string>(full);
    }
    return submit_row(connection, run);
  }));
  record({blob("a.mp4"), blob("b.mp4"), blob("c.mp4"), blob("d.mp4")});
  Started started = start(bounded);
  EXPECT_EQ(started.submitted, 2);
  ASSERT_TRUE(started.waits);
  EXPECT_EQ(started.waits->retry_after, std::chrono::seconds(7));
  EXPECT_EQ(receipts.counts("t")->seen, 2);
  room = 10;
  started = start(bounded);
  EXPECT_EQ(started.submitted, 2);
  EXPECT_FALSE(started.waits);
}

TEST_F(ReceiptsTest, OneThatBreaksDoesNotBlockTheOthers) {
  Receipts breaking(*database, clock, at_once([](Connection& connection, const TriggeredRun& run) {
    if (run.input.ends_with("0.mp4")) {
      return Result<std::string>(Error{Code::internal, "A bug."});
    }
    return submit_row(connection, run);
  }));
  std::vector<Blob> blobs;
  // More that break than one transaction takes, before any that does not.
  for (int i = 0; i < 450; ++i) blobs.push_back(blob(fmt::format("a{:03}0.mp4", i)));
  blobs.push_back(blob("z1.mp4"));
  record(blobs);
  const Started started = start(breaking);
  EXPECT_EQ(started.submitted, 1);
  ASSERT_TRUE(started.waits);
  EXPECT_EQ(started.waits->message, "A bug.");
  EXPECT_EQ(receipts.counts("t")->seen, 450);
}

TEST_F(ReceiptsTest, WhatCannotBeAskedOfOneBlobDoesNotBlockTheOthers) {
  Receipts breaking(*database, clock, at_once([](Connection& connection, const TriggeredRun& run) {
    if (run.input.ends_with("a.mp4")) {
      return Result<std::string>(Error{Code::unavailable, "The disk does not answer."});
    }
    return submit_row(connection, run);
  }));
  record({blob("a.mp4"), blob("b.mp4")});
  const Started started = start(breaking);
  EXPECT_EQ(started.submitted, 1);
  ASSERT_TRUE(started.waits);
  EXPECT_EQ(receipts.counts("t")->seen, 1);
}

TEST_F(ReceiptsTest, AFullDiskEndsThePassAndLosesNothing) {
  Receipts breaking(*database, clock, at_once([](Connection&, const TriggeredRun&) {
    return Result<std::string>(Error{Code::no_space, "The disk is full."});
  }));
  record({blob("a.mp4")});
  const auto started = breaking.start_due(trigger, always);
  ASSERT_FALSE(started.ok());
  EXPECT_EQ(started.error().code, Code::no_space);
  EXPECT_EQ(start().submitted, 1);
}

TEST_F(ReceiptsTest, OutputsNeverTrigger) {
  record({blob("a.mp4")});
  start();
  note("run-1", "s3://b/in/out/a.mp4");
  note("r2", "s3://b/in/f/%2504d.mp4");
  record({blob("out/a.mp4", "o1"), blob("f/0012.mp4", "o2"), blob("f/012.mp4", "o3")});
  const Started started = start();
  EXPECT_EQ(started.ignored, 2);
  EXPECT_EQ(started.submitted, 1);
  const auto ignored = receipts.list("t", "ignored", "", "", 10);
  ASSERT_EQ(ignored->size(), 2U);
  EXPECT_EQ(ignored->at(0).reason, "It is the output of the run r2.");
  // Also not when it was written anew, nor when that run was forgotten.
  ASSERT_TRUE(database
                  ->write([](Connection& connection) -> Result<void> {
                    TRY(keep_outputs(connection, "run-1", true));
                    TRY(forget_outputs(connection, "run-1"));
                    TRY(connection.run("DELETE FROM runs"));
                    return {};
                  })
                  .ok());
  record({blob("out/a.mp4", "o4")});
  EXPECT_EQ(start().submitted, 0);
}

TEST_F(ReceiptsTest, WhatARunDidNotWriteIsNoOutput) {
  note("run-1", "s3://b/in/out/a.mp4");
  ASSERT_TRUE(
      database->write([](Connection& connection) { return forget_outputs(connection, "run-1"); })
          .ok());
  record({blob("out/a.mp4")});
  EXPECT_EQ(start().submitted, 1);
}

// Otherwise each output would start the next run, without end.
TEST_F(ReceiptsTest, AnOutputIsOneBehindALinkToo) {
  const auto root = std::filesystem::canonical(folder.path());
  std::filesystem::create_directory(root / "out");
  std::filesystem::create_directory_symlink(root / "out", root / "watched");
  std::ofstream(root / "out/a.mp4") << "painted";
  std::ofstream(root / "out/b.mp4") << "new";
  trigger.location = *parse_location((root / "watched").native());
  note("run-1", parse_location((root / "out/a.mp4").native())->url());
  record({blob("a.mp4"), blob("b.mp4")});
  const Started started = start();
  EXPECT_EQ(started.ignored, 1);
  EXPECT_EQ(started.submitted, 1);
  // And the other way round: the run wrote through the link.
  trigger =
      trigger_of("name='u'\nkind='poll'\nlocation='" + (root / "out").native() + "'\npipeline='p'");
  const std::string written = parse_location((root / "watched/b.mp4").native())->url();
  for (const std::string& url : known_urls(written, &resolve_links)) note("run-2", url);
  record({blob("b.mp4")});
  EXPECT_EQ(start().ignored, 1);
}

TEST_F(ReceiptsTest, WhileABlobIsLookedAtOthersWrite) {
  trigger.location = *parse_location(folder.path().native());
  int looks = 0;
  const auto write = [&] {
    ++looks;
    // In the writer's thread this would wait for itself.
    const Result<void> done = database->write([](Connection& connection) -> Result<void> {
      TRY(connection.run("UPDATE runs SET priority = 0"));
      return {};
    });
    EXPECT_TRUE(done.ok());
  };
  const PrepareRun add = at_once(submit_row);
  Receipts looking(
      *database, clock,
      [&](const TriggeredRun& run) {
        write();
        return add(run);
      },
      [&](const std::filesystem::path& path) {
        write();
        return resolve_links(path);
      });
  record({blob("a.mp4")});
  EXPECT_EQ(start(looking).submitted, 1);
  EXPECT_GE(looks, 2);
}

TEST_F(ReceiptsTest, WhatATriggerAsksForComesWithTheRun) {
  trigger = trigger_of(
      "name='t'\nkind='poll'\nlocation='s3://b/in'\npipeline='p'\npool='nights'\npriority=7");
  Trigger::Asks asked;
  Receipts seeing(*database, clock, at_once([&](Connection& connection, const TriggeredRun& run) {
    asked = run.asks;
    return submit_row(connection, run);
  }));
  record({blob("a.mp4")});
  start(seeing);
  EXPECT_EQ(asked, trigger.asks);
  EXPECT_EQ(asked.pool, "nights");
  EXPECT_EQ(asked.priority, 7);
}

TEST_F(ReceiptsTest, WhatAChangedTriggerDoesNotWantIsIgnored) {
  record({blob("a.mp4"), blob("sub/b.mp4"), blob("c.mp4")});
  trigger.location = *parse_location("s3://b/in/sub");
  EXPECT_EQ(start().submitted, 1);
  EXPECT_EQ(receipts.counts("t")->ignored, 2);
}

TEST_F(ReceiptsTest, ManyAtOnceAreStartedInOrderAndOnce) {
  for (int round = 0; round < 3; ++round) {
    std::vector<Blob> blobs;
    for (int i = 0; i < 600; ++i) blobs.push_back(blob(fmt::format("{:03}-{}.mp4", i, 2 - round)));
    record(blobs);
    clock.advance(10);
  }
  std::vector<std::jthread> threads;
  std::atomic<int64_t> submitted = 0;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] { submitted += start().submitted; });
  }
  threads.clear();
  EXPECT_EQ(submitted, 1800);
  EXPECT_EQ(runs(), 1800);
  EXPECT_EQ(
      number_of(*database, "SELECT count(*) FROM runs WHERE seq <= 600 AND input LIKE '%-2.mp4'"),
      600);
}

TEST_F(ReceiptsTest, WhoIsToldToStopStops) {
  record({blob("a.mp4")});
  const auto started = receipts.start_due(trigger, [] { return false; });
  ASSERT_TRUE(started.ok());
  EXPECT_EQ(started->submitted, 0);
}

TEST_F(ReceiptsTest, ListsArePaged) {
  record({blob("a.mp4"), blob("b.mp4", "e1"), blob("b.mp4", "e2")});
  const auto first = receipts.list("t", "", "", "", 2);
  ASSERT_EQ(first->size(), 2U);
  const auto second = receipts.list("t", "", first->at(1).url, first->at(1).etag, 2);
  ASSERT_EQ(second->size(), 1U);
  EXPECT_EQ(second->at(0).etag, "e2");
}

}  // namespace
}  // namespace atelier::server
