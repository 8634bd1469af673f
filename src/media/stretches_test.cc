// SPDX-License-Identifier: Apache-2.0
// Stretches that follow each other: reading on gives what reading anew gives, and deinterlacing
// does not see where a stretch ends.
#include <gtest/gtest.h>

#include "media/deinterlacer.h"
#include "media/frame_reader.h"
#include "media/test_video.h"

namespace atelier::media {
namespace {

using test::cut;
using test::FrameId;
using test::identify;
using test::make_video;
using test::read_frames;
using test::TestVideo;

class CountingSource final : public ByteSource {
 public:
  explicit CountingSource(ByteSource& source) : source_(source) {}
  uint64_t size() const override { return source_.size(); }
  Result<size_t> read_at(uint64_t offset, std::span<std::byte> into) override {
    auto got = source_.read_at(offset, into);
    if (got.ok()) read_ += *got;
    return got;
  }
  uint64_t read_ = 0;

 private:
  ByteSource& source_;
};

std::vector<FrameId> read_all(FrameReader& reader) {
  std::vector<FrameId> frames;
  for (;;) {
    auto frame = reader.next();
    EXPECT_TRUE(frame.ok()) << frame.error().message;
    if (!frame.ok() || !*frame) return frames;
    frames.push_back(identify(**frame));
  }
}

// Every stretch by a reader that goes on where it can; how often it could is counted.
std::vector<FrameId> read_on(ByteSource& source, const MediaInfo& info,
                             const std::vector<ReadRequest>& requests, int& went_on) {
  std::vector<FrameId> frames;
  std::unique_ptr<FrameReader> reader;
  for (const ReadRequest& request : requests) {
    if (reader && reader->go_on(request)) {
      ++went_on;
    } else {
      reader = FrameReader::open(source, info, request).value();
    }
    const auto part = read_all(*reader);
    EXPECT_EQ(reader->report().frames, part.size());
    frames.insert(frames.end(), part.begin(), part.end());
  }
  return frames;
}

std::vector<FrameId> read_anew(ByteSource& source, const MediaInfo& info,
                               const std::vector<ReadRequest>& requests) {
  std::vector<FrameId> frames;
  for (const ReadRequest& request : requests) {
    const auto part = read_frames(source, info, request).frames;
    frames.insert(frames.end(), part.begin(), part.end());
  }
  return frames;
}

std::vector<ReadRequest> requests_of(ByteSource& source, const MediaInfo& info, double seconds) {
  const auto scan = scan_packets(source, info, {}, {}).value();
  return cut(scan, info.video_stream, seconds, 1);
}

TEST(GoingOn, GivesTheFramesOfANewReader) {
  for (const char* codec : {"libx264", "mpeg4", "mpeg2video"}) {
    SCOPED_TRACE(codec);
    TestVideo video;
    video.codec = codec, video.container = "matroska", video.frames = 60, video.gop = 25;
    video.b_frames = 2;
    auto bytes = make_video(video);
    // Damage must not make a difference either.
    for (size_t i = bytes.size() / 2; i < bytes.size() / 2 + 400; i += 7) bytes[i] ^= std::byte{9};
    MemorySource source(bytes);
    const auto info = probe(source, "test").value();
    const auto requests = requests_of(source, info, 0.2);
    int went_on = 0;
    EXPECT_EQ(read_on(source, info, requests, went_on), read_anew(source, info, requests));
    EXPECT_GT(went_on, 3);
  }
}

TEST(GoingOn, ReadsAFileOfOneKeyFrameOnce) {
  TestVideo video;
  video.frames = 100, video.gop = 1000, video.width = 256, video.height = 192;
  MemorySource bytes(make_video(video));
  CountingSource source(bytes);
  const auto info = probe(source, "test").value();
  const auto requests = requests_of(source, info, 0.2);
  ASSERT_GT(requests.size(), 10u);
  source.read_ = 0;
  int went_on = 0;
  EXPECT_EQ(read_on(source, info, requests, went_on).size(), 100u);
  EXPECT_EQ(went_on, static_cast<int>(requests.size()) - 1);
  EXPECT_LT(source.read_, 3 * source.size());
}

TEST(GoingOn, IsRefusedWhereAnotherKeyFrameWouldBeTheStart) {
  TestVideo video;
  video.frames = 40, video.gop = 10;
  MemorySource source(make_video(video));
  const auto info = probe(source, "test").value();
  auto requests = requests_of(source, info, 0.4);
  ASSERT_GT(requests.size(), 2u);
  const auto reader = FrameReader::open(source, info, requests[0]).value();
  EXPECT_FALSE(reader->go_on(requests[1])) << "the stretch has not ended";
  read_all(*reader);
  EXPECT_FALSE(reader->go_on(requests[2])) << "one is left out";
  EXPECT_FALSE(reader->go_on(requests[1])) << "a new reader would start at its own key frame";
  EXPECT_TRUE(read_all(*reader).empty());
}

FramePtr striped(int number, bool interlaced, int width = 32) {
  FramePtr frame = make_frame();
  frame->format = AV_PIX_FMT_YUV420P;
  frame->width = width;
  frame->height = 16;
  EXPECT_EQ(av_frame_get_buffer(frame.get(), 0), 0);
  for (int p = 0; p < 3; ++p) {
    for (int y = 0; y < (p == 0 ? 16 : 8); ++y) {
      for (int x = 0; x < (p == 0 ? width : width / 2); ++x) {
        frame->data[p][y * frame->linesize[p] + x] =
            static_cast<uint8_t>((x * 5 + y * (3 + p) + number * (7 + y % 2 * 11)) & 255);
      }
    }
  }
  frame->pts = 1000 - number;  // nothing may depend on times
  frame->interlaced_frame = interlaced;
  frame->top_field_first = 1;
  return frame;
}

using Picture = std::vector<uint8_t>;

Picture samples(const AVFrame& frame) {
  Picture all;
  for (int y = 0; y < frame.height; ++y) {
    all.insert(all.end(), frame.data[0] + y * frame.linesize[0],
               frame.data[0] + y * frame.linesize[0] + frame.width);
  }
  return all;
}

std::vector<Picture> deinterlace(const std::vector<bool>& flags, size_t begin, size_t end,
                                 int wider_from = 1000) {
  Deinterlacer filter;
  std::vector<Picture> out;
  const FramePtr shown = make_frame();
  const auto take = [&] {
    while (filter.pull(*shown).value()) {
      EXPECT_EQ(shown->pts, 1000 - static_cast<int64_t>(begin + out.size()));
      out.push_back(samples(*shown));
    }
  };
  for (size_t i = begin; i < end; ++i) {
    const int n = static_cast<int>(i);
    const FramePtr frame = striped(n, flags[i], n < wider_from ? 32 : 48);
    EXPECT_TRUE(filter.push(*frame).ok());
    take();
  }
  EXPECT_TRUE(filter.finish().ok());
  take();
  EXPECT_EQ(out.size(), end - begin);
  return out;
}

TEST(Deinterlacer, APictureFollowsFromItsNeighboursAlone) {
  // Progressive frames in between, one at a border, one alone.
  const std::vector<bool> flags = {true,  true, false, false, true, true,
                                   false, true, false, true,  true, true};
  const auto whole = deinterlace(flags, 0, flags.size());
  for (size_t begin = 1; begin + 1 < flags.size(); ++begin) {
    for (size_t end = begin + 1; end < flags.size(); ++end) {
      const auto part = deinterlace(flags, begin - 1, end + 1);
      for (size_t i = begin; i < end; ++i) {
        EXPECT_EQ(part[i - begin + 1], whole[i]) << begin << " to " << end << ", frame " << i;
      }
    }
  }
}

TEST(Deinterlacer, ProgressiveFramesStayAsTheyAre) {
  const std::vector<bool> flags = {true, false, true, false, false, true};
  const auto whole = deinterlace(flags, 0, flags.size());
  for (int i = 0; i < 6; ++i) {
    const bool kept = whole[static_cast<size_t>(i)] == samples(*striped(i, false));
    EXPECT_EQ(kept, !flags[static_cast<size_t>(i)]) << i;
  }
}

TEST(Deinterlacer, AnotherSizeOnTheWayIsANewBeginning) {
  const std::vector<bool> flags(8, true);
  const auto whole = deinterlace(flags, 0, 8, 4);
  EXPECT_EQ(whole[3].size(), 32u * 16u);
  EXPECT_EQ(whole[4].size(), 48u * 16u);
}

TEST(Deinterlacer, APictureTooSmallForFieldsIsRefusedInASentence) {
  FramePtr frame = make_frame();
  frame->format = AV_PIX_FMT_YUV420P, frame->width = 2, frame->height = 2;
  ASSERT_EQ(av_frame_get_buffer(frame.get(), 0), 0);
  Deinterlacer filter;
  const auto pushed = filter.push(*frame);
  ASSERT_FALSE(pushed.ok());
  EXPECT_EQ(pushed.error().code, Code::invalid_input);
}

TEST(Stretches, DeinterlacedOnesAddUpToTheStraightRun) {
  TestVideo video;
  video.codec = "mpeg2video", video.container = "mpegts", video.interlaced = true;
  video.frames = 40, video.gop = 9, video.b_frames = 2;
  MemorySource source(make_video(video));
  const auto info = probe(source, "test").value();
  ReadRequest straight;
  straight.stream = info.video_stream;
  straight.deinterlace = true;
  const auto whole = read_frames(source, info, straight);
  EXPECT_EQ(whole.frames.size(), 40u);
  EXPECT_EQ(whole.report.interlaced, 40u);

  const auto scan = scan_packets(source, info, {}, {}).value();
  std::vector<int64_t> times;
  for (const auto& packet : scan.packets) times.push_back(packet.pts);
  std::sort(times.begin(), times.end());
  std::vector<ReadRequest> requests;
  for (size_t at = 0; at < times.size(); at += 7) {
    ReadRequest part = straight;
    part.first_pts = times[at];
    if (at + 7 < times.size()) part.end_pts = times[at + 7];
    if (at > 0) part.context_pts = times[at - 1];
    for (const auto& packet : scan.packets) {
      if (packet.key && packet.pts <= times[at > 0 ? at - 1 : 0]) part.key_dts = packet.dts;
    }
    requests.push_back(part);
  }
  EXPECT_EQ(read_anew(source, info, requests), whole.frames);
  int went_on = 0;
  EXPECT_EQ(read_on(source, info, requests, went_on), whole.frames);
  EXPECT_GT(went_on, 0);
}

}  // namespace
}  // namespace atelier::media
