// SPDX-License-Identifier: Apache-2.0
#include "server/run_folders.h"

#include <gtest/gtest.h>

#include "run/ledger.h"
#include "store/memory_store.h"

namespace atelier::server {
namespace {

struct NodeTimesTest : ::testing::Test {
  std::unique_ptr<ObjectStore> store = make_memory_store();
  RunFolders folders{*store};
  FakeClock clock;
  const std::string url = store->url("ab12");

  // A worker that beats for the last time after so many seconds.
  void work(const std::string& name, const std::string& boot, int seconds) {
    run::Ledger::Setup setup;
    setup.run_id = "ab12";
    setup.worker = name;
    setup.chunks = 1;
    setup.origin = {"", boot, "", 1, 1};
    run::Ledger ledger(*store, clock, setup);
    clock.advance(std::chrono::seconds(seconds));
    EXPECT_TRUE(ledger.beat(1, true).ok());
  }
  std::vector<NodeTime> times(Millis since, bool of_machines) {
    auto found = folders.node_times(url, since, of_machines);
    EXPECT_TRUE(found.ok());
    return found.ok() ? std::move(found).value() : std::vector<NodeTime>();
  }
  static Millis now() {
    return std::chrono::floor<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
};

TEST_F(NodeTimesTest, ANodeWorksFromItsWorkersStartToItsLastBeat) {
  EXPECT_TRUE(times(0, false).empty());
  work("job", "0", 1000);  // waits for them, and is no node
  EXPECT_TRUE(times(0, false).empty());
  work("job.a", "1", 100);
  work("job.b", "2", 40);
  const auto found = times(0, false);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].node, "job.a");
  EXPECT_EQ(found[0].end - found[0].begin, 100'000);
  EXPECT_EQ(found[1].end - found[1].begin, 40'000);
  EXPECT_LE(found[1].end, now());
  // Those of an earlier attempt are not this one's.
  EXPECT_TRUE(times(now() + 1000, false).empty());
  EXPECT_TRUE(folders.node_times("file:///elsewhere/ab12", 0, false)->empty());
}

TEST_F(NodeTimesTest, WorkersOfOneMachineAreOneNode) {
  work("job.a", "1", 100);
  work("job.b", "1", 40);
  work("job.c", "2", 10);
  const auto found = times(0, true);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_GE(found[0].end - found[0].begin, 100'000);
  EXPECT_EQ(found[1].end - found[1].begin, 10'000);
}

TEST(NodeTimes, OnlyWhatLiesWithinAnAttemptCounts) {
  const std::vector<NodeTime> all = {{"a", 0, 50}, {"b", 90, 200}, {"c", 300, 400}};
  EXPECT_EQ(within(all, 10, 100), (std::vector<NodeTime>{{"a", 10, 50}, {"b", 90, 100}}));
  EXPECT_EQ(all_of(2, 5, 9), (std::vector<NodeTime>{{"0", 5, 9}, {"1", 5, 9}}));
  EXPECT_TRUE(all_of(2, 9, 9).empty());
  EXPECT_DOUBLE_EQ(cost_of({{"a", 0, 1'800'000}, {"b", 0, 3'600'000}}, 2.0), 3.0);
}

}  // namespace
}  // namespace atelier::server
