// SPDX-License-Identifier: Apache-2.0
// Small frames at once: the choice by measured times, and the same bits both ways.
#include "model/lane_choice.h"

#include <gtest/gtest.h>

#include "base/frame.h"
#include "model/pixels_testing.h"
#include "model/runner_testing.h"
#include "model/test_net.h"

namespace atelier::model {
namespace {

TEST(LaneChoice, MeasuresBothWaysThenTakesTheFaster) {
  for (const bool at_once_is_faster : {false, true}) {
    LaneChoice choice;
    std::vector<bool> turns;
    for (int i = 0; i < 6; i++) {
      EXPECT_FALSE(choice.decided());
      turns.push_back(choice.at_once());
      choice.took(4, choice.at_once() == at_once_is_faster ? 1.0 : 2.0);
    }
    EXPECT_EQ(turns, (std::vector<bool>{false, true, false, true, false, true}));
    EXPECT_TRUE(choice.decided());
    EXPECT_EQ(choice.at_once(), at_once_is_faster);
    choice.took(4, 100);
    EXPECT_EQ(choice.at_once(), at_once_is_faster);
  }
}

TEST(LaneChoice, OneSlowRoundDecidesNothing) {
  LaneChoice choice;
  const std::vector<double> seconds{9, 50, 2, 1, 2, 50};  // turns: one after the other, at once
  for (const double s : seconds) choice.took(2, s);
  EXPECT_TRUE(choice.decided());
  EXPECT_TRUE(choice.at_once());
}

std::vector<FrameBuffer> frames(int count, int width, int height) {
  std::vector<FrameBuffer> made;
  for (int i = 0; i < count; i++) {
    made.emplace_back(width, height, PixelFormat{},
                      pixels_testing::color(1, pixels_testing::Range::limited));
    pixels_testing::fill_random(made.back().view(), static_cast<unsigned>(i));
  }
  return made;
}

Graph small_net() {
  Net net(5, 3);
  net.conv({.out = 16, .stride = 2}).norm().then("Relu").conv({.out = 16}).norm();
  net.conv({.out = 12}).then("DepthToSpace", {}, {{"blocksize", int64_t{2}}, {"mode", "CRD"}});
  return net.channels(3).then("Tanh").then("Mul", {net.given({}, {255})}).graph();
}

TEST(Lanes, FramesAtOnceHaveTheBitsOfOneAfterTheOther) {
  const Graph graph = small_net();
  for (const auto& [width, height] : {std::pair{64, 32}, {2, 2}, {38, 70}}) {
    const auto at_once = runner(graph, 3), alone = runner(graph, 1);
    ASSERT_EQ(*at_once->most_at_once({width, height}), 3);
    ASSERT_EQ(*alone->most_at_once({width, height}), 1);
    const auto in = frames(3, width, height);
    std::vector<FrameBuffer> expected = frames(3, width, height);
    for (size_t i = 0; i < in.size(); i++)
      ASSERT_TRUE(alone->score(in[i].view(), expected[i].view()).ok());
    // Often enough that both ways are taken, and a short last round.
    for (size_t round = 0; round < 8; round++) {
      const size_t count = round == 7 ? 2 : 3;
      std::vector<FrameBuffer> out = frames(3, width, height);
      std::vector<FrameView> from, to;
      for (size_t i = 0; i < count; i++) from.push_back(in[i].view());
      for (size_t i = 0; i < count; i++) to.push_back(out[i].view());
      ASSERT_TRUE(at_once->score_several(from, to).ok());
      for (size_t i = 0; i < count; i++)
        ASSERT_TRUE(same_picture(out[i].view(), expected[i].view())) << "round " << round;
    }
  }
}

TEST(Lanes, LargeFramesAndStepsOnTheHeapAreScoredOneByOne) {
  EXPECT_EQ(*runner(small_net(), 4)->most_at_once({3840, 2160}), 1);
  Net heap(1, 3);
  heap.conv({.out = 8}).then("Softplus").conv({.out = 3});
  EXPECT_EQ(*runner(heap.graph(), 4)->most_at_once({32, 32}), 1);
  Net grouped(1, 3);
  grouped.conv({.out = 16}).conv({.out = 16, .group = 2}).conv({.out = 3});
  EXPECT_EQ(*runner(grouped.graph(), 4)->most_at_once({32, 32}), 1);
}

}  // namespace
}  // namespace atelier::model
