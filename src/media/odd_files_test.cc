// SPDX-License-Identifier: Apache-2.0
// Ends that are missing, frames before zero, palettes behind a cut, alpha.
#include <gtest/gtest.h>

#include <algorithm>

#include "media/alpha.h"
#include "media/cut_off.h"
#include "media/range_select.h"
#include "media/test_video.h"

namespace atelier::media {
namespace {

using test::make_video;
using test::read_frames;
using test::TestVideo;

std::vector<std::byte> video_in(const char* container, const char* codec = "mpeg4") {
  TestVideo video;
  video.container = container;
  video.codec = codec;
  video.frames = 30;
  return make_video(video);
}

TEST(CutOff, IsSeenWhereTheContainerSaysItsLength) {
  for (const char* container : {"matroska", "avi", "mpegts"}) {
    SCOPED_TRACE(container);
    const auto whole = video_in(container);
    MemorySource source(whole);
    const auto info = probe(source, "test").value();
    EXPECT_FALSE(is_cut_off(source, info.container).value());
    EXPECT_FALSE(scan_packets(source, info, {}, {}).value().cut_off);
    for (const size_t left : {whole.size() - 1, whole.size() * 2 / 3 + 1, whole.size() / 2 + 5}) {
      MemorySource cut({whole.begin(), whole.begin() + static_cast<ptrdiff_t>(left)});
      EXPECT_TRUE(is_cut_off(cut, info.container).value()) << left;
      EXPECT_TRUE(scan_packets(cut, info, {}, {}).value().cut_off) << left;
    }
  }
}

TEST(CutOff, BytesThatAreNoHeaderSayNothing) {
  for (const char* container : {"matroska,webm", "avi", "mpegts", "ogg"}) {
    for (const size_t size : {size_t{1}, size_t{7}, size_t{400}}) {
      MemorySource noise(std::vector<std::byte>(size, std::byte{0xFF}));
      EXPECT_FALSE(is_cut_off(noise, container).value());
    }
  }
}

// Moves every block of a Matroska file by `ticks`; only what libav's muxer writes is understood.
void move_blocks(std::vector<std::byte>& file, int ticks) {
  const auto number = [&](size_t& at, bool id) {
    const auto first = std::to_integer<unsigned>(file[at++]);
    int more = 0;
    while (!(first & (0x80U >> more))) ++more;
    uint64_t value = id ? first : first & (0x7FU >> more);
    for (int i = 0; i < more; ++i) value = value << 8 | std::to_integer<unsigned>(file[at++]);
    return value;
  };
  for (size_t at = 0; at < file.size();) {
    const uint64_t id = number(at, true);
    const uint64_t size = number(at, false);
    if (id == 0x18538067 || id == 0x1F43B675 || id == 0xA0) continue;  // look inside
    if (id == 0xA3 || id == 0xA1) {
      const auto time = static_cast<int16_t>(std::to_integer<int>(file[at + 1]) << 8 |
                                             std::to_integer<int>(file[at + 2]));
      const auto moved = static_cast<uint16_t>(time + ticks);
      file[at + 1] = static_cast<std::byte>(moved >> 8);
      file[at + 2] = static_cast<std::byte>(moved & 255);
    }
    at += size;
  }
}

TEST(LeadingTimes, FramesBeforeZeroKeepTheirDistance) {
  for (const int b_frames : {0, 2}) {
    SCOPED_TRACE(b_frames);
    TestVideo video;
    video.container = "matroska", video.frames = 30, video.b_frames = b_frames;
    auto bytes = make_video(video);
    MemorySource whole(bytes);
    const auto info = probe(whole, "test").value();
    ReadRequest all;
    all.stream = info.video_stream;
    const auto before = read_frames(whole, info, all);
    move_blocks(bytes, -210);
    MemorySource source(bytes);
    const auto after = read_frames(source, info, all);
    ASSERT_EQ(after.frames.size(), 30u);
    EXPECT_GT(after.report.retimed, 3u) << "no time was missing";
    const int64_t shift = before.frames[20].pts - after.frames[20].pts;
    for (size_t i = 0; i < 30; ++i) {
      EXPECT_EQ(after.frames[i].pts + shift, before.frames[i].pts) << i;
      EXPECT_EQ(after.frames[i].hash, before.frames[i].hash) << i;
    }
    const auto scan = scan_packets(source, info, {}, {}).value();
    std::vector<int64_t> times;
    for (const auto& packet : scan.packets) times.push_back(packet.pts);
    std::sort(times.begin(), times.end());
    for (size_t i = 0; i < 30; ++i) EXPECT_EQ(times[i], after.frames[i].pts) << i;
    TimeRange range;
    range.from = 0.1;
    EXPECT_EQ(packet_window(source, info, range).value().from->ticks, times[0] + 100);
  }
}

TEST(LeadingTimes, AreNotInventedForOthers) {
  MemorySource timed(video_in("matroska"));
  EXPECT_FALSE(leading_times(timed, 0).value());
  MemorySource none(video_in("m4v"));
  EXPECT_FALSE(leading_times(none, 0).value());
}

FrameBuffer with_alpha(int width, int height, int depth, unsigned value) {
  FrameBuffer frame(width, height,
                    {PixelFormat::Family::yuv, static_cast<uint8_t>(depth), 1, 1, true}, {});
  const auto& plane = frame.view().plane[3];
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      if (depth > 8) {
        reinterpret_cast<uint16_t*>(plane.data + y * plane.stride)[x] =
            static_cast<uint16_t>(value);
      } else {
        plane.data[y * plane.stride + x] = static_cast<std::byte>(value);
      }
    }
  }
  return frame;
}

unsigned alpha_at(const FrameBuffer& frame, int x, int y) {
  const auto& plane = frame.view().plane[3];
  const std::byte* row = plane.data + y * plane.stride;
  return frame.view().format.depth > 8 ? reinterpret_cast<const uint16_t*>(row)[x]
                                       : std::to_integer<unsigned>(row[x]);
}

TEST(CopyAlpha, KeepsTheChannelThroughSizesAndDepths) {
  struct Step {
    int depth_in, depth_out;
    unsigned in, out;
  };
  for (const Step s : {Step{8, 8, 77, 77}, Step{8, 10, 255, 1023}, Step{8, 10, 128, 514},
                       Step{10, 8, 1023, 255}, Step{10, 10, 3, 3}, Step{16, 8, 65535, 255}}) {
    const FrameBuffer from = with_alpha(10, 6, s.depth_in, s.in);
    for (const int scale : {1, 2}) {
      FrameBuffer to = with_alpha(10 * scale, 6 * scale, s.depth_out, 1);
      ASSERT_TRUE(copy_alpha(from.view(), to.view()).ok());
      EXPECT_EQ(alpha_at(to, 10 * scale - 1, 6 * scale - 1), s.out)
          << s.depth_in << " to " << s.depth_out << ", scale " << scale;
      EXPECT_EQ(alpha_at(to, 0, 0), s.out);
    }
  }
}

TEST(CopyAlpha, WithoutAlphaThePictureIsOpaque) {
  const FrameBuffer from(10, 6, {PixelFormat::Family::yuv, 8, 1, 1, false}, {});
  FrameBuffer to = with_alpha(10, 6, 10, 0);
  ASSERT_TRUE(copy_alpha(from.view(), to.view()).ok());
  EXPECT_EQ(alpha_at(to, 9, 5), 1023u);
  EXPECT_FALSE(copy_alpha(to.view(), from.view()).ok());
}

}  // namespace
}  // namespace atelier::media
