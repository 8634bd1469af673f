// SPDX-License-Identifier: Apache-2.0
// Decode, score and encode chunks, the three overlapped. The scorer parses what strangers wrote and
// sees neither store nor credentials: what it needs comes and goes through a ChunkDesk and a
// ByteSource. That is the seam between the scorer and the broker.
#pragma once

#include <atomic>
#include <memory>
#include <stop_token>

#include "base/clock.h"
#include "base/file.h"
#include "media/frame_reader.h"
#include "model/runner.h"
#include "run/manifest.h"
#include "run/run_folder.h"
#include "run/shot_runners.h"
#include "run/thread_split.h"
#include "run/trace.h"

namespace atelier::run {

// The broker's side. next() is called by the decoding stage, the others by the encoding stage:
// calls from two threads.
class ChunkDesk {
 public:
  virtual ~ChunkDesk() = default;
  // The next chunk to score, or nothing when there is no more to do. May wait until `stop`: then
  // cancelled.
  virtual Result<std::optional<ChunkPlan>> next(std::stop_token stop) = 0;
  // An empty file for the chunk's bytes.
  virtual Result<std::unique_ptr<ScratchFile>> open_result(const ChunkPlan& chunk) = 0;
  // `result` came from open_result(), and need not stay. May return before the chunk is put; the
  // next commit then tells what became of it.
  virtual Result<void> commit(ChunkCommit commit, ScratchFile& result) = 0;
  virtual Result<void> keep_frame(uint64_t number, const std::string& extension,
                                  std::span<const std::byte> picture) = 0;
  // What the stages did since the last call, before the commit of `chunk`. Only if job.trace is
  // set.
  virtual Result<void> keep_trace(int chunk, std::span<const Span> spans) = 0;
};

// Read by whoever shows progress; frames that passed each stage since the scorer started, and
// pictures scored to prepare the run.
struct Progress {
  std::atomic<uint64_t> prepared{0};
  std::atomic<uint64_t> decoded{0};
  std::atomic<uint64_t> scored{0};
  std::atomic<uint64_t> encoded{0};
  std::atomic<uint64_t> chunks{0};
};

struct ScoreJob {
  const Manifest* manifest = nullptr;
  const media::MediaInfo* info = nullptr;
  ByteSource* input = nullptr;
  model::Runner* runner = nullptr;
  const Clock* clock = nullptr;
  int threads = 0;  // for the decoder; 0: one per core
  TraceRecorder* trace = nullptr;
  ShotRunners* shots = nullptr;  // instead of `runner`, where the manifest has shots
  bool unpainted = false;        // the network is left out, see model/pass_through.h
  ThreadSplit* split = nullptr;  // whose team the runners are; null: all threads score
};

// How the frames of a chunk are read.
media::ReadRequest read_request(const Manifest& manifest, const ChunkPlan& chunk, int threads);

// Scores chunks until the desk has none or something fails; the first error wins. Memory: a few
// frames per stage, whatever the length of a chunk. Blocks; three threads inside. Errors: those of
// reader, runner, writer and desk; cancelled.
Result<void> score_chunks(const ScoreJob& job, ChunkDesk& desk, Progress& progress,
                          std::stop_token stop);

}  // namespace atelier::run
