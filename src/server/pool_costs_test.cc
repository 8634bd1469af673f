// SPDX-License-Identifier: Apache-2.0
#include "server/pool_costs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace atelier::server {
namespace {

constexpr double kForEver = std::numeric_limits<double>::infinity();

TEST(PoolCosts, GapsAreWaitedThroughOrPaidForByAStart) {
  const std::vector<BusyInterval> busy = {{0, 100}, {150, 250}, {1250, 1350}};
  const PoolCost kept = cost_of_pool(busy, 2000, {kForEver, 60, 36});
  EXPECT_EQ(kept.starts, 1U);
  EXPECT_DOUBLE_EQ(kept.busy_seconds, 300);
  EXPECT_DOUBLE_EQ(kept.idle_seconds, 50 + 1000 + 650);
  EXPECT_DOUBLE_EQ(kept.cost, (300 + 1700 + 60) * 0.01);
  const PoolCost brief = cost_of_pool(busy, 2000, {60, 60, 36});
  EXPECT_EQ(brief.starts, 2U);
  EXPECT_DOUBLE_EQ(brief.idle_seconds, 50 + 60 + 60);
  EXPECT_DOUBLE_EQ(brief.starting_seconds, 120);
  const PoolCost none = cost_of_pool(busy, 2000, {0, 60, 36});
  EXPECT_EQ(none.starts, 3U);
  EXPECT_DOUBLE_EQ(none.idle_share, 0);
}

TEST(PoolCosts, IntervalsThatOverlapTakeNodesOfTheirOwn) {
  const PoolCost cost = cost_of_pool({{0, 10}, {5, 15}, {20, 30}}, 30, {kForEver, 0, 3600});
  EXPECT_EQ(cost.starts, 2U);
  EXPECT_DOUBLE_EQ(cost.idle_seconds, 5 + 20);  // the third takes the node that waited 5 s
}

TEST(PoolCosts, TheCheapestOfTheSweepIsNotBeatenByAnyTimeout) {
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    std::vector<BusyInterval> busy;
    double at = 0;
    for (int i = 0; i < 30; ++i) {
      at += std::exponential_distribution(0.01)(random);
      busy.push_back({at, at + 20});
    }
    const CostSweep sweep = sweep_pool_costs(busy, at + 500, {0, 60, 2});
    for (double timeout = 0; timeout < 1000; timeout += 7) {
      EXPECT_LE(sweep.choices[sweep.cheapest].cost,
                cost_of_pool(busy, at + 500, {timeout, 60, 2}).cost + 1e-9);
    }
  }
}

TEST(PoolCosts, AnIntervalIsToBlameForItsStartAndForTheWaitingAfterIt) {
  // In any order: the last two are on one node, 50 s after each other; the first is alone.
  const auto shares = share_pool_cost({{1250, 1350}, {0, 100}, {150, 250}}, 2000, {60, 10, 36});
  ASSERT_EQ(shares.size(), 3U);
  EXPECT_EQ(shares[0].starts, 1U);
  EXPECT_EQ(shares[1].starts, 1U);
  EXPECT_EQ(shares[2].starts, 0U);
  EXPECT_DOUBLE_EQ(shares[0].idle_seconds, 60);
  EXPECT_DOUBLE_EQ(shares[1].idle_seconds, 50);
  EXPECT_DOUBLE_EQ(shares[2].idle_seconds, 60);
  EXPECT_DOUBLE_EQ(shares[0].cost, (100 + 60 + 10) * 0.01);
}

TEST(PoolCosts, SharesSumUpToWhatThePoolCosts) {
  std::mt19937 random(11);
  std::uniform_real_distribution<double> when(0, 3000), length(0, 200), wait(0, 400);
  for (int round = 0; round < 50; ++round) {
    std::vector<BusyInterval> busy;
    for (int i = 0; i < 60; ++i) {
      const double begin = when(random);
      busy.push_back({begin, begin + length(random)});
    }
    const double timeout = wait(random);
    const PoolCost all = cost_of_pool(busy, 2500, {timeout, 30, 2});
    PoolCost sum;
    for (const PoolCost& share : share_pool_cost(busy, 2500, {timeout, 30, 2})) {
      sum.busy_seconds += share.busy_seconds;
      sum.idle_seconds += share.idle_seconds;
      sum.starting_seconds += share.starting_seconds;
      sum.starts += share.starts;
      sum.cost += share.cost;
    }
    EXPECT_NEAR(sum.busy_seconds, all.busy_seconds, 1e-6);
    EXPECT_NEAR(sum.idle_seconds, all.idle_seconds, 1e-6);
    EXPECT_NEAR(sum.starting_seconds, all.starting_seconds, 1e-6);
    EXPECT_EQ(sum.starts, all.starts);
    EXPECT_NEAR(sum.cost, all.cost, 1e-6);
  }
}

TEST(PoolCosts, NodesThatAreNeverGivenBackWaitAllTheTime) {
  const std::vector<BusyInterval> busy = {{100, 200}, {150, 250}, {900, 1000}};
  // The first and the third are on the one that stays, the second on one that comes and goes.
  const PoolCost cost = cost_of_pool(busy, 1000, {60, 10, 3600, 1});
  EXPECT_DOUBLE_EQ(cost.busy_seconds, 300);
  EXPECT_EQ(cost.starts, 1U);
  EXPECT_DOUBLE_EQ(cost.idle_seconds, (1000 - 200) + 60);
  const auto shares = share_pool_cost(busy, 1000, {60, 10, 3600, 1});
  EXPECT_DOUBLE_EQ(shares[0].idle_seconds, 0);
  EXPECT_EQ(shares[0].starts, 0U);
  EXPECT_EQ(shares[1].starts, 1U);
  const PoolCost unused = cost_of_pool({}, 1000, {60, 10, 3600, 2});
  EXPECT_DOUBLE_EQ(unused.idle_seconds, 2000);
  EXPECT_DOUBLE_EQ(unused.idle_share, 1);
}

TEST(PoolCosts, NothingToDoCostsNothing) {
  const CostSweep sweep = sweep_pool_costs({}, 1000, {0, 60, 2});
  EXPECT_DOUBLE_EQ(sweep.choices[sweep.cheapest].cost, 0);
}

}  // namespace
}  // namespace atelier::server
