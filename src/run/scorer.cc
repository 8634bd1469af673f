// SPDX-License-Identifier: Apache-2.0
#include "run/scorer.h"

#include <malloc.h>

#include <algorithm>
#include <thread>
#include <variant>

#include "base/queue.h"
#include "media/picture.h"
#include "run/painter.h"

namespace atelier::run {
namespace {

// Deep enough that a stage's hiccup does not stop the next one, shallow enough to bound memory: at
// 3840x2160 a frame is 12 MB.
constexpr size_t kQueueFrames = 3;
// Small frames are scored in groups, which must not wait for room one by one.
constexpr size_t kMostQueueFrames = 32;
constexpr size_t kQueuePixels = size_t{2} << 20;

size_t queue_frames(const Manifest& manifest) {
  const auto pixels = [](int width, int height) {
    return static_cast<size_t>(width) * static_cast<size_t>(height);
  };
  const size_t frame = std::max({size_t{1}, pixels(manifest.encode.width, manifest.encode.height),
                                 pixels(manifest.scored_size.width, manifest.scored_size.height)});
  return std::clamp(kQueuePixels / frame, kQueueFrames, kMostQueueFrames);
}

struct ChunkBegin {
  ChunkPlan plan;
};
struct ChunkEnd {
  media::ReadReport report;
};
// What flows through the queues: a begin, its frames, an end; then the next chunk.
using Item = std::variant<ChunkBegin, std::unique_ptr<FrameItem>, ChunkEnd>;

// How long a stage works, and, for a trace, when it works and waits.
class Stopwatch {
 public:
  Stopwatch(const ScoreJob& job, Stage stage) : job_(job), stage_(stage) {}
  void begin_chunk(int chunk) { chunk_ = chunk; }
  template <class F>
  auto time(F&& work, int frames = 1, int threads = 0) {
    const auto begin = job_.clock->now();
    auto result = work();
    const auto end = job_.clock->now();
    total_ += end - begin;
    if (job_.trace) job_.trace->add(stage_, Doing::work, chunk_, begin, end, frames, threads);
    return result;
  }
  bool push(BoundedQueue<Item>& queue, Item item) {
    return waiting(Doing::wait_for_room, [&] { return queue.push(std::move(item)); });
  }
  std::optional<Item> pop(BoundedQueue<Item>& queue) {
    return waiting(Doing::wait_for_frame, [&] { return queue.pop(); });
  }
  double take_seconds() { return std::chrono::duration<double>(std::exchange(total_, {})).count(); }

 private:
  template <class F>
  std::invoke_result_t<F> waiting(Doing doing, F&& wait) {
    if (!job_.trace) return wait();
    const auto begin = job_.clock->now();
    auto result = wait();
    job_.trace->add(stage_, doing, chunk_, begin, job_.clock->now());
    return result;
  }

  const ScoreJob& job_;
  Stage stage_;
  int chunk_ = 0;
  Clock::Duration total_{};
};

class Pipeline {
 public:
  Pipeline(const ScoreJob& job, ChunkDesk& desk, Progress& progress, std::stop_token stop)
      : job_(job),
        desk_(desk),
        progress_(progress),
        stop_(std::move(stop)),
        decoded_(queue_frames(*job.manifest)),
        painted_(queue_frames(*job.manifest)) {}

  Result<void> run() {
    const std::stop_callback on_stop(stop_, [this] {
      fail(Error{Code::cancelled, "Interrupted."});
    });
    {
      std::jthread decoder([this] { settle(decode_all()); });
      std::jthread encoder([this] { settle(encode_all()); });
      // The caller's thread scores: the runner's threads belong to it.
      settle(score_all());
    }
    MutexLock lock(mutex_);
    if (error_) return *error_;
    return {};
  }

 private:
  void settle(const Result<void>& result) {
    if (!result.ok()) fail(result.error());
  }

  void fail(const Error& error) {
    {
      MutexLock lock(mutex_);
      if (!error_) error_ = error;
    }
    decoded_.abort();
    painted_.abort();
    // The decoder may be waiting for chunks of other workers.
    failed_.request_stop();
  }

