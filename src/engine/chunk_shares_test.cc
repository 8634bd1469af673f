// SPDX-License-Identifier: Apache-2.0
#include "engine/chunk_shares.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/call_meter.h"

namespace atelier::engine {
namespace {

using testing::ElementsAre;

std::vector<int> take_all(ChunkShares& shares, ChunkShares::Walk walk) {
  std::vector<int> chunks;
  while (const auto taken = shares.take(walk)) chunks.push_back(taken->chunk);
  return chunks;
}

TEST(ChunkShares, OwnFromTheFrontThenTheLargestFromTheEnd) {
  ChunkShares shares(10, 3);  // 0-2, 3-5, 6-9
  EXPECT_THAT(take_all(shares, shares.begin_walk(1)), ElementsAre(3, 4, 5, 9, 2, 8, 1, 7, 0, 6));
  EXPECT_FALSE(shares.can_take());
}

TEST(ChunkShares, WhoHasNoShareHelps) {
  ChunkShares shares(4, 2);
  EXPECT_THAT(take_all(shares, shares.begin_walk(2)), ElementsAre(1, 3, 0, 2));
}

TEST(ChunkShares, AReplacementFindsWhatWasLostInItsOwnShareFirst) {
  ChunkShares shares(6, 2);
  ChunkShares::Walk first = shares.begin_walk(0);
  shares.take(first);
  shares.take(first);
  shares.lose(1);
  shares.found(1);
  EXPECT_THAT(take_all(shares, shares.begin_walk(0)), ElementsAre(1, 2, 5, 4, 3));
}

TEST(ChunkShares, OthersTakeWhatWasLostLast) {
  ChunkShares shares(6, 2);
  ChunkShares::Walk first = shares.begin_walk(0);
  shares.take(first);
  shares.lose(0);
  shares.found(0);
  EXPECT_THAT(take_all(shares, shares.begin_walk(1)), ElementsAre(3, 4, 5, 2, 1, 0));
}

TEST(ChunkShares, WhatNobodyWatchesIsNotFound) {
  ChunkShares shares(4, 2);
  ChunkShares::Walk walk = shares.begin_walk(0);
  while (shares.take(walk)) {
  }
  shares.lose(1);
  shares.lose(3);
  EXPECT_FALSE(shares.can_take());
  EXPECT_THAT(shares.watch_share(shares.begin_walk(0)), ElementsAre(1));
  EXPECT_THAT(shares.watch_all(), ElementsAre(3));
  EXPECT_TRUE(shares.watch_all().empty()) << "each is watched once";
}

// Against sums over steps of a hundredth of a second.
TEST(CallMeter, FindsTheBusiestSecond) {
  struct Change {
    double at;
    double rate;
    double add;
  };
  const std::vector<Change> changes = {{0.25, 4, 1},     {0.5, 0, 7},    {2.75, -3, 0},
                                       {3.0, 0, 2},      {3.99, 0, 2},   {10.5, 100, 0},
                                       {10.75, -100, 0}, {1000.5, 1, 30}};
  CallMeter<2> meter;
  for (const Change& change : changes) {
    meter.advance(change.at);
    meter.change_rate(0, change.rate);
    meter.add(0, change.add);
    meter.add(1, 2 * change.add);
  }
  meter.advance(1003);
  meter.finish();
  std::vector<double> seconds(1004);
  std::vector<double> both(1004);
  double rate = 0;
  size_t next = 0;
  for (int step = 0; step < 100300; ++step) {
    for (; next < changes.size() && changes[next].at * 100 <= step; ++next) {
      rate += changes[next].rate;
      seconds[static_cast<size_t>(step / 100)] += changes[next].add;
      both[static_cast<size_t>(step / 100)] += 3 * changes[next].add;
    }
    seconds[static_cast<size_t>(step / 100)] += rate / 100;
    both[static_cast<size_t>(step / 100)] += rate / 100;
  }
  EXPECT_NEAR(meter.peak(0), *std::max_element(seconds.begin(), seconds.end()), 1e-6);
  EXPECT_NEAR(meter.peak_of_first_two(), *std::max_element(both.begin(), both.end()), 1e-6);
  double sum = 0;
  for (const double second : seconds) sum += second;
  EXPECT_NEAR(meter.total(0), sum, 1e-6);
}

}  // namespace
}  // namespace atelier::engine
