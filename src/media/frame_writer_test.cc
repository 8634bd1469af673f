// SPDX-License-Identifier: Apache-2.0
#include "media/frame_writer.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <mutex>
#include <set>

#include "base/hash.h"
#include "media/av.h"
#include "media/encoder_format.h"

extern "C" {
#include <libavutil/mastering_display_metadata.h>
}

namespace atelier::media {
namespace {

using Family = PixelFormat::Family;

FrameBuffer picture(const EncodeSettings& settings, int number) {
  FrameBuffer buffer(settings.width, settings.height, settings.format, settings.color);
  const FrameView& view = buffer.view();
  const unsigned mask = (1U << settings.format.depth) - 1;
  for (int p = 0; p < settings.format.planes(); ++p) {
    const auto& plane = view.plane[static_cast<size_t>(p)];
    for (int y = 0; y < view.plane_height(p); ++y) {
      for (int x = 0; x < view.plane_width(p); ++x) {
        const unsigned value =
            static_cast<unsigned>((x + number) * 3 + y * 5 + p * 77 + (x * y) % 7) * 3 & mask;
        std::byte* at = plane.data + y * plane.stride + x * settings.format.bytes_per_sample();
        at[0] = static_cast<std::byte>(value);
        if (settings.format.depth > 8) at[1] = static_cast<std::byte>(value >> 8);
      }
    }
  }
  return buffer;
}

EncodeSettings small(const std::string& codec = "libx264") {
  EncodeSettings settings;
  settings.codec = codec;
  settings.width = 64;
  settings.height = 48;
  settings.time_base = {1, 25};
  settings.frame_rate = {25, 1};
  return settings;
}

Result<std::vector<std::byte>> encode(const EncodeSettings& settings,
                                      const std::vector<int64_t>& pts) {
  MemorySink sink;
  auto writer = TRY(FrameWriter::create(settings, sink));
  for (size_t i = 0; i < pts.size(); ++i) {
    const FrameBuffer frame = picture(settings, static_cast<int>(i));
    TRY(writer->write(frame.view(), pts[i], 1, nullptr));
  }
  const EncodeReport report = TRY(writer->finish());
  EXPECT_EQ(report.frames, pts.size());
  EXPECT_EQ(report.bytes, sink.bytes().size());
  return sink.take();
}

std::vector<int64_t> count_to(int n) {
  std::vector<int64_t> pts;
  for (int i = 0; i < n; ++i) pts.push_back(i);
  return pts;
}

struct Decoded {
  CodecParametersPtr parameters{avcodec_parameters_alloc()};
  AVRational time_base{};
  std::vector<FramePtr> frames;
  std::vector<int> flags;  // of the packets
};

Decoded decode(std::vector<std::byte> bytes) {
  Decoded decoded;
  MemorySource source(std::move(bytes));
  auto input = Input::open(source, "chunk");
  EXPECT_TRUE(input.ok()) << input.error().message;
  if (!input.ok()) return decoded;
  AVStream& stream = *(*input)->stream(0);
  decoded.time_base = stream.time_base;
  avcodec_parameters_copy(decoded.parameters.get(), stream.codecpar);
  const AVCodec* codec = avcodec_find_decoder(stream.codecpar->codec_id);
  CodecContextPtr context(avcodec_alloc_context3(codec));
  avcodec_parameters_to_context(context.get(), stream.codecpar);
  EXPECT_GE(avcodec_open2(context.get(), codec, nullptr), 0);
  const auto take = [&] {
    for (FramePtr frame = make_frame(); avcodec_receive_frame(context.get(), frame.get()) >= 0;) {
      decoded.frames.push_back(std::move(frame));
      frame = make_frame();
    }
  };
  PacketPtr packet = make_packet();
  while ((*input)->read(*packet).value()) {
    decoded.flags.push_back(packet->flags);
    avcodec_send_packet(context.get(), packet.get());
    take();
  }
  avcodec_send_packet(context.get(), nullptr);
  take();
  return decoded;
}

TEST(FrameWriter, DrainsTheEncoderWhateverTheNumberOfFrames) {
  for (const int n : {1, 2, 3, 25}) {
    auto bytes = encode(small(), count_to(n));
    ASSERT_TRUE(bytes.ok()) << bytes.error().message;
    const Decoded decoded = decode(*bytes);
    EXPECT_EQ(decoded.frames.size(), static_cast<size_t>(n));
    EXPECT_TRUE(decoded.flags.at(0) & AV_PKT_FLAG_KEY);
  }
}

TEST(FrameWriter, KeepsVariableTimesExactlyInAnyTimeBase) {
  for (const Rational base : {Rational{1, 57600}, Rational{1001, 30000}, Rational{1, 1000000},
                              Rational{1, 30}, Rational{3, 125}, Rational{1, 90000}}) {
    EncodeSettings settings = small();
    settings.time_base = base;
    settings.frame_rate = {0, 1};
    const std::vector<int64_t> pts{0, 1, 5, 6, 7, 40, 41, 50, 51, 52, 1000, 1001, 99999};
    auto bytes = encode(settings, pts);
    ASSERT_TRUE(bytes.ok()) << bytes.error().message;
    const Decoded decoded = decode(*bytes);
    ASSERT_EQ(decoded.frames.size(), pts.size());
    for (size_t i = 0; i < pts.size(); ++i) {
      EXPECT_EQ(av_compare_ts(decoded.frames[i]->pts, decoded.time_base, pts[i], to_av(base)), 0)
          << base.num << "/" << base.den << " frame " << i;
    }
  }
}

TEST(FrameWriter, KeepsOddSizesExactly) {
  for (const auto& [width, height] : {std::pair{161, 121}, {1, 1}, {160, 121}, {161, 120}}) {
    EncodeSettings settings = small();
    settings.width = width;
    settings.height = height;
    auto choice = choose_format("libx264", PixelFormat{}, width, height);
    ASSERT_TRUE(choice.ok());
    EXPECT_NE(choice->note, "");
    settings.format = choice->format;
    auto bytes = encode(settings, count_to(3));
    ASSERT_TRUE(bytes.ok()) << bytes.error().message;
    const Decoded decoded = decode(*bytes);
    ASSERT_EQ(decoded.frames.size(), 3U);
    EXPECT_EQ(decoded.frames[0]->width, width);
    EXPECT_EQ(decoded.frames[0]->height, height);
  }
}

TEST(FrameWriter, Ffv1ReturnsEverySampleOfEveryFormatItTakes) {
  int tried = 0;
  for (const Family family : {Family::gray, Family::yuv, Family::rgb}) {
    for (const int depth : {8, 9, 10, 12, 14, 16}) {
      for (const auto& [sx, sy] : {std::pair{0, 0}, {1, 0}, {1, 1}, {0, 1}, {2, 0}}) {
        for (const bool alpha : {false, true}) {
          PixelFormat format{family, static_cast<uint8_t>(depth), static_cast<uint8_t>(sx),
                             static_cast<uint8_t>(sy), alpha};
          auto encoder = find_encoder("ffv1");
          ASSERT_TRUE(encoder.ok());
          if (encoder_pixel_format(**encoder, format) == AV_PIX_FMT_NONE) continue;
          EncodeSettings settings = small("ffv1");
          settings.width = sx == 2 ? 40 : 37;
          settings.height = 29;
          settings.format = format;
          auto bytes = encode(settings, count_to(2));
          ASSERT_TRUE(bytes.ok()) << bytes.error().message;
          const Decoded decoded = decode(*bytes);
          ASSERT_EQ(decoded.frames.size(), 2U);
          const AVFrame& got = *decoded.frames[1];
          const FrameBuffer want = picture(settings, 1);
          const bool packed = got.format == AV_PIX_FMT_BGR0 || got.format == AV_PIX_FMT_BGRA;
          for (int p = 0; p < format.planes(); ++p) {
            const auto& plane = want.view().plane[static_cast<size_t>(p)];
            const int q = family == Family::rgb && p < 3 ? (p + 2) % 3 : p;
            const int size = format.bytes_per_sample();
            int wrong = 0;
            for (int y = 0; y < want.view().plane_height(p); ++y) {
              for (int x = 0; x < want.view().plane_width(p) * size; ++x) {
                const uint8_t sample =
                    packed ? got.data[0][y * got.linesize[0] + 4 * x + (p < 3 ? 2 - p : 3)]
                           : got.data[q][y * got.linesize[q] + x];
                wrong += sample != static_cast<uint8_t>(plane.data[y * plane.stride + x]);
              }
            }
            EXPECT_EQ(wrong, 0) << av_get_pix_fmt_name(static_cast<AVPixelFormat>(got.format))
                                << " plane " << p;
          }
          ++tried;
        }
      }
    }
  }
  EXPECT_GE(tried, 30);
}

TEST(FrameWriter, Ffv1ReturnsEverySampleOfTheSmallestPictures) {
  for (const auto& [width, height] : {std::pair{1, 1}, {1, 2}, {2, 1}, {3, 1}, {2, 2}}) {
    EncodeSettings settings = small("ffv1");
    settings.width = width;
    settings.height = height;
    auto bytes = encode(settings, count_to(3));
    ASSERT_TRUE(bytes.ok()) << bytes.error().message;
    const Decoded decoded = decode(*bytes);
    ASSERT_EQ(decoded.frames.size(), 3U) << width << "x" << height;
    for (int n = 0; n < 3; ++n) {
      const AVFrame& got = *decoded.frames[static_cast<size_t>(n)];
      ASSERT_EQ(got.width, width);
      ASSERT_EQ(got.height, height);
      ASSERT_EQ(got.format, AV_PIX_FMT_YUV420P);
      const FrameBuffer want = picture(settings, n);
      for (int p = 0; p < 3; ++p) {
        const auto& plane = want.view().plane[static_cast<size_t>(p)];
        for (int y = 0; y < want.view().plane_height(p); ++y) {
          for (int x = 0; x < want.view().plane_width(p); ++x) {
            EXPECT_EQ(got.data[p][y * got.linesize[p] + x],
                      static_cast<uint8_t>(plane.data[y * plane.stride + x]))
                << width << "x" << height << " frame " << n << " plane " << p;
          }
        }
      }
    }
  }
}

TEST(FrameWriter, WritesColoursAspectRatioAndRange) {
  EncodeSettings settings = small();
  settings.format.depth = 10;
  settings.sample_aspect_ratio = {128, 117};
  settings.color = {9, 9, 16, ColorSpec::Range::full, ColorSpec::Siting::top_left};
  auto bytes = encode(settings, count_to(2));
  ASSERT_TRUE(bytes.ok()) << bytes.error().message;
  const Decoded decoded = decode(*bytes);
  ASSERT_EQ(decoded.frames.size(), 2U);
  EXPECT_EQ(color_of(*decoded.frames[0]), settings.color);
  EXPECT_EQ(decoded.frames[0]->sample_aspect_ratio.num, 128);
  EXPECT_EQ(decoded.frames[0]->sample_aspect_ratio.den, 117);
  EXPECT_EQ(decoded.frames[0]->format, AV_PIX_FMT_YUV420P10LE);
}

TEST(FrameWriter, WritesALimitedRangeThatStandsAlone) {
  EncodeSettings settings = small();
  settings.color.range = ColorSpec::Range::limited;
  auto bytes = encode(settings, count_to(2));
  ASSERT_TRUE(bytes.ok()) << bytes.error().message;
  const Decoded decoded = decode(*bytes);
  ASSERT_EQ(decoded.frames.size(), 2U);
  EXPECT_EQ(decoded.frames[0]->color_range, AVCOL_RANGE_MPEG);
}

template <class T>
std::vector<std::byte> bytes_of(const T& value) {
  const auto view = std::as_bytes(std::span(&value, 1));
  return {view.begin(), view.end()};
}

TEST(FrameWriter, WritesHdr10MetadataIntoTheStream) {
  EncodeSettings settings = small();
  settings.format.depth = 10;
  AVMasteringDisplayMetadata display{};
  display.has_primaries = display.has_luminance = 1;
  const AVRational primaries[3][2] = {{{34000, 50000}, {16000, 50000}},
                                      {{13250, 50000}, {34500, 50000}},
                                      {{7500, 50000}, {3000, 50000}}};
  for (int c = 0; c < 3; ++c) {
    for (int i = 0; i < 2; ++i) display.display_primaries[c][i] = primaries[c][i];
  }
  display.white_point[0] = {15635, 50000};
  display.white_point[1] = {16450, 50000};
  display.max_luminance = {10000000, 10000};
  display.min_luminance = {50, 10000};
  settings.hdr.mastering_display = bytes_of(display);
  settings.hdr.content_light = bytes_of(AVContentLightMetadata{1000, 400});
  auto bytes = encode(settings, count_to(2));
  ASSERT_TRUE(bytes.ok()) << bytes.error().message;
  // libav 5.1 does not decode these messages of H.264: payloads 137 (24 bytes: G, B, R, white
  // point, luminance) and 144 (4 bytes) of H.264 D.2.29 and D.2.35.
  const std::string_view display_message(
      "\x06\x89\x18\x33\xc2\x86\xc4\x1d\x4c\x0b\xb8\x84\xd0\x3e\x80\x3d\x13\x40\x42"
      "\x00\x98\x96\x80\x00\x00\x03\x00\x32",
      28);
  const std::string_view light_message("\x06\x90\x04\x03\xe8\x01\x90", 7);
  EXPECT_NE(as_text(*bytes).find(display_message), std::string_view::npos);
  EXPECT_NE(as_text(*bytes).find(light_message), std::string_view::npos);
}

// libav says on its log alone that x264 did not take a parameter.
std::mutex g_log_mutex;
std::string g_log;
void take_log(void*, int level, const char* format, va_list arguments) {
  if (level > AV_LOG_WARNING) return;
  std::string line(512, '\0');
  const int size = std::vsnprintf(line.data(), line.size(), format, arguments);
  line.resize(std::min(line.size(), static_cast<size_t>(std::max(size, 0))));
  const std::lock_guard lock(g_log_mutex);
  g_log.append(line);
}

TEST(FrameWriter, X264TakesEveryParameterItIsGiven) {
  av_log_set_callback(take_log);
  auto bytes = encode(small(), count_to(2));
  av_log_set_callback(av_log_default_callback);
  ASSERT_TRUE(bytes.ok());
  EXPECT_EQ(g_log, "");
  // Its own record of its settings.
  EXPECT_NE(as_text(*bytes).find("lookahead_threads=1 sliced_threads=0"), std::string_view::npos);
  EXPECT_NE(as_text(*bytes).find("threads=4"), std::string_view::npos);
}

TEST(FrameWriter, BytesDoNotDependOnTheNumberOfCores) {
  EncodeSettings settings = small();
  settings.width = 320;
  settings.height = 240;
  cpu_set_t all;
  ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
  auto wide = encode(settings, count_to(40));
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int c = 0; c < CPU_SETSIZE; ++c) {
    if (CPU_ISSET(c, &all)) {
      CPU_SET(c, &one);
      break;
    }
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  auto narrow = encode(settings, count_to(40));
  sched_setaffinity(0, sizeof all, &all);
  ASSERT_TRUE(wide.ok());
  ASSERT_TRUE(narrow.ok());
  EXPECT_EQ(sha256_hex(*wide), sha256_hex(*narrow));
}

class FullSink final : public ByteSink {
 public:
  Result<void> write(std::span<const std::byte> bytes) override {
    room_ -= static_cast<ptrdiff_t>(bytes.size());
    if (room_ < 0) return make_error(Code::no_space, "The sink is full.");
    return {};
  }

