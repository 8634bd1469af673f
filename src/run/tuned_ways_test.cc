// SPDX-License-Identifier: Apache-2.0
#include "run/tuned_ways.h"

#include <gtest/gtest.h>

namespace atelier::run {
namespace {

Manifest of_frames(const std::string& tune, uint64_t frames) {
  Manifest manifest;
  manifest.parameters.tune = tune;
  ChunkPlan chunk;
  chunk.frames = frames;
  manifest.chunks = {chunk};
  return manifest;
}

TEST(MeasuresWays, ByLengthOrByName) {
  EXPECT_FALSE(measures_ways(of_frames("auto", kTunedFrames - 1)));
  EXPECT_TRUE(measures_ways(of_frames("auto", kTunedFrames)));
  EXPECT_TRUE(measures_ways(of_frames("on", 1)));
  EXPECT_FALSE(measures_ways(of_frames("off", 10 * kTunedFrames)));
}

}  // namespace
}  // namespace atelier::run