  Result<void> decode_all() {
    Stopwatch watch(job_, Stage::decode);
    while (const auto chunk = TRY(desk_.next(failed_.get_token()))) {
      watch.begin_chunk(chunk->index);
      if (!watch.push(decoded_, ChunkBegin{*chunk})) return {};
      if (!TRY(decode_chunk(*chunk, watch))) return {};
    }
    reader_.reset();
    decoded_.close();
    return {};
  }

  // False if the pipeline was stopped.
  Result<bool> decode_chunk(const ChunkPlan& chunk, Stopwatch& watch) {
    const media::ReadRequest request = read_request(*job_.manifest, chunk, job_.threads);
    // A file with few key frames would else be decoded from the same one for every chunk.
    if (!reader_ || !reader_->go_on(request)) {
      reader_.reset();
      reader_ = TRY(
          watch.time([&] { return media::FrameReader::open(*job_.input, *job_.info, request); }));
    }
    for (;;) {
      auto frame = TRY(watch.time([&] { return reader_->next(); }));
      if (!frame) break;
      progress_.decoded++;
      if (!watch.push(decoded_, std::make_unique<FrameItem>(*std::move(frame)))) return false;
    }
    {
      MutexLock lock(mutex_);
      decode_seconds_[chunk.index] = watch.take_seconds();
    }
    return watch.push(decoded_, ChunkEnd{reader_->report()});
  }

  Result<void> score_all() {
    Stopwatch watch(job_, Stage::score);
    Painter painter(job_);
    int chunk = -1;
    for (std::optional<Item> item = watch.pop(decoded_); item; item = next_item(watch)) {
      if (std::holds_alternative<std::unique_ptr<FrameItem>>(*item)) {
        if (!TRY(score_group(*std::move(item), painter, watch))) return {};
        continue;
      }
      if (const auto* begin = std::get_if<ChunkBegin>(&*item)) {
        chunk = begin->plan.index;
        watch.begin_chunk(chunk);
      } else {
        MutexLock lock(mutex_);
        scored_[chunk] = {watch.take_seconds(), painter.repeated()};
      }
      painter.begin_chunk();  // the next chunk may be long in coming: nothing is kept for it
      if (!watch.push(painted_, *std::move(item))) return {};
    }
    painted_.close();
    return {};
  }

  std::optional<Item> next_item(Stopwatch& watch) {
    return held_ ? std::exchange(held_, std::nullopt) : watch.pop(decoded_);
  }

  // `first`, a frame, and as many after it as are scored together. False if the pipeline was
  // stopped.
  Result<bool> score_group(Item first, Painter& painter, Stopwatch& watch) {
    std::vector<std::unique_ptr<FrameItem>> group;
    group.push_back(std::get<std::unique_ptr<FrameItem>>(std::move(first)));
    const size_t room = TRY(painter.room(*group.front()));
    while (group.size() < room) {
      held_ = watch.pop(decoded_);
      if (!held_ || !std::holds_alternative<std::unique_ptr<FrameItem>>(*held_)) break;
      group.push_back(std::get<std::unique_ptr<FrameItem>>(*std::exchange(held_, std::nullopt)));
    }
    const int threads = job_.split ? job_.split->threads() : 0;
    TRY(watch.time([&] { return painter.paint(group); }, static_cast<int>(group.size()), threads));
    if (job_.split) job_.split->look(job_.clock->now(), processor_time());
    progress_.scored += group.size();
    for (auto& frame : group) {
      if (!watch.push(painted_, std::move(frame))) return false;
    }
    return true;
  }

  struct OpenChunk {
    ChunkPlan plan;
    std::unique_ptr<ScratchFile> file;
    std::unique_ptr<media::FrameWriter> writer;  // made with the first frame
    int64_t first_pts = 0;
    uint64_t frames = 0;
  };

  Result<void> encode_all() {
    Stopwatch watch(job_, Stage::encode);
    std::unique_ptr<OpenChunk> open;
    while (auto item = watch.pop(painted_)) {
      if (const auto* begin = std::get_if<ChunkBegin>(&*item)) {
        watch.begin_chunk(begin->plan.index);
        open = std::make_unique<OpenChunk>();
        open->plan = begin->plan;
        open->file = TRY(desk_.open_result(open->plan));
      } else if (const auto* frame = std::get_if<std::unique_ptr<FrameItem>>(&*item)) {
        TRY(watch.time([&] { return encode_frame(*open, **frame); }));
        progress_.encoded++;
      } else {
        TRY(finish_chunk(*open, std::get<ChunkEnd>(*item).report, watch));
        open.reset();
        // What an encoder held is scattered over the heap: given back, or the next chunk's would
        // stand beside it.
        ::malloc_trim(0);
      }
    }
    return {};
  }

