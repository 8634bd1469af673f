// SPDX-License-Identifier: Apache-2.0
#include "media/joiner.h"

#include <gtest/gtest.h>

#include <random>

namespace atelier::media {
namespace {

using Times = std::vector<int64_t>;

TEST(JoinDts, EqualsPtsWithoutReorder) {
  EXPECT_EQ(join_dts(Times{0, 1, 2, 7}), (Times{0, 1, 2, 7}));
  EXPECT_EQ(join_dts(Times{}), Times{});
  EXPECT_EQ(join_dts(Times{-5}), Times{-5});
}

TEST(JoinDts, DelaysByTheDeepestReorder) {
  // I P B B: the P alone came early, so each B stands one place late.
  EXPECT_EQ(deepest_reorder(Times{0, 30, 10, 20}), 1U);
  EXPECT_EQ(join_dts(Times{0, 30, 10, 20}), (Times{-1, 0, 10, 20}));
  // A pyramid: I P B b b.
  EXPECT_EQ(deepest_reorder(Times{0, 40, 20, 10, 30}), 2U);
  EXPECT_EQ(join_dts(Times{0, 40, 20, 10, 30}), (Times{-2, -1, 0, 10, 20}));
}

TEST(JoinDts, StaysMonotonousOverChunksOfDifferentDepth) {
  // Four chunks: one frame, a pyramid, two frames, variable rate.
  const Times pts{100, 110, 150, 130, 120, 140, 160, 170, 171, 400, 300};
  const Times dts = join_dts(pts);
  for (size_t i = 0; i < dts.size(); ++i) {
    EXPECT_LE(dts[i], pts[i]) << i;
    if (i > 0) {
      EXPECT_LT(dts[i - 1], dts[i]) << i;
    }
  }
  EXPECT_EQ(dts.front(), 98);
}

TEST(JoinDts, HoldsForRandomOrders) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    Times pts;
    int64_t time = -50;
    for (int i = 0; i < 40; ++i) pts.push_back(time += 1 + static_cast<int64_t>(random() % 9));
    for (size_t i = 0; i + 4 <= pts.size(); i += 4) {
      std::shuffle(pts.begin() + static_cast<ptrdiff_t>(i),
                   pts.begin() + static_cast<ptrdiff_t>(i) + 4, random);
    }
    const Times dts = join_dts(pts);
    for (size_t i = 0; i < dts.size(); ++i) {
      ASSERT_LE(dts[i], pts[i]);
      if (i > 0) {
        ASSERT_LT(dts[i - 1], dts[i]);
      }
    }
  }
}

}  // namespace
}  // namespace atelier::media
