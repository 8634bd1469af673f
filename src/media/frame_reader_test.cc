// SPDX-License-Identifier: Apache-2.0
#include "media/frame_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "media/frame_extras.h"
#include "media/hdr.h"
#include "media/test_video.h"

namespace atelier::media {
namespace {

using test::cut;
using test::decode_plainly;
using test::make_video;
using test::read_frames;
using test::read_in_stretches;
using test::same_frames;
using test::TestVideo;

struct Case {
  const char* name;
  TestVideo video;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

std::vector<int64_t> uneven_times() {
  std::vector<int64_t> pts;
  int64_t at = 40;
  for (int n = 0; n < 50; ++n) pts.push_back(at += 13 + (n * 37) % 71);
  return pts;
}

std::vector<int64_t> from(int64_t first, int count) {
  std::vector<int64_t> pts;
  for (int n = 0; n < count; ++n) pts.push_back(first + n);
  return pts;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  const auto add = [&](const char* name, auto change) {
    Case c{name, {}};
    change(c.video);
    all.push_back(c);
  };
  add("H264", [](TestVideo&) {});
  add("H264BFrames", [](TestVideo& v) { v.b_frames = 3; });
  add("H264Mkv", [](TestVideo& v) { v.b_frames = 3, v.container = "matroska"; });
  add("H264Ts", [](TestVideo& v) { v.b_frames = 2, v.container = "mpegts"; });
  add("H264Flv", [](TestVideo& v) { v.b_frames = 2, v.container = "flv", v.pts = from(10, 50); });
  add("H264Raw", [](TestVideo& v) { v.b_frames = 2, v.container = "h264"; });
  add("H264Fragmented", [](TestVideo& v) {
    v.b_frames = 2;
    v.muxer_options["movflags"] = "frag_keyframe+empty_moov";
  });
  add("OpenGop", [](TestVideo& v) {
    v.b_frames = 3;
    v.options["x264-params"] = "open-gop=1:b-pyramid=normal:scenecut=0:b-adapt=0";
  });
  add("OpenGopMkv", [](TestVideo& v) {
    v.b_frames = 3, v.container = "matroska";
    v.options["x264-params"] = "open-gop=1:b-pyramid=normal:scenecut=0:b-adapt=0";
  });
  add("OneKeyFrame", [](TestVideo& v) {
    v.b_frames = 3, v.gop = 1000;
    v.options["x264-params"] = "keyint=infinite:scenecut=0";
  });
  add("IntraRefresh", [](TestVideo& v) { v.options["intra-refresh"] = "1"; });
  add("IntraRefreshMkv", [](TestVideo& v) {
    v.options["intra-refresh"] = "1";
    v.container = "matroska";
  });
  add("VariableRate", [](TestVideo& v) {
    v.b_frames = 2, v.time_base = {1, 1000}, v.pts = uneven_times();
  });
  add("EditListHidesTheStart", [](TestVideo& v) { v.b_frames = 2, v.pts = from(-7, 50); });
  add("LateStart", [](TestVideo& v) { v.b_frames = 2, v.pts = from(1000, 50); });
  add("OddSize", [](TestVideo& v) {
    v.width = 97, v.height = 61, v.codec = "libvpx-vp9", v.container = "webm";
  });
  add("Vp9AltRef", [](TestVideo& v) {
    v.codec = "libvpx-vp9", v.container = "webm";
    v.options = {
        {"auto-alt-ref", "1"}, {"lag-in-frames", "16"}, {"deadline", "good"}, {"cpu-used", "5"}};
  });
  add("Vp8AltRef", [](TestVideo& v) {
    v.codec = "libvpx", v.container = "webm";
    v.options = {{"auto-alt-ref", "1"}, {"lag-in-frames", "16"}, {"cpu-used", "5"}};
  });
  add("Vp9Alpha", [](TestVideo& v) {
    v.codec = "libvpx-vp9", v.container = "webm", v.pixel_format = "yuva420p";
    v.options = {{"auto-alt-ref", "0"}, {"cpu-used", "5"}};
  });
  add("Hevc", [](TestVideo& v) {
    v.codec = "libx265", v.b_frames = 3;
    v.options["x265-params"] = "open-gop=1:keyint=12:log-level=none:pools=1:frame-threads=1";
  });
  add("HevcMkv10Bit", [](TestVideo& v) {
    v.codec = "libx265", v.container = "matroska", v.b_frames = 3, v.pixel_format = "yuv420p10le";
    v.options["x265-params"] = "open-gop=1:keyint=12:log-level=none:pools=1:frame-threads=1";
  });
  add("Mpeg4Avi", [](TestVideo& v) { v.codec = "mpeg4", v.container = "avi"; });
  add("Mpeg4AviBFrames",
      [](TestVideo& v) { v.codec = "mpeg4", v.container = "avi", v.b_frames = 2; });
  add("Mpeg2Ps",
      [](TestVideo& v) { v.codec = "mpeg2video", v.container = "mpeg", v.b_frames = 2; });
  add("Ffv1Gray",
      [](TestVideo& v) { v.codec = "ffv1", v.container = "nut", v.pixel_format = "gray"; });
  add("Ffv1Gray10", [](TestVideo& v) {
    v.codec = "ffv1", v.container = "matroska", v.pixel_format = "gray10le";
  });
  add("Ffv1Yuv422", [](TestVideo& v) {
    v.codec = "ffv1", v.container = "matroska", v.pixel_format = "yuv422p", v.width = 95;
  });
  add("Ffv1Yuv444",
      [](TestVideo& v) { v.codec = "ffv1", v.container = "matroska", v.pixel_format = "yuv444p"; });
  add("Ffv1Yuv420p10", [](TestVideo& v) {
    v.codec = "ffv1", v.container = "matroska", v.pixel_format = "yuv420p10le";
  });
  add("Ffv1Gbrp", [](TestVideo& v) {
    v.codec = "ffv1", v.container = "matroska", v.pixel_format = "gbrp10le";
  });
  add("Ffv1Alpha", [](TestVideo& v) {
    v.codec = "ffv1", v.container = "matroska", v.pixel_format = "yuva420p";
  });
  return all;
}

class EveryStretch : public testing::TestWithParam<Case> {};

TEST_P(EveryStretch, AddsUpToTheStraightDecode) {
  MemorySource source(make_video(GetParam().video));
  auto info = probe(source, "video");
  ASSERT_TRUE(info.ok()) << info.error().message;
  const auto plain = decode_plainly(source, info->video_stream);
  ASSERT_GE(plain.size(), 40U);
  for (const int threads : {1, 2, 4}) {
    ReadRequest whole;
    whole.stream = info->video_stream;
    whole.threads = threads;
    const auto straight = read_frames(source, *info, whole);
    EXPECT_TRUE(same_frames(straight.frames, plain)) << threads << " threads";
    EXPECT_EQ(straight.report.decode_errors, 0U);
    EXPECT_FALSE(straight.report.reread_single_threaded);
    for (const double seconds : {0.1, 0.5}) {
      EXPECT_TRUE(same_frames(read_in_stretches(source, *info, seconds, threads), plain))
          << threads << " threads, stretches of " << seconds << " s";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Videos, EveryStretch, testing::ValuesIn(cases()),
                         [](const auto& c) { return std::string(c.param.name); });

std::vector<std::byte> with_flipped_bits(std::vector<std::byte> bytes, uint64_t seed) {
  // In the middle, where the packets are, not in the headers at either end.
  uint64_t state = seed * 0x9e3779b97f4a7c15U + 1;
  for (int i = 0; i < 6; ++i) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    const size_t at = bytes.size() / 3 + (state >> 33) % (bytes.size() / 3);
    bytes[at] ^= static_cast<std::byte>(1U << ((state >> 20) % 8));
  }
  return bytes;
}

class Damaged : public testing::TestWithParam<Case> {};

TEST_P(Damaged, GivesTheSameFramesForAnyNumberOfThreads) {
  TestVideo video = GetParam().video;
  video.width = 192, video.height = 128;
  const auto sound = make_video(video);
  for (uint64_t seed = 0; seed < 6; ++seed) {
    MemorySource source(seed == 0 ? std::vector<std::byte>(sound.begin(), sound.end() - 700)
                                  : with_flipped_bits(sound, seed));
    auto info = probe(source, "video");
    if (!info.ok() || info->video_stream < 0) continue;  // the headers are gone
    uint64_t errors = 0;
    const auto one = read_in_stretches(source, *info, 0.5, 1, &errors);
    for (const int threads : {2, 4}) {
      uint64_t others = 0;
      EXPECT_TRUE(same_frames(read_in_stretches(source, *info, 0.5, threads, &others), one))
          << threads << " threads, seed " << seed;
      EXPECT_EQ(others, errors) << threads << " threads, seed " << seed;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Videos, Damaged, testing::ValuesIn([] {
                           std::vector<Case> some;
                           for (Case& c : cases()) {
                             for (const char* name :
                                  {"H264BFrames", "H264Mkv", "H264Ts", "OpenGop", "IntraRefresh",
                                   "Vp9AltRef", "Vp9Alpha", "Hevc", "Mpeg4Avi", "Mpeg2Ps",
                                   "Ffv1Yuv422"}) {
                               if (std::string_view(c.name) == name) some.push_back(c);
                             }
                           }
                           return some;
                         }()),
                         [](const auto& c) { return std::string(c.param.name); });

ReadRequest all_of(const MediaInfo& info) {
  ReadRequest request;
  request.stream = info.video_stream;
  return request;
}

// The samples of one raw frame, as FrameReader gives them.
Result<DecodedFrame> first_frame(const TestVideo& video, int width = 0, int height = 0) {
  MemorySource source(make_video(video));
  const MediaInfo info = TRY(probe(source, "video"));
  ReadRequest request = all_of(info);
  request.width = width;
  request.height = height;
  auto reader = TRY(FrameReader::open(source, info, request));
  auto frame = TRY(reader->next());
  if (!frame) return make_error(Code::internal, "no frame");
  return std::move(*frame);
}

TestVideo raw(const char* format) {
  TestVideo video;
  video.codec = "rawvideo";
  video.container = "nut";
  video.pixel_format = format;
  video.frames = 2;
  return video;
}

unsigned sample(const FrameView& view, size_t plane, int x, int y) {
  const std::byte* row = view.plane[plane].data + y * view.plane[plane].stride;
  return view.format.depth > 8 ? reinterpret_cast<const uint16_t*>(row)[x]
                               : static_cast<unsigned>(row[x]);
}

TEST(FrameReader, SemiPlanarPicturesComeOutPlanarWithNothingLost) {
  auto planar = first_frame(raw("yuv420p"));
  auto semi = first_frame(raw("nv12"));
  ASSERT_TRUE(planar.ok() && semi.ok());
  EXPECT_EQ(semi->view.format, planar->view.format);
  // The generator writes bytes in memory order: U and V interleave in the second plane.
  for (int y = 0; y < 32; ++y) {
    for (int x = 0; x < 48; ++x) {
      const auto byte = [&](int at) { return sample(planar->view, 1, at, y); };
      if (2 * x + 1 < 48) {
        ASSERT_EQ(sample(semi->view, 1, x, y), byte(2 * x));
        ASSERT_EQ(sample(semi->view, 2, x, y), byte(2 * x + 1));
      }
    }
  }
}

TEST(FrameReader, PackedRgbComesOutAsThreePlanes) {
  auto gray = first_frame(raw("gray"));
  for (const char* name : {"rgb24", "bgr24"}) {
    auto rgb = first_frame(raw(name));
    ASSERT_TRUE(gray.ok() && rgb.ok()) << rgb.error().message;
    EXPECT_EQ(rgb->view.format.family, PixelFormat::Family::rgb);
    const bool swapped = std::string_view(name) == "bgr24";
    for (int x = 0; x < 32; ++x) {
      for (int c = 0; c < 3; ++c) {
        ASSERT_EQ(sample(rgb->view, static_cast<size_t>(swapped ? 2 - c : c), x, 5),
                  sample(gray->view, 0, 3 * x + c, 5));
      }
    }
  }
}

TEST(FrameReader, EveryPixelFormatOfCommonDecodersIsReadOrRefusedInASentence) {
  for (const char* name :
       {"yuyv422",     "uyvy422",  "nv16",    "nv21",     "p010le",    "rgba",
        "bgra",        "argb",     "0rgb",    "rgb565le", "rgb48le",   "rgba64be",
        "gray10le",    "gray16be", "ya8",     "ya16le",   "monow",     "monob",
        "yuv420p10be", "yuv411p",  "yuv410p", "yuvj420p", "gbrap12le", "yuva444p10le"}) {
    auto frame = first_frame(raw(name));
    ASSERT_TRUE(frame.ok()) << name << ": " << frame.error().message;
    EXPECT_EQ(frame->view.width, 96) << name;
    uint64_t sum = 0;
    for (int p = 0; p < frame->view.format.planes(); ++p) {
      for (int y = 0; y < frame->view.plane_height(p); ++y) {
        for (int x = 0; x < frame->view.plane_width(p); ++x) {
          const unsigned value = sample(frame->view, static_cast<size_t>(p), x, y);
          ASSERT_LT(value, 1U << 16) << name;
          sum += value;
        }
      }
    }
    EXPECT_GT(sum, 0U) << name;
  }
}

TEST(FrameReader, PalettesBecomeRgbWithAlpha) {
  TestVideo video = raw("pal8");
  video.codec = "png";  // raw video in NUT would lose its palette
  auto frame = first_frame(video);
  ASSERT_TRUE(frame.ok()) << frame.error().message;
  EXPECT_EQ(frame->view.format, (PixelFormat{PixelFormat::Family::rgb, 8, 0, 0, true}));
  // The generator's palette: entry i is opaque and (i, i xor 0x55, 255 - i).
  for (int x = 0; x < 96; ++x) {
    const unsigned red = sample(frame->view, 0, x, 7);
    ASSERT_EQ(sample(frame->view, 1, x, 7), red ^ 0x55U) << x;
    ASSERT_EQ(sample(frame->view, 2, x, 7), 255U - red) << x;
    ASSERT_EQ(sample(frame->view, 3, x, 7), 255U) << x;
  }
}

TEST(FrameReader, ScalesToTheSizeAskedFor) {
  TestVideo video;
  video.codec = "ffv1", video.container = "matroska", video.frames = 1;
  for (const char* format : {"yuv420p", "yuv420p10le", "gbrp10le", "gray"}) {
    video.pixel_format = format;
    auto big = first_frame(video);
    auto small = first_frame(video, 48, 32);
    ASSERT_TRUE(big.ok() && small.ok()) << format;
    EXPECT_EQ(small->view.width, 48);
    EXPECT_EQ(small->view.height, 32);
    EXPECT_EQ(small->view.format, big->view.format);
    double mean_big = 0;
    double mean_small = 0;
    for (int y = 0; y < 64; ++y) {
      for (int x = 0; x < 96; ++x) mean_big += sample(big->view, 0, x, y) / (96.0 * 64);
    }
    for (int y = 0; y < 32; ++y) {
      for (int x = 0; x < 48; ++x) mean_small += sample(small->view, 0, x, y) / (48.0 * 32);
    }
    EXPECT_NEAR(mean_small, mean_big, mean_big * 0.03) << format;
  }
}

TEST(FrameReader, RefusesInterlacedVideoInASentence) {
  TestVideo video;
  video.codec = "mpeg2video", video.container = "mpegts", video.interlaced = true;
  video.options["field_order"] = "tt";
  MemorySource source(make_video(video));
  auto info = probe(source, "video");
  ASSERT_TRUE(info.ok());
  EXPECT_TRUE(info->streams[0].video.interlaced);
  auto reader = FrameReader::open(source, *info, all_of(*info));
  ASSERT_FALSE(reader.ok());
  EXPECT_EQ(reader.error().code, Code::invalid_input);
  EXPECT_THAT(reader.error().message, testing::HasSubstr("interlaced"));
}

// Fails after some reads, as a store that loses its connection or whose object is replaced.
class FailingSource final : public ByteSource {
 public:
  FailingSource(std::vector<std::byte> bytes, Code code) : inner_(std::move(bytes)), code_(code) {}
  uint64_t size() const override { return inner_.size(); }
  Result<size_t> read_at(uint64_t offset, std::span<std::byte> into) override {
    if (reads_left > 0 && --reads_left == 0) reads_left = -1;
    if (reads_left < 0) return make_error(code_, "the source says so");
    return inner_.read_at(offset, into);
  }
  int reads_left = 0;  // 0: no limit

 private:
  MemorySource inner_;
  Code code_;
};

TEST(FrameReader, AnErrorOfTheSourceComesThroughUnchanged) {
  TestVideo video;
  video.width = 640, video.height = 480, video.options["crf"] = "5", video.frames = 60;
  for (const Code code : {Code::conflict, Code::unavailable}) {
    FailingSource source(make_video(video), code);
    auto info = probe(source, "video");
    ASSERT_TRUE(info.ok());
    for (const int reads : {1, 3, 20}) {
      source.reads_left = 0;
      ReadRequest request = all_of(*info);
      source.reads_left = reads;
      auto reader = FrameReader::open(source, *info, request);
      Result<void> end;
      if (!reader.ok()) end = reader.error();
      while (end.ok()) {
        auto frame = (*reader)->next();
        if (!frame.ok()) {
          end = frame.error();
        } else if (!frame->has_value()) {
          break;
        }
      }
      ASSERT_FALSE(end.ok()) << reads;
      EXPECT_EQ(end.error().code, code);
      EXPECT_EQ(end.error().message, "the source says so");
    }
  }
}

TEST(FrameReader, Hdr10SideDataIsFoundAndTravelsWithTheFrames) {
  TestVideo video;
  video.codec = "libx265", video.container = "matroska", video.pixel_format = "yuv420p10le";
  video.frames = 12;
  video.color = {9, 9, 16, ColorSpec::Range::limited, ColorSpec::Siting::top_left};
  video.options["x265-params"] =
      "log-level=none:pools=1:hdr10=1:max-cll=1000,400:master-display="
      "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)";
  MemorySource source(make_video(video));
  auto info = probe(source, "video");
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->streams[0].video.color.transfer, 16);
  auto hdr = read_hdr_metadata(source, *info);
  ASSERT_TRUE(hdr.ok());
  EXPECT_FALSE(hdr->mastering_display.empty());
  EXPECT_FALSE(hdr->content_light.empty());
  auto reader = FrameReader::open(source, *info, all_of(*info));
  ASSERT_TRUE(reader.ok());
  auto frame = (*reader)->next();
  ASSERT_TRUE(frame.ok() && frame->has_value());
  EXPECT_EQ((*frame)->view.color, video.color);
  ASSERT_NE((*frame)->extras, nullptr);
  const FramePtr carrier = make_frame();
  ASSERT_TRUE((*frame)->extras->attach_to(*carrier).ok());
  EXPECT_NE(av_frame_get_side_data(carrier.get(), AV_FRAME_DATA_CONTENT_LIGHT_LEVEL), nullptr);
}

}  // namespace
}  // namespace atelier::media