  Result<void> encode_frame(OpenChunk& chunk, const FrameItem& frame) {
    if (!chunk.writer) {
      chunk.writer = TRY(media::FrameWriter::create(job_.manifest->encode, *chunk.file));
      chunk.first_pts = frame.decoded.pts;
    }
    const std::string& kept = job_.manifest->parameters.keep_frames;
    if (!kept.empty()) {
      const auto picture = TRY(kept == "png" ? media::encode_png(frame.painted->view())
                                             : media::encode_jpeg(frame.painted->view(), 95));
      TRY(desk_.keep_frame(chunk.plan.first_frame + chunk.frames + 1, kept, picture));
    }
    chunk.frames++;
    return chunk.writer->write(frame.painted->view(), frame.decoded.pts - chunk.first_pts,
                               frame.decoded.duration, frame.decoded.extras);
  }

  Result<void> finish_chunk(OpenChunk& chunk, const media::ReadReport& report, Stopwatch& watch) {
    uint64_t captions_lost = 0;
    if (chunk.writer) {
      const auto done = TRY(watch.time([&] { return chunk.writer->finish(); }));
      captions_lost = done.captions_lost;
      if (done.frames != chunk.frames || done.packets != chunk.frames) {
        return make_error(Code::internal, "The encoder made {} packets of {} frames in chunk {}.",
                          done.packets, chunk.frames, chunk.plan.index);
      }
    }
    ChunkCommit commit;
    commit.index = chunk.plan.index;
    commit.first_pts = chunk.first_pts;
    commit.sha256 = chunk.file->finish_sha256();
    commit.bytes = chunk.file->size();
    commit.frames = chunk.frames;
    commit.decode_errors = report.decode_errors;
    commit.retimed = report.retimed;
    commit.interlaced = report.interlaced;
    commit.captions_lost = captions_lost;
    {
      MutexLock lock(mutex_);
      const Scored& scored = scored_[commit.index];
      commit.seconds = {decode_seconds_[commit.index], scored.seconds, watch.take_seconds()};
      commit.repeated = scored.repeated;
    }
    if (job_.trace) TRY(desk_.keep_trace(commit.index, job_.trace->take()));
    TRY(desk_.commit(std::move(commit), *chunk.file));
    progress_.chunks++;
    return {};
  }

  const ScoreJob& job_;
  ChunkDesk& desk_;
  Progress& progress_;
  std::stop_token stop_;
  std::unique_ptr<media::FrameReader> reader_;  // of the decoding stage
  BoundedQueue<Item> decoded_;
  BoundedQueue<Item> painted_;
  std::optional<Item> held_;  // of the scoring stage: what came after a group
  std::stop_source failed_;
  Mutex mutex_;
  std::optional<Error> error_ GUARDED_BY(mutex_);
  std::map<int, double> decode_seconds_ GUARDED_BY(mutex_);
  struct Scored {
    double seconds = 0;
    uint64_t repeated = 0;
  };
  std::map<int, Scored> scored_ GUARDED_BY(mutex_);
};

}  // namespace

media::ReadRequest read_request(const Manifest& manifest, const ChunkPlan& chunk, int threads) {
  media::ReadRequest request;
  request.stream = manifest.video_stream;
  request.first_pts = chunk.first_pts;
  request.end_pts = chunk.end_pts;
  request.key_dts = chunk.key_dts;
  request.deinterlace = manifest.parameters.deinterlace;
  request.context_pts = chunk.context_pts;
  request.last_packet_pts = chunk.last_pts;
  request.width = manifest.scored_size.width;
  request.height = manifest.scored_size.height;
  request.threads = threads;
  return request;
}

Result<void> score_chunks(const ScoreJob& job, ChunkDesk& desk, Progress& progress,
                          std::stop_token stop) {
  return Pipeline(job, desk, progress, std::move(stop)).run();
}

}  // namespace atelier::run
