// SPDX-License-Identifier: Apache-2.0
#include "run/scorer.h"

#include <gtest/gtest.h>

#include "run/broker.h"
#include "run/fake_runner.h"
#include "run/prepare.h"
#include "store/memory_store.h"

namespace atelier::run {
namespace {

constexpr int kFrames = 25;
constexpr int kWidth = 16;
constexpr int kHeight = 8;

std::byte sample(int frame, int x, int y) {
  return static_cast<std::byte>((frame * 9 + x * 3 + y * 5) & 255);
}

// 25 fps, lossless, gray; so many frames show each picture.
std::vector<std::byte> make_video(int each = 1) {
  media::EncodeSettings settings;
  settings.codec = "ffv1";
  settings.width = kWidth;
  settings.height = kHeight;
  settings.format = {PixelFormat::Family::gray, 8, 0, 0, false};
  settings.time_base = {1, 25};
  MemorySink sink;
  auto writer = media::FrameWriter::create(settings, sink).value();
  for (int i = 0; i < kFrames; ++i) {
    FrameBuffer frame(kWidth, kHeight, settings.format, {});
    for (int y = 0; y < kHeight; ++y) {
      for (int x = 0; x < kWidth; ++x)
        (frame.view().plane[0].data + y * frame.view().plane[0].stride)[x] = sample(i / each, x, y);
    }
    EXPECT_TRUE(writer->write(frame.view(), i, 1, nullptr).ok());
  }
  EXPECT_TRUE(writer->finish().ok());
  return sink.take();
}

class ScorerTest : public testing::Test {
 protected:
  explicit ScorerTest(int each = 1) : input_(make_video(each)) {}
  void SetUp() override {
    info_ = media::probe(input_, "in.nut").value();
    Parameters parameters;
    parameters.chunk_seconds = 0.2;
    parameters.codec = "ffv1";
    const PrepareRequest request{
        {"file:///in.nut", "in.nut", "e1", input_.size()}, {"fake", "00", "", ""}, parameters};
    manifest_ = prepare(request, input_, info_, runner_, folder_, {}).value();
  }

  Result<void> score(std::stop_token stop = {}) {
    Ledger::Setup setup;
    setup.run_id = "run";
    setup.worker = fmt::format("worker{}", ++workers_);
    setup.chunks = static_cast<int>(manifest_.chunks.size());
    Ledger ledger(*store_, clock_, setup);
    const auto heart = Heart::start(ledger, progress_).value();
    Broker broker(folder_, manifest_, ledger, testing::TempDir());
    ScoreJob job;
    job.manifest = &manifest_;
    job.info = &info_;
    job.input = &input_;
    job.runner = &runner_;
    job.clock = &clock_;
    job.threads = 1;
    return score_chunks(job, broker, progress_, std::move(stop));
  }

  // What is committed shows every picture's negative in so many frames.
  void expect_negatives(int each) {
    int frame = 0;
    for (const ChunkPlan& chunk : manifest_.chunks) {
      const auto commit = folder_.read_commit(chunk.index).value().value();
      EXPECT_EQ(commit.frames, chunk.frames);
      EXPECT_EQ(commit.first_pts, chunk.first_pts);
      const auto bytes = folder_.open_chunk(commit).value();
      const auto info = media::probe(*bytes, "chunk.nut").value();
      media::ReadRequest request;
      request.stream = info.video_stream;
      const auto reader = media::FrameReader::open(*bytes, info, request).value();
      while (const auto decoded = reader->next().value()) {
        const auto& plane = decoded->view.plane[0];
        EXPECT_EQ((plane.data + 5 * plane.stride)[7],
                  static_cast<std::byte>(255 - std::to_integer<int>(sample(frame / each, 7, 5))));
        ++frame;
      }
    }
    EXPECT_EQ(frame, kFrames);
  }

