// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/hash.h"
#include "media/range_select.h"
#include "media/test_video.h"

namespace atelier::media {
namespace {

using test::make_video;
using test::TestVideo;
using testing::HasSubstr;

MemorySource text_source(std::string_view text) {
  const auto bytes = as_bytes(text);
  return MemorySource(std::vector<std::byte>(bytes.begin(), bytes.end()));
}

void expect_refused(MemorySource source, const char* why) {
  auto info = probe(source, "my file.mp4");
  ASSERT_FALSE(info.ok()) << why;
  EXPECT_EQ(info.error().code, Code::invalid_input) << why;
  EXPECT_THAT(info.error().message, HasSubstr("my file.mp4")) << why;
  EXPECT_THAT(info.error().message, testing::EndsWith(".")) << why;
  EXPECT_THAT(info.error().message, testing::Not(HasSubstr("\n"))) << why;
}

TEST(Probe, TellsWhatIsNoVideoInOneSentence) {
  expect_refused(text_source(""), "empty");
  expect_refused(text_source("Dear diary, today I painted.\n"), "text");
  expect_refused(text_source("x"), "one byte");
  expect_refused(text_source(std::string(100000, '\0')), "zeros");
  auto cut_off = make_video({});
  cut_off.resize(cut_off.size() / 2);  // the index of an MP4 is at its end
  expect_refused(MemorySource(cut_off), "no moov");
}

TEST(Probe, RefusesFilesThatWouldOpenOtherFiles) {
  expect_refused(text_source("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n/etc/passwd\n"
                             "#EXT-X-ENDLIST\n"),
                 "hls");
  expect_refused(text_source("ffconcat version 1.0\nfile '/etc/passwd'\n"), "concat");
  expect_refused(text_source("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
                             "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"),
                 "sdp");
  expect_refused(text_source("<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" "
                             "profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" type=\"static\">"
                             "<Period><BaseURL>/etc/passwd</BaseURL></Period></MPD>"),
                 "dash");
}

TEST(Probe, SeesTheFactsOfAVideo) {
  TestVideo video;
  video.audio = true;
  video.rotation = 90;
  video.sample_aspect_ratio = {4, 3};
  video.color = {1, 1, 1, ColorSpec::Range::limited, ColorSpec::Siting::left};
  video.pixel_format = "yuv422p10le";
  MemorySource source(make_video(video));
  auto info = probe(source, "x");
  ASSERT_TRUE(info.ok()) << info.error().message;
  EXPECT_THAT(info->container, HasSubstr("mp4"));
  ASSERT_EQ(info->streams.size(), 2U);
  EXPECT_EQ(info->video_stream, 0);
  EXPECT_NEAR(info->duration_seconds.value_or(0), 2.0, 0.1);
  const StreamInfo& stream = info->streams[0];
  EXPECT_EQ(stream.kind, StreamKind::video);
  EXPECT_EQ(stream.codec, "h264");
  EXPECT_EQ(stream.video.width, 96);
  EXPECT_EQ(stream.video.height, 64);
  EXPECT_EQ(stream.video.sample_aspect_ratio, (Rational{4, 3}));
  EXPECT_EQ(stream.video.color, video.color);
  EXPECT_EQ(stream.video.source_pixel_format, "yuv422p10le");
  EXPECT_EQ(stream.video.format, (PixelFormat{PixelFormat::Family::yuv, 10, 1, 0, false}));
  EXPECT_TRUE(stream.video.has_display_matrix);
  EXPECT_EQ(stream.video.rotation_degrees, 90);
  EXPECT_FALSE(stream.video.interlaced);
  EXPECT_EQ(info->streams[1].kind, StreamKind::audio);
  EXPECT_EQ(info->streams[1].sample_rate, 48000);
  EXPECT_EQ(info->streams[1].channels, 1);
  EXPECT_EQ(info->streams[1].language, "deu");
}

TEST(Probe, CoverArtIsNeverTheVideoToScore) {
  TestVideo video;
  video.cover_art = true;
  MemorySource source(make_video(video));
  auto info = probe(source, "x");
  ASSERT_TRUE(info.ok()) << info.error().message;
  ASSERT_EQ(info->streams.size(), 2U);
  EXPECT_TRUE(info->streams[1].video.attached_picture);
  EXPECT_EQ(info->video_stream, 0);
}

TEST(PixelFormats, EveryPlanarFormatGoesThereAndBack) {
  int seen = 0;
  for (const AVPixFmtDescriptor* d = av_pix_fmt_desc_next(nullptr); d;
       d = av_pix_fmt_desc_next(d)) {
    const AVPixelFormat planar = planar_equivalent(av_pix_fmt_desc_get_id(d));
    if (planar == AV_PIX_FMT_NONE) continue;
    ++seen;
    EXPECT_EQ(planar_equivalent(planar), planar) << d->name;
    EXPECT_EQ(to_av(describe(planar)), planar) << d->name;
  }
  EXPECT_GT(seen, 100);
  EXPECT_EQ(planar_equivalent(AV_PIX_FMT_NV12), AV_PIX_FMT_YUV420P);
  EXPECT_EQ(planar_equivalent(AV_PIX_FMT_P010), AV_PIX_FMT_YUV420P10);
  EXPECT_EQ(planar_equivalent(AV_PIX_FMT_RGB24), AV_PIX_FMT_GBRP);
  EXPECT_EQ(planar_equivalent(AV_PIX_FMT_YUVJ422P), AV_PIX_FMT_YUV422P);
  EXPECT_EQ(planar_equivalent(AV_PIX_FMT_MONOWHITE), AV_PIX_FMT_GRAY8);
  EXPECT_EQ(planar_equivalent(AV_PIX_FMT_GBRPF32), AV_PIX_FMT_NONE);
  EXPECT_EQ(planar_equivalent(AV_PIX_FMT_VAAPI), AV_PIX_FMT_NONE);
}

PacketScan scan(ByteSource& source, const MediaInfo& info, const TimeRange& range = {}) {
  auto result = scan_packets(source, info, range, {});
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
  return result.ok() ? *result : PacketScan{};
}

// The slow, obvious hash: all packets of the second stream, gathered, then hashed.
CopiedStream hash_plainly(ByteSource& source, double from, double to) {
  auto input = Input::open(source, "x");
  const PacketPtr packet = make_packet();
  std::vector<std::byte> all;
  CopiedStream copied{1, {}, 0};
  while (*(*input)->read(*packet)) {
    if (packet->stream_index != 1) continue;
    const double at = static_cast<double>(packet->pts) * av_q2d((*input)->stream(1)->time_base);
    if (at < from || at >= to) continue;
    for (int i = 0; i < 8; ++i) {
      all.push_back(static_cast<std::byte>(static_cast<uint64_t>(packet->size) >> (8 * i)));
    }
    const auto* data = reinterpret_cast<const std::byte*>(packet->data);
    all.insert(all.end(), data, data + packet->size);
    ++copied.packets;
  }
  copied.sha256 = sha256_hex(all);
  return copied;
}

TEST(PacketScan, ListsEveryVideoPacketAndHashesTheOtherStreams) {
  TestVideo video;
  video.audio = true;
  video.b_frames = 2;
  video.container = "mov";
  MemorySource source(make_video(video));
  auto info = probe(source, "x");
  ASSERT_TRUE(info.ok());
  const PacketScan all = scan(source, *info);
  EXPECT_EQ(all.packets.size(), 50U);
  EXPECT_TRUE(all.pts_exact);
  EXPECT_FALSE(all.truncated);
  EXPECT_EQ(all.damaged_packets, 0U);
  EXPECT_TRUE(all.packets[0].key);
  EXPECT_FALSE(all.packets[1].key);
  ASSERT_EQ(all.copied.size(), 1U);
  const CopiedStream plain = hash_plainly(source, -1e9, 1e9);
  EXPECT_EQ(all.copied[0].sha256, plain.sha256);
  EXPECT_EQ(all.copied[0].packets, plain.packets);
}

TEST(PacketScan, ARangeCountsFromTheFirstFrame) {
  TestVideo video;
  video.audio = true;
  video.container = "matroska";
  for (int64_t n = 0; n < 50; ++n) video.pts.push_back(n + 25);  // one second late
  MemorySource source(make_video(video));
  auto info = probe(source, "x");
  ASSERT_TRUE(info.ok());
  const PacketScan part = scan(source, *info, {0.25, 0.75});
  EXPECT_EQ(part.packets.size(), 50U);  // the planner cuts the video
  ASSERT_EQ(part.copied.size(), 1U);
  const CopiedStream plain = hash_plainly(source, 1.25, 1.75);
  EXPECT_GT(plain.packets, 10U);
  EXPECT_EQ(part.copied[0].packets, plain.packets);
  EXPECT_EQ(part.copied[0].sha256, plain.sha256);
}

TEST(PacketScan, CoverArtIsKeptWhateverTheRange) {
  TestVideo video;
  video.cover_art = true;
  MemorySource source(make_video(video));
  auto info = probe(source, "x");
  ASSERT_TRUE(info.ok());
  const PacketScan part = scan(source, *info, {1.0, 1.5});
  ASSERT_EQ(part.copied.size(), 1U);
  EXPECT_EQ(part.copied[0].packets, 1U);
}

TEST(PacketScan, EditedOutPacketsAreMarked) {
  TestVideo video;
  for (int64_t n = 0; n < 50; ++n) video.pts.push_back(n - 7);
  MemorySource source(make_video(video));
  auto info = probe(source, "x");
  ASSERT_TRUE(info.ok());
  const PacketScan all = scan(source, *info);
  const auto hidden = std::count_if(all.packets.begin(), all.packets.end(),
                                    [](const VideoPacket& p) { return p.discard; });
  EXPECT_GE(hidden, 7);
  EXPECT_EQ(all.packets.size() - static_cast<size_t>(hidden),
            test::decode_plainly(source, info->video_stream).size());
}

TEST(PacketScan, TimesOfAviWithBFramesAreNotExact) {
  TestVideo video;
  video.codec = "mpeg4", video.container = "avi", video.b_frames = 2;
  MemorySource source(make_video(video));
  auto info = probe(source, "x");
  ASSERT_TRUE(info.ok());
  EXPECT_FALSE(scan(source, *info).pts_exact);
}

// The index in front, the end cut off.
std::vector<std::byte> cut_video(double keep) {
  TestVideo video;
  video.audio = true;
  video.b_frames = 2;
  video.muxer_options["moov_size"] = "8192";  // room in front of the packets
  std::vector<std::byte> bytes = make_video(video);
  bytes.resize(static_cast<size_t>(static_cast<double>(bytes.size()) * keep));
  return bytes;
}

TEST(PacketScan, AnIndexThatPromisesMoreThanTheFileHoldsMeansTruncated) {
  MemorySource whole_source(cut_video(1));
  auto info = probe(whole_source, "x");
  ASSERT_TRUE(info.ok());
  const PacketScan whole = scan(whole_source, *info);
  EXPECT_FALSE(whole.truncated);
  MemorySource source(cut_video(0.6));
  info = probe(source, "x");
  ASSERT_TRUE(info.ok());
  const PacketScan part = scan(source, *info);
  EXPECT_TRUE(part.truncated);
  ASSERT_LT(part.packets.size(), whole.packets.size());
  // Everything shown before the named time is there, and the time is not wastefully early.
  const auto shown_before = [&](const PacketScan& from) {
    return std::count_if(from.packets.begin(), from.packets.end(),
                         [&](const VideoPacket& p) { return p.pts < part.readable_until; });
  };
  EXPECT_EQ(shown_before(part), shown_before(whole));
  EXPECT_GT(shown_before(part), 10);
  EXPECT_LT(shown_before(part), static_cast<int64_t>(part.packets.size()));
}

TEST(PacketScan, TheLastByteCounts) {
  std::vector<std::byte> bytes = cut_video(1);
  bytes.pop_back();
  MemorySource source(std::move(bytes));
  auto info = probe(source, "x");
  ASSERT_TRUE(info.ok());
  EXPECT_TRUE(scan(source, *info).truncated);
}

TEST(PacketScan, StopsWhenAsked) {
  MemorySource source(make_video({}));
  auto info = probe(source, "x");
  ASSERT_TRUE(info.ok());
  std::stop_source stop;
  stop.request_stop();
  auto cancelled = scan_packets(source, *info, {}, stop.get_token());
  ASSERT_FALSE(cancelled.ok());
  EXPECT_EQ(cancelled.error().code, Code::cancelled);
}

}  // namespace
}  // namespace atelier::media
