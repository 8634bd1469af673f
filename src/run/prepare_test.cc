// SPDX-License-Identifier: Apache-2.0
#include "run/prepare.h"

#include <gtest/gtest.h>

#include "run/fake_runner.h"

namespace atelier::run {
namespace {

media::VideoFacts video(int width, int height, Rational sar = {0, 1}) {
  media::VideoFacts v;
  v.width = width;
  v.height = height;
  v.sample_aspect_ratio = sar;
  return v;
}

TEST(PlanSize, WithoutAWishTheNetworkDecides) {
  FakeRunner doubles(2);
  const auto plan = plan_size(video(161, 121, {4, 3}), 0, 0, doubles).value();
  EXPECT_EQ(plan.scored, (model::Size{161, 121}));
  EXPECT_EQ(plan.output, (model::Size{322, 242}));
  EXPECT_EQ(plan.sample_aspect_ratio, (Rational{4, 3}));
}

TEST(PlanSize, OneSideKeepsTheAspectAndWholeChromaSamples) {
  FakeRunner same;
  EXPECT_EQ(plan_size(video(1920, 1080), 640, 0, same).value().output, (model::Size{640, 360}));
  EXPECT_EQ(plan_size(video(1920, 1080), 0, 361, same).value().output, (model::Size{642, 361}));
  EXPECT_EQ(plan_size(video(1000, 10), 20, 0, same).value().output, (model::Size{20, 2}));
}

TEST(PlanSize, BothSidesKeepTheShapeThroughTheSampleAspect) {
  FakeRunner same;
  const auto plan = plan_size(video(1920, 1080), 720, 720, same).value();
  EXPECT_EQ(plan.sample_aspect_ratio, (Rational{16, 9}));
  EXPECT_EQ(plan_size(video(720, 576, {16, 15}), 768, 576, same).value().sample_aspect_ratio,
            (Rational{1, 1}));
}

TEST(PlanSize, ANetworkThatEnlargesGetsASmallerFrame) {
  FakeRunner doubles(2);
  const auto plan = plan_size(video(1920, 1080), 1280, 720, doubles).value();
  EXPECT_EQ(plan.scored, (model::Size{640, 360}));
  EXPECT_EQ(plan.output, (model::Size{1280, 720}));
  EXPECT_EQ(plan_size(video(1920, 1080), 641, 361, doubles).error().code, Code::invalid_argument);
}

TEST(PlanSize, ANetworkOfOneSizeNeedsIt) {
  FakeRunner fixed;
  fixed.fixed_ = {720, 720};
  EXPECT_FALSE(plan_size(video(640, 360), 0, 0, fixed).ok());
  EXPECT_EQ(plan_size(video(640, 360), 720, 720, fixed).value().sample_aspect_ratio,
            (Rational{16, 9}));
}

}  // namespace
}  // namespace atelier::run