  MemorySource input_;
  media::MediaInfo info_;
  std::unique_ptr<ObjectStore> store_ = make_memory_store();
  RunFolder folder_{*store_, "run"};
  FakeRunner runner_;
  SystemClock clock_;
  Manifest manifest_;
  Progress progress_;
  int workers_ = 0;
};

class RepeatedFrames : public ScorerTest {
 protected:
  RepeatedFrames() : ScorerTest(3) {}
};

TEST_F(RepeatedFrames, AreScoredOnceInEachChunk) {
  ASSERT_TRUE(score().ok());
  EXPECT_EQ(progress_.encoded, 25u);
  EXPECT_EQ(runner_.scored(), 2 + 3 + 2 + 2 + 3) << "pictures 00011 12223 33444 55566 67778";
  uint64_t repeated = 0;
  for (const ChunkPlan& chunk : manifest_.chunks) {
    repeated += folder_.read_commit(chunk.index).value().value().repeated;
  }
  EXPECT_EQ(repeated, 13u);
  expect_negatives(3);
}

TEST_F(RepeatedFrames, AreScoredOnceInGroups) {
  runner_.set_at_once(4);
  ASSERT_TRUE(score().ok());
  EXPECT_EQ(runner_.scored(), 12);
  expect_negatives(3);
}

TEST_F(ScorerTest, SmallFramesAreScoredInGroupsWithinAChunk) {
  runner_.set_at_once(4);
  ASSERT_TRUE(score().ok());
  EXPECT_EQ(runner_.largest_group(), 4u) << "chunks of 5: 4 and 1";
  EXPECT_EQ(progress_.scored, 25u);
  expect_negatives(1);
}

TEST_F(ScorerTest, EveryFrameOfEveryChunkIsPaintedOnce) {
  ASSERT_EQ(manifest_.chunks.size(), 5u);
  ASSERT_TRUE(score().ok());
  EXPECT_EQ(progress_.encoded, 25u);
  expect_negatives(1);
}

TEST_F(ScorerTest, AFailureEndsAWorkerThatWaitsForTheChunksOfOthers) {
  Ledger::Setup setup;
  setup.run_id = "run";
  setup.worker = "busy";
  setup.chunks = static_cast<int>(manifest_.chunks.size());
  setup.share = {4, 5};
  Ledger busy(*store_, clock_, setup);
  const auto heart = Heart::start(busy, progress_).value();
  EXPECT_EQ(busy.claim()->claim.chunk, 4);
  runner_.fail_at(18);  // in chunk 3, while the decoder waits for chunk 4
  EXPECT_EQ(score().error().message, "The runner broke.");
}

TEST_F(ScorerTest, PreparingAgainReadsTheManifestBack) {
  const PrepareRequest other{{"file:///in.nut", "in.nut", "e1", 1}, {"other", "11", "", ""}, {}};
  EXPECT_EQ(prepare(other, input_, info_, runner_, folder_, {}).value().model.name, "fake");
}

TEST_F(ScorerTest, AFailureKeepsWhatWasCommittedAndTheNextCallScoresTheRest) {
  runner_.fail_at(12);
  EXPECT_EQ(score().error().message, "The runner broke.");
  EXPECT_FALSE(folder_.read_commit(2).value().has_value()) << "frame 12 is in chunk 2";
  size_t before = 0;
  for (int i = 0; i < 5; ++i) before += folder_.read_commit(i).value() ? 5 : 0;
  runner_.fail_at(-1);
  const int scored_before = runner_.scored();
  ASSERT_TRUE(score().ok());
  EXPECT_EQ(runner_.scored() - scored_before, kFrames - static_cast<int>(before));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(folder_.read_commit(i).value().has_value());
}

TEST_F(ScorerTest, StopEndsItAsCancelled) {
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(score(stop.get_token()).error().code, Code::cancelled);
}

TEST_F(ScorerTest, NothingToDoIsDone) {
  ASSERT_TRUE(score().ok());
  const int scored = runner_.scored();
  ASSERT_TRUE(score().ok());
  EXPECT_EQ(runner_.scored(), scored);
}

}  // namespace
}  // namespace atelier::run
