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

media::PacketScan ten_seconds() {
  media::PacketScan scan;
  scan.time_base = {1, 1000};
  for (int i = 0; i < 10; ++i)
    scan.packets.push_back({500 + 1000 * i, 1000 * i, 1000, true, false});
  return scan;
}

TEST(CheckScan, AWholeFileIsNoNews) {
  std::vector<std::string> notes;
  EXPECT_TRUE(check_scan(ten_seconds(), {}, "film.mkv", notes).ok());
  EXPECT_TRUE(notes.empty());
}

TEST(CheckScan, ATruncatedFileNamesTheTimeUpToWhichItWorks) {
  media::PacketScan scan = ten_seconds();
  scan.truncated = true;
  scan.readable_until = 7250;  // the first frame is at 500
  std::vector<std::string> notes;
  const auto refused = check_scan(scan, {}, "film.mp4", notes);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::invalid_input);
  EXPECT_NE(refused.error().message.find("first 6.750 seconds"), std::string::npos);
  media::TimeRange range;
  range.to = 6.75;
  EXPECT_TRUE(check_scan(scan, range, "film.mp4", notes).ok());
  range.to = 6.76;
  EXPECT_FALSE(check_scan(scan, range, "film.mp4", notes).ok());
}

TEST(CheckScan, NothingReadableIsZeroSeconds) {
  media::PacketScan scan = ten_seconds();
  scan.truncated = true;
  scan.readable_until = -5;
  std::vector<std::string> notes;
  const auto refused = check_scan(scan, {}, "film.mp4", notes);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("first 0.000 seconds"), std::string::npos);
}

TEST(CheckScan, DamageAndAMissingEndAreNoted) {
  media::PacketScan scan = ten_seconds();
  scan.damaged_packets = 3;
  scan.cut_off = true;
  std::vector<std::string> notes;
  EXPECT_TRUE(check_scan(scan, {}, "film.mkv", notes).ok());
  ASSERT_EQ(notes.size(), 2u);
  EXPECT_NE(notes[0].find("cut off"), std::string::npos);
  EXPECT_NE(notes[1].find("3 packets"), std::string::npos);
}

}  // namespace
}  // namespace atelier::run