 private:
  ptrdiff_t room_ = 100000;
};

TEST(FrameWriter, ReturnsTheSinksOwnError) {
  EncodeSettings settings = small("ffv1");
  settings.width = settings.height = 256;
  FullSink sink;
  auto writer = FrameWriter::create(settings, sink);
  ASSERT_TRUE(writer.ok());
  Result<void> last;
  for (int i = 0; i < 50 && last.ok(); ++i) {
    last = (*writer)->write(picture(settings, i).view(), i, 1, nullptr);
  }
  ASSERT_FALSE(last.ok());
  EXPECT_EQ(last.error().code, Code::no_space);
  EXPECT_EQ(last.error().message, "The sink is full.");
}

TEST(FrameWriter, RefusesWhatTheEncoderDoesNotKnow) {
  MemorySink sink;
  EncodeSettings settings = small();
  settings.options["no-such-option"] = "1";
  auto writer = FrameWriter::create(settings, sink);
  ASSERT_FALSE(writer.ok());
  EXPECT_EQ(writer.error().code, Code::invalid_argument);
  EXPECT_NE(writer.error().message.find("no-such-option"), std::string::npos);
  settings = small();
  for (const auto& [key, value] : {std::pair{"threads", "0"},
                                   {"x264-params", "ref=2:lookahead_threads=3"},
                                   {"x264-params", "stats=evil.log"},
                                   {"tune", "loud"}}) {
    settings.options = {{key, value}};
    EXPECT_EQ(FrameWriter::create(settings, sink).error().code, Code::invalid_argument) << value;
  }
  settings.options = {{"x264-params", "ref=2"}, {"tune", "film"}};
  EXPECT_TRUE(FrameWriter::create(settings, sink).ok());
  settings = small();
  settings.preset = "hasty";
  EXPECT_EQ(FrameWriter::create(settings, sink).error().code, Code::invalid_argument);
  settings = small("h263");
  EXPECT_EQ(FrameWriter::create(settings, sink).error().code, Code::invalid_argument);
}

TEST(FrameWriter, RefusesFramesOutOfOrder) {
  MemorySink sink;
  auto writer = FrameWriter::create(small(), sink);
  ASSERT_TRUE(writer.ok());
  EXPECT_FALSE((*writer)->write(picture(small(), 0).view(), 3, 1, nullptr).ok());
}

TEST(ChooseFormat, KeepsWhatTheCodecHoldsAndSaysWhatIsLost) {
  const auto choose = [](const std::string& codec, PixelFormat wanted) {
    return choose_format(codec, wanted).value();
  };
  for (const uint8_t depth : {uint8_t{8}, uint8_t{10}}) {
    for (const auto& [x, y] : {std::pair{0, 0}, {1, 0}, {1, 1}}) {
      const PixelFormat same{Family::yuv, depth, static_cast<uint8_t>(x), static_cast<uint8_t>(y),
                             false};
      EXPECT_EQ(choose("libx264", same).format, same);
      EXPECT_EQ(choose("libx264", same).note, "");
    }
  }
  const PixelFormat gray{Family::gray, 8, 0, 0, false};
  EXPECT_EQ(choose("libx264", gray).format, PixelFormat{});
  EXPECT_EQ(choose("libx264", gray).note, "");
  EXPECT_EQ(choose("ffv1", gray).format, gray);
  const FormatChoice alpha = choose("libx264", {Family::yuv, 8, 1, 1, true});
  EXPECT_EQ(alpha.format, PixelFormat{});
  EXPECT_NE(alpha.note.find("alpha"), std::string::npos);
  const FormatChoice deep = choose("libx264", {Family::yuv, 12, 1, 1, false});
  EXPECT_EQ(deep.format, (PixelFormat{Family::yuv, 10, 1, 1, false}));
  EXPECT_NE(deep.note.find("10 of the video's 12 bits"), std::string::npos);
  EXPECT_EQ(choose("libx264", {Family::yuv, 9, 1, 1, false}).format.depth, 10);
  const PixelFormat rgb{Family::rgb, 8, 0, 0, false};
  EXPECT_EQ(choose("ffv1", rgb).format, rgb);
  EXPECT_EQ(choose("libx264", rgb).format, (PixelFormat{Family::yuv, 8, 0, 0, false}));
  EXPECT_EQ(choose("libx264", {Family::yuv, 8, 2, 0, false}).format,
            (PixelFormat{Family::yuv, 8, 1, 0, false}));
  EXPECT_EQ(choose_format("h263", {}).error().code, Code::invalid_argument);
}

}  // namespace
}  // namespace atelier::media
