// SPDX-License-Identifier: Apache-2.0
// Ends that are missing, frames before zero, times far away, palettes behind a cut, alpha.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <set>

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

// Where each block of a Matroska file begins: its track (1 byte), time (2), flags (1), then the
// frame. Only what libav's muxer writes is understood (RFC 9559, 10).
std::vector<size_t> blocks_of(const std::vector<std::byte>& file) {
  const auto number = [&](size_t& at, bool id) {
    const auto first = std::to_integer<unsigned>(file[at++]);
    int more = 0;
    while (!(first & (0x80U >> more))) ++more;
    uint64_t value = id ? first : first & (0x7FU >> more);
    for (int i = 0; i < more; ++i) value = value << 8 | std::to_integer<unsigned>(file[at++]);
    return value;
  };
  std::vector<size_t> blocks;
  for (size_t at = 0; at < file.size();) {
    const uint64_t id = number(at, true);
    const uint64_t size = number(at, false);
    if (id == 0x18538067 || id == 0x1F43B675 || id == 0xA0) continue;  // look inside
    if (id == 0xA3 || id == 0xA1) blocks.push_back(at);
    at += size;
  }
  return blocks;
}

void move_blocks(std::vector<std::byte>& file, int ticks) {
  for (const size_t at : blocks_of(file)) {
    const auto time = static_cast<int16_t>(std::to_integer<int>(file[at + 1]) << 8 |
                                           std::to_integer<int>(file[at + 2]));
    const auto moved = static_cast<uint16_t>(time + ticks);
    file[at + 1] = static_cast<std::byte>(moved >> 8);
    file[at + 2] = static_cast<std::byte>(moved & 255);
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

// Sets the PTS of the n-th PES packet of a transport stream's video (ISO/IEC 13818-1, 2.4.3.6).
void set_time(std::vector<std::byte>& stream, int n, uint64_t pts) {
  constexpr size_t kPacket = 188;
  const auto at = [&](size_t i) { return static_cast<unsigned>(stream[i]); };
  for (size_t packet = 0; packet + kPacket <= stream.size(); packet += kPacket) {
    const bool starts = (at(packet + 1) & 0x40) != 0;
    const size_t payload = packet + 4 + ((at(packet + 3) & 0x20) ? 1 + at(packet + 4) : 0);
    if (!starts || payload + 14 > packet + kPacket) continue;
    const bool video = at(payload) == 0 && at(payload + 1) == 0 && at(payload + 2) == 1 &&
                       (at(payload + 3) & 0xf0) == 0xe0;
    if (!video || n-- > 0) continue;
    const size_t field = payload + 9;
    const unsigned kind = at(field) & 0xf0;
    stream[field] = static_cast<std::byte>(kind | (pts >> 30 & 7) << 1 | 1);
    stream[field + 1] = static_cast<std::byte>(pts >> 22);
    stream[field + 2] = static_cast<std::byte>(pts >> 15 << 1 | 1);
    stream[field + 3] = static_cast<std::byte>(pts >> 7);
    stream[field + 4] = static_cast<std::byte>(pts << 1 | 1);
    return;
  }
  ADD_FAILURE() << "there is no such packet";
}

TEST(TimesFarFromTheirPlaces, AreNotTheEndOfAStretch) {
  for (const int gop : {10, 50}) {
    test::TestVideo what;
    what.container = "mpegts", what.b_frames = 2, what.gop = gop;
    std::vector<std::byte> bytes = test::make_video(what);
    set_time(bytes, 13, 2'000'000'000);
    set_time(bytes, 27, 1);
    set_time(bytes, 28, 3'000'000'000);
    MemorySource source(bytes);
    const auto info = probe(source, "odd.ts");
    ASSERT_TRUE(info.ok());
    std::multiset<std::string> wanted;
    for (const auto& frame : test::decode_plainly(source, 0)) wanted.insert(frame.hash);
    std::multiset<std::string> got;
    for (const auto& frame : test::read_in_stretches(source, *info, 0.3, 2)) got.insert(frame.hash);
    std::vector<std::string> lost;
    std::ranges::set_difference(wanted, got, std::back_inserter(lost));
    EXPECT_EQ(wanted.size(), 50U);
    EXPECT_EQ(got.size(), 50U);
    EXPECT_THAT(lost, testing::IsEmpty());
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

TEST(ColourNumbers, ThatNobodyKnowsAreAsGoodAsNone) {
  const FramePtr frame = make_frame();
  const int damage = 66;
  std::memcpy(&frame->colorspace, &damage, sizeof damage);
  std::memcpy(&frame->color_primaries, &damage, sizeof damage);
  std::memcpy(&frame->color_trc, &damage, sizeof damage);
  std::memcpy(&frame->color_range, &damage, sizeof damage);
  std::memcpy(&frame->chroma_location, &damage, sizeof damage);
  const ColorSpec color = color_of(*frame);
  EXPECT_EQ(color.matrix, AVCOL_SPC_UNSPECIFIED);
  EXPECT_EQ(color.primaries, AVCOL_PRI_UNSPECIFIED);
  EXPECT_EQ(color.transfer, AVCOL_TRC_UNSPECIFIED);
  EXPECT_EQ(color.range, ColorSpec::Range::unspecified);
  EXPECT_EQ(color.siting, ColorSpec::Siting::unspecified);
}

// libvpx, which alone sees alpha beside the picture, gives nothing from damage to the next key
// frame.
TEST(AlphaBesideThePicture, IsGivenUpRatherThanFrames) {
  TestVideo video;
  video.codec = "libvpx-vp9", video.container = "webm", video.pixel_format = "yuva420p";
  video.gop = 50;
  video.options = {{"auto-alt-ref", "0"}, {"cpu-used", "5"}};
  auto bytes = make_video(video);
  const auto blocks = blocks_of(bytes);
  ASSERT_EQ(blocks.size(), 50u);
  bytes[blocks[20] + 4] = std::byte{0};  // no frame begins like this
  MemorySource source(std::move(bytes));
  const auto info = probe(source, "test").value();
  ASSERT_TRUE(info.streams[0].video.alpha_beside);
  ReadRequest all;
  all.stream = info.video_stream;
  const auto read = read_frames(source, info, all);
  EXPECT_EQ(read.frames.size(), 49u);
  EXPECT_GT(read.report.decode_errors, 0u);
  ReadRequest sound = all;
  sound.end_pts = read.frames[19].pts;
  EXPECT_EQ(read_frames(source, info, sound).report.decode_errors, 0u);
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
