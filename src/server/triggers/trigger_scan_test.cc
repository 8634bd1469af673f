// SPDX-License-Identifier: Apache-2.0
#include "server/triggers/trigger_scan.h"

#include <gtest/gtest.h>

#include "server/triggers/receipts_testing.h"
#include "store/counting_store.h"
#include "store/faulty_store.h"
#include "store/memory_store.h"

namespace atelier::server {
namespace {

using std::chrono::seconds;

struct TriggerScanTest : ::testing::Test {
  TestFolder folder;
  std::unique_ptr<Database> database = open_database(folder.path() / "a.db");
  FakeWallClock wall;
  FakeClock clock;
  Receipts receipts{*database, wall, at_once(submit_row)};
  std::unique_ptr<ObjectStore> memory = make_memory_store();
  CountingStore store{*memory};
  Trigger trigger = trigger_of(R"(
    name='t'
    kind='poll'
    location='s3://b/in'
    suffix='.mp4'
    pipeline='p'
  )");

  std::string put(const std::string& key, size_t size = 4) {
    const std::vector<std::byte> bytes(size);
    const auto written = memory->put(key, bytes, Condition::always());
    EXPECT_TRUE(written.ok());
    return written->etag;
  }
  static int64_t value(const Result<int64_t>& result) {
    EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
    return result.ok() ? *result : -1;
  }
};

TEST_F(TriggerScanTest, WhatTheFiltersWantIsRecordedOnce) {
  put("a.mp4");
  put("sub/b.MP4");
  put("c.txt");
  put(".hidden.mp4");
  put("empty.mp4", 0);
  TriggerScan scan(trigger, store, receipts, clock);
  EXPECT_EQ(value(scan.scan(always)), 2);
  EXPECT_EQ(scan.listed(), 2);
  EXPECT_EQ(value(scan.scan(always)), 0);
  EXPECT_EQ(scan.settling(), 0U);
  put("a.mp4");
  EXPECT_EQ(value(scan.scan(always)), 1);
  EXPECT_EQ(store.counts().of(StoreVerb::head), 0U);
}

TEST_F(TriggerScanTest, PrefixesNarrowTheList) {
  put("x/a.mp4");
  put("y/b.mp4");
  trigger.prefix = "x/";
  TriggerScan scan(trigger, store, receipts, clock);
  EXPECT_EQ(value(scan.scan(always)), 1);
}

TEST_F(TriggerScanTest, AListOfManyPagesIsReadToItsEnd) {
  constexpr int kObjects = 12'000;
  for (int i = 0; i < kObjects; ++i) put(fmt::format("{:05}.mp4", i), 1);
  TriggerScan scan(trigger, store, receipts, clock);
  EXPECT_EQ(value(scan.scan(always)), kObjects);
  EXPECT_EQ(store.counts().of(StoreVerb::list), 3U);
  int asked = 0;
  EXPECT_EQ(value(scan.scan([&] { return ++asked < 2; })), 0);
  EXPECT_EQ(store.counts().of(StoreVerb::list), 4U);
}

TEST_F(TriggerScanTest, AFileThatGrowsSettlesFirst) {
  trigger.settle = seconds(5);
  TriggerScan scan(trigger, store, receipts, clock);
  put("a.mp4", 10);
  EXPECT_EQ(value(scan.scan(always)), 0);
  EXPECT_EQ(scan.next_settled(), clock.now() + seconds(5));
  clock.advance(seconds(4));
  EXPECT_EQ(value(scan.scan(always)), 0);
  put("a.mp4", 20);
  clock.advance(seconds(4));
  EXPECT_EQ(value(scan.scan(always)), 0);
  clock.advance(seconds(4));
  EXPECT_EQ(value(scan.look_at_settled()), 0);
  EXPECT_EQ(scan.settling(), 1U);
  clock.advance(seconds(1));
  EXPECT_EQ(value(scan.look_at_settled()), 1);
  EXPECT_EQ(scan.settling(), 0U);
  EXPECT_FALSE(scan.next_settled());
  EXPECT_EQ(number_of(*database, "SELECT detail = '{\"bytes\":20}' FROM receipts"), 1);
}

TEST_F(TriggerScanTest, WhatGoesWhileItSettlesIsForgotten) {
  trigger.settle = seconds(5);
  TriggerScan scan(trigger, store, receipts, clock);
  put("a.mp4");
  put("b.mp4");
  put("c.mp4");
  (void)scan.scan(always);
  ASSERT_TRUE(memory->remove("a.mp4").ok());
  ASSERT_TRUE(memory->remove("b.mp4").ok());
  put("c.mp4", 0);  // emptied
  EXPECT_EQ(value(scan.look({"a.mp4", "c.mp4"}, false)), 0);
  EXPECT_EQ(scan.settling(), 1U);
  EXPECT_EQ(value(scan.scan(always)), 0);
  EXPECT_EQ(scan.settling(), 0U);
}

// Otherwise it would be due for ever.
TEST_F(TriggerScanTest, WhatIsKnownMeanwhileDoesNotSettleOn) {
  trigger.settle = seconds(5);
  TriggerScan scan(trigger, store, receipts, clock);
  put("a.mp4");
  (void)scan.scan(always);
  EXPECT_EQ(value(scan.look({"a.mp4"}, true)), 1);
  EXPECT_EQ(scan.settling(), 0U);
  put("a.mp4");
  (void)scan.scan(always);
  EXPECT_EQ(scan.settling(), 1U);
  TriggerScan other(trigger, store, receipts, clock);
  EXPECT_EQ(value(other.look({"a.mp4"}, true)), 1);
  clock.advance(seconds(6));
  EXPECT_EQ(value(scan.look_at_settled()), 0);
  EXPECT_FALSE(scan.next_settled());
}

TEST_F(TriggerScanTest, ALookAsksOnlyForWhatTheFiltersWant) {
  put("a.mp4");
  put("a.txt");
  TriggerScan scan(trigger, store, receipts, clock);
  EXPECT_EQ(value(scan.look({"a.mp4", "a.txt", "absent.mp4", "../x.mp4", ".a.mp4"}, true)), 1);
  EXPECT_EQ(store.counts().of(StoreVerb::head), 2U);
}

TEST_F(TriggerScanTest, MetadataIsAskedForWhereItIsUsed) {
  trigger = trigger_of(
      "name='t'\nkind='poll'\nlocation='s3://b/in'\npipeline='p'\n[parameters]\n"
      "x='{meta.style}'");
  put("a.mp4");
  put("b.mp4");
  TriggerScan scan(trigger, store, receipts, clock);
  EXPECT_EQ(value(scan.scan(always)), 2);
  EXPECT_EQ(store.counts().of(StoreVerb::head), 2U);
  EXPECT_EQ(value(scan.scan(always)), 0);
  EXPECT_EQ(store.counts().of(StoreVerb::head), 2U);
}

TEST_F(TriggerScanTest, AStoreThatFailsInTheMiddleLosesNothing) {
  for (int i = 0; i < 6000; ++i) put(fmt::format("{:05}.mp4", i), 1);
  FaultyStore faulty(store, scripted_faults({{StoreVerb::list, 1, Fault::before}}));
  TriggerScan scan(trigger, faulty, receipts, clock);
  const auto first = scan.scan(always);
  ASSERT_FALSE(first.ok());
  EXPECT_EQ(first.error().code, Code::unavailable);
  EXPECT_EQ(receipts.counts("t")->seen, 5000);
  EXPECT_EQ(value(scan.scan(always)), 1000);
}

}  // namespace
}  // namespace atelier::server
