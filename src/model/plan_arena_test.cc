// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <random>

#include "model/plan.h"

namespace atelier::model {
namespace {

NetPlan random_values(uint32_t seed) {
  std::mt19937 random(seed);
  const auto draw = [&](int below) { return static_cast<int>(random() % unsigned(below)); };
  NetPlan plan;
  const int count = 2 + draw(30);
  for (int i = 0; i < count; i++) {
    Value value;
    value.shape = {8 + 8 * draw(8), 1 + draw(40), 1 + draw(40)};
    value.root = i;
    value.first = draw(30);
    value.last = value.first + 1 + (draw(4) == 0 ? draw(20) : draw(3));
    plan.values.push_back(value);
  }
  return plan;
}

int64_t floats(const Value& v) { return v.shape.count(); }

TEST(PlanArena, ValuesThatLiveAtOnceLieApart) {
  for (uint32_t seed = 0; seed < 200; seed++) {
    NetPlan plan = random_values(seed);
    place_values(plan);
    for (const Value& a : plan.values) {
      EXPECT_LE(a.offset + floats(a), plan.arena_floats);
      EXPECT_EQ(a.offset % 16, 0) << "a cache line";
      for (const Value& b : plan.values) {
        if (&a == &b || a.last < b.first || b.last < a.first) continue;
        EXPECT_TRUE(a.offset + floats(a) <= b.offset || b.offset + floats(b) <= a.offset);
      }
    }
  }
}

TEST(PlanArena, AChainTakesTheTwoLargestNeighbours) {
  NetPlan plan;
  for (int i = 0; i < 6; i++) {
    Value value;
    value.shape = {8, 100, 10 * (i + 1)};
    value.root = i;
    value.first = i;
    value.last = i + 1;
    plan.values.push_back(value);
  }
  place_values(plan);
  EXPECT_LT(plan.arena_floats, 8 * 100 * (60 + 50) + 64);
}

}  // namespace
}  // namespace atelier::model
