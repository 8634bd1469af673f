// SPDX-License-Identifier: Apache-2.0
#include "run/planner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace atelier::run {
namespace {

// `key_every` frames a key frame, 25 fps in a 1/25 time base, decode order is display order.
media::PacketScan steady(int frames, int key_every) {
  media::PacketScan scan;
  scan.time_base = {1, 25};
  for (int i = 0; i < frames; ++i) scan.packets.push_back({i, i, 1, i % key_every == 0, false});
  return scan;
}

// What every plan must hold: intervals touch, frames add up, decoding starts no later than the
// chunk.
void expect_sound(const std::vector<ChunkPlan>& chunks, const media::PacketScan& scan) {
  uint64_t total = 0;
  for (size_t i = 0; i < chunks.size(); ++i) {
    const ChunkPlan& chunk = chunks[i];
    EXPECT_EQ(chunk.index, static_cast<int>(i));
    EXPECT_GE(chunk.frames, 1u);
    EXPECT_EQ(chunk.first_frame, total);
    total += chunk.frames;
    if (i + 1 < chunks.size()) {
      EXPECT_EQ(chunk.end_pts, chunks[i + 1].first_pts);
    }
    if (chunk.key_dts) {
      const auto key = std::find_if(scan.packets.begin(), scan.packets.end(), [&](const auto& p) {
        return p.key && p.dts == *chunk.key_dts;
      });
      ASSERT_NE(key, scan.packets.end());
      EXPECT_LE(key->pts, chunk.first_pts);
    }
  }
}

TEST(Planner, CutsAtTheKeyFrameNearTheWantedLength) {
  const auto scan = steady(100, 12);
  const auto chunks = plan_chunks(scan, {}, 1.0).value();
  expect_sound(chunks, scan);
  ASSERT_EQ(chunks.size(), 4u);
  EXPECT_EQ(chunks[1].first_pts, 24);
  EXPECT_EQ(chunks[1].key_dts, 24);
  EXPECT_EQ(chunks[3].end_pts, std::nullopt);
}

TEST(Planner, DeinterlacedChunksStartEarlyEnoughForTheFrameBefore) {
  const auto scan = steady(100, 12);
  const auto chunks = plan_chunks(scan, {}, 1.0, true).value();
  expect_sound(chunks, scan);
  EXPECT_EQ(chunks[0].context_pts, std::nullopt);
  EXPECT_EQ(chunks[1].first_pts, 24);
  EXPECT_EQ(chunks[1].context_pts, 23);
  EXPECT_EQ(chunks[1].key_dts, 12);
  media::TimeRange range;
  range.from = 1.0;
  EXPECT_EQ(plan_chunks(scan, range, 1.0, true).value()[0].context_pts, 24)
      << "the frame before --from is a neighbour all the same";
}

TEST(Planner, AFrameFarFromItsPlaceIsDecodedFromTheKeyFrameBeforeIt) {
  auto scan = steady(100, 12);
  scan.packets[30].pts = 1'000'000;  // damage
  const auto chunks = plan_chunks(scan, {}, 1.0).value();
  expect_sound(chunks, scan);
  EXPECT_EQ(chunks.back().first_pts, 1'000'000);
  EXPECT_EQ(chunks.back().key_dts, 24) << "a decoder that begins at 96 never meets it";
  EXPECT_EQ(key_before(scan.packets, 1'000'000), 24);
  EXPECT_EQ(key_before(scan.packets, 99), 96);
}

TEST(Planner, OneKeyFrameInTheWholeFileIsCutAllTheSame) {
  const auto scan = steady(100, 1000);
  const auto chunks = plan_chunks(scan, {}, 1.0).value();
  expect_sound(chunks, scan);
  ASSERT_EQ(chunks.size(), 4u);
  EXPECT_EQ(chunks[2].first_pts, 50);
  EXPECT_EQ(chunks[2].key_dts, 0);
}

TEST(Planner, AShortTailStaysWithItsChunk) {
  EXPECT_EQ(plan_chunks(steady(37, 5), {}, 1.0).value().size(), 1u);
  EXPECT_EQ(plan_chunks(steady(38, 5), {}, 1.0).value().size(), 2u);
}

TEST(Planner, FramesBeforeAnOpenGopKeyBelongToTheChunkBefore) {
  // Decode order I2 B0 B1 | I5 B3 B4: the second key packet comes before the frames 3 and 4 that
  // are shown before it.
  media::PacketScan scan;
  scan.time_base = {1, 1};
  scan.packets = {{2, 0, 1, true, false}, {0, 1, 1, false, false}, {1, 2, 1, false, false},
                  {5, 3, 1, true, false}, {3, 4, 1, false, false}, {4, 5, 1, false, false}};
  const auto chunks = plan_chunks(scan, {}, 3.0).value();
  expect_sound(chunks, scan);
  EXPECT_EQ(chunks[0].key_dts, std::nullopt)
      << "no key frame is shown at or before frame 0: start with the file";
}

TEST(Planner, RangeKeepsFramesFromAndBefore) {
  const auto scan = steady(100, 10);
  const auto chunks = plan_chunks(scan, {1.0, 2.0}, 0.5).value();
  expect_sound(chunks, scan);
  EXPECT_EQ(chunks.front().first_pts, 25);
  EXPECT_EQ(chunks.front().key_dts, 20);
  EXPECT_EQ(chunks.back().end_pts, 50);
  uint64_t frames = 0;
  for (const auto& chunk : chunks) frames += chunk.frames;
  EXPECT_EQ(frames, 25u);
}

TEST(Planner, RangeOutsideTheVideoIsRefused) {
  EXPECT_EQ(plan_chunks(steady(10, 5), {60.0, std::nullopt}, 1.0).error().code,
            Code::invalid_input);
  EXPECT_EQ(plan_chunks({}, {}, 1.0).error().code, Code::invalid_input);
}

TEST(Planner, DiscardedPacketsAreNoFrames) {
  auto scan = steady(10, 5);
  scan.packets[0].discard = scan.packets[1].discard = true;
  const auto chunks = plan_chunks(scan, {}, 4.0).value();
  EXPECT_EQ(chunks.at(0).frames, 8u);
  EXPECT_EQ(chunks.at(0).first_pts, 2);
}

TEST(Planner, PacketsWithoutTimesAreOneChunk) {
  auto scan = steady(1000, 5);
  scan.pts_exact = false;
  EXPECT_EQ(plan_chunks(scan, {}, 1.0).value().size(), 1u);
}

TEST(Planner, RandomVariableRateVideosAreCutSoundly) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    media::PacketScan scan;
    scan.time_base = {1, 1000};
    int64_t pts = static_cast<int64_t>(random() % 2000) - 1000;
    const int frames = 1 + static_cast<int>(random() % 300);
    for (int i = 0; i < frames; ++i) {
      scan.packets.push_back({pts, pts - 5, 0, i == 0 || random() % 20 == 0, false});
      pts += 1 + static_cast<int64_t>(random() % (random() % 50 == 0 ? 5000 : 60));
    }
    const auto chunks = plan_chunks(scan, {}, 0.5).value();
    expect_sound(chunks, scan);
    EXPECT_EQ(chunks.back().first_frame + chunks.back().frames, static_cast<uint64_t>(frames));
  }
}

}  // namespace
}  // namespace atelier::run
