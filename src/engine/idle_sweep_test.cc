// SPDX-License-Identifier: Apache-2.0
#include "engine/idle_sweep.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace atelier::engine {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

// A job of one chunk of 10 s, every `gap` seconds after the one before would be done by a node that
// is there; a node takes 40 s to start and costs 1 a second.
PlanInput every(double gap, int jobs) {
  PlanInput input;
  for (int i = 0; i < jobs; ++i) input.jobs.push_back({i * (10 + gap), 1});
  input.work.chunk_seconds = {10};
  input.pool.start_delay = 40;
  input.pool.price_per_node_hour = 3600;
  return input;
}

IdleSweep must(const PlanInput& input, const std::vector<double>& timeouts, double wait_price = 0) {
  auto sweep = sweep_idle_timeouts(input, timeouts, wait_price);
  EXPECT_TRUE(sweep.ok());
  return sweep.ok() ? *std::move(sweep) : IdleSweep();
}

TEST(IdleSweep, LongGapsPayForScaleToZero) {
  const IdleSweep sweep = must(every(200, 100), {0, 50, 250, kNever});
  ASSERT_EQ(sweep.choices.size(), 5u);
  EXPECT_EQ(sweep.cheapest, 0u);
  EXPECT_DOUBLE_EQ(sweep.choices[0].result.cost, 100 * (40 + 10));
  EXPECT_DOUBLE_EQ(sweep.choices[1].result.cost, 100 * (40 + 10 + 50));
  EXPECT_DOUBLE_EQ(sweep.choices[2].result.cost, 40 + 99 * 210 + 10 - 40 + 250)
      << "the first start eats into the first gap only";
  EXPECT_TRUE(sweep.choices[4].always_on);
  // Until the last job of the slowest choice is done.
  EXPECT_DOUBLE_EQ(sweep.choices[4].result.cost, 99 * 210 + 50);
  EXPECT_DOUBLE_EQ(sweep.choices[4].result.turnaround_mean, 10);
  EXPECT_DOUBLE_EQ(sweep.choices[0].result.turnaround_mean, 50);
}

// Whoever waits for a node's start leaves the next job a short gap: a short time-out catches that.
TEST(IdleSweep, EveryOtherStartIsSparedWhereGapsAreAsLongAsAStart) {
  const PlanInput input = every(41, 100);
  const IdleSweep sweep = must(input, {0, 20, 42});
  EXPECT_EQ(sweep.cheapest, 1u);
  EXPECT_DOUBLE_EQ(sweep.choices[0].result.cost, 100 * (40 + 10));
  EXPECT_DOUBLE_EQ(sweep.choices[1].result.cost, 50 * (40 + 10 + 1 + 10 + 20));
  EXPECT_DOUBLE_EQ(sweep.choices[2].result.cost, 99 * 51 + 10 + 42);
  EXPECT_EQ(must(input, {0, 20, 42}, 3600).cheapest, 3u) << "waiting costs";
}

TEST(IdleSweep, WaitingThatCostsMakesNodesStay) {
  const PlanInput input = every(200, 100);
  // A start makes a job wait 40 s; keeping the node over the gap costs 160 more than the start.
  EXPECT_EQ(must(input, {0, 250}, 3.9 * 3600).cheapest, 0u);
  EXPECT_NE(must(input, {0, 250}, 4.1 * 3600).cheapest, 0u);
}

TEST(BreakEven, IsWhereBothCostTheSame) {
  PlannedPool pool;
  pool.start_delay = 40;
  pool.price_per_node_hour = 3600;
  EXPECT_DOUBLE_EQ(break_even_gap(pool, 0), 40);
  EXPECT_DOUBLE_EQ(break_even_gap(pool, 4 * 3600), 200) << "as in the test above";
  pool.price_per_node_hour = 0;
  EXPECT_TRUE(std::isinf(break_even_gap(pool, 1)));
}

}  // namespace
}  // namespace atelier::engine
