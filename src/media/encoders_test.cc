// SPDX-License-Identifier: Apache-2.0
// Every encoder: joined from chunks of one and two frames with variable times, the decoder sees
// what was in the chunks, when it was; and a writer may be dropped at any moment.
#include <gtest/gtest.h>

#include "base/file.h"
#include "media/encoder_choice.h"
#include "media/encoder_format.h"
#include "media/mux_testing.h"
#include "media/test_video.h"

namespace atelier::media::mux_test {
namespace {

using test::decode_plainly;
using test::FrameId;

class EveryEncoder : public testing::TestWithParam<const char*> {
 protected:
  static EncoderChoice choice() {
    EncoderWish wish;
    wish.codec = GetParam();
    return choose_encoder(wish, Container::matroska).value();
  }
  static JobOptions options() {
    JobOptions options;
    options.codec = choice().codec;
    options.preset = choice().preset;
    return options;
  }
  static EncodeSettings settings() {
    EncodeSettings settings;
    settings.codec = choice().codec;
    settings.crf = choice().crf;
    settings.preset = choice().preset;
    settings.width = settings.height = 64;
    if (settings.codec == "mjpeg") settings.color.range = ColorSpec::Range::full;
    settings.format = choose_format(settings.codec, {}, 64, 64).value().format;
    return settings;
  }
};

TEST_P(EveryEncoder, JoinsChunksOfOneAndTwoFramesWithVariableTimes) {
  test::TestVideo video;
  video.width = 80;
  video.height = 64;
  video.frames = 7;
  video.codec = "ffv1";
  video.container = "matroska";
  video.time_base = {1, 1000};
  video.pts = {0, 33, 34, 133, 166, 1000, 1033};
  if (choice().codec == "prores_ks") video.pixel_format = "yuv422p10le";
  if (choice().codec == "mjpeg") video.color.range = ColorSpec::Range::full;
  const MemorySource source(test::make_video(video));
  for (const int most : {1, 2}) {
    MemorySource input = source;
    JobOptions asked = options();
    asked.max_frames_per_chunk = most;
    auto job = make_job(input, asked);
    ASSERT_TRUE(job.ok()) << job.error().message;
    ASSERT_EQ(job->chunks.size(), most == 1 ? 7U : 4U);
    std::vector<FrameId> wanted;
    for (size_t i = 0; i < job->bytes.size(); ++i) {
      MemorySource chunk(job->bytes[i]);
      for (FrameId& frame : decode_plainly(chunk, 0)) wanted.push_back(std::move(frame));
    }
    ASSERT_EQ(wanted.size(), 7U);
    const TempFolder folder;
    const auto report = mux(job->request(Container::matroska, folder / "o.mkv"), {});
    ASSERT_TRUE(report.ok()) << report.error().message;
    EXPECT_EQ(report->video_frames, 7U);
    auto file = FileSource::open(folder / "o.mkv");
    ASSERT_TRUE(file.ok());
    const std::vector<FrameId> got = decode_plainly(**file, 0);
    ASSERT_EQ(got.size(), 7U);
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].hash, wanted[i].hash) << "frame " << i << ", chunks of " << most;
      EXPECT_EQ(got[i].pts, job->pts[i]) << "frame " << i;
    }
  }
}

TEST_P(EveryEncoder, MayBeDroppedAtAnyMoment) {
  for (const int frames : {0, 1, 3}) {
    MemorySink sink;
    auto writer = FrameWriter::create(settings(), sink);
    ASSERT_TRUE(writer.ok()) << writer.error().message;
    for (int i = 0; i < frames; ++i) {
      const FrameBuffer black(64, 64, settings().format, settings().color);
      ASSERT_TRUE((*writer)->write(black.view(), i, 1, nullptr).ok());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Codecs, EveryEncoder,
                         testing::Values("libx264", "libx265", "libsvtav1", "libaom-av1",
                                         "libvpx-vp9", "prores_ks", "ffv1", "mjpeg"),
                         [](const auto& codec) {
                           std::string name = codec.param;
                           std::erase_if(name, [](char c) { return !std::isalnum(c); });
                           return name;
                         });

}  // namespace
}  // namespace atelier::media::mux_test
