// SPDX-License-Identifier: Apache-2.0
#include "run/scorer.h"

#include <malloc.h>

#include <thread>
#include <variant>

#include "base/queue.h"
#include "media/alpha.h"
#include "media/picture.h"
#include "model/pass_through.h"

namespace atelier::run {
namespace {

// Deep enough that a stage's hiccup does not stop the next one, shallow enough to bound memory: at
// 3840x2160 a frame is 12 MB.
constexpr size_t kQueueFrames = 3;

struct ChunkBegin {
  ChunkPlan plan;
};
struct ChunkEnd {
  media::ReadReport report;
};
struct FrameItem {
  explicit FrameItem(media::DecodedFrame frame) : decoded(std::move(frame)) {}
  media::DecodedFrame decoded;
  std::shared_ptr<const FrameBuffer> painted;  // null until scored; equal frames share one
};
// What flows through the queues: a begin, its frames, an end; then the next chunk.
using Item = std::variant<ChunkBegin, std::unique_ptr<FrameItem>, ChunkEnd>;

// How long a stage works, and, for a trace, when it works and waits.
class Stopwatch {
 public:
  Stopwatch(const ScoreJob& job, Stage stage) : job_(job), stage_(stage) {}
  void begin_chunk(int chunk) { chunk_ = chunk; }
  template <class F>
  auto time(F&& work) {
    const auto begin = job_.clock->now();
    auto result = work();
    const auto end = job_.clock->now();
    total_ += end - begin;
    if (job_.trace) job_.trace->add(stage_, Doing::work, chunk_, begin, end);
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
      : job_(job), desk_(desk), progress_(progress), stop_(std::move(stop)) {}

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

  // The frame scored last in this chunk; its samples stay alive for the comparison.
  struct LastScored {
    int chunk = -1;
    size_t shot = 0;
    FrameView view;
    std::shared_ptr<const void> keep_alive;  // of the view
    std::shared_ptr<const FrameBuffer> painted;
    uint64_t repeated = 0;
  };

  Result<void> score_all() {
    Stopwatch watch(job_, Stage::score);
    LastScored last;
    while (auto item = watch.pop(decoded_)) {
      TRY(score_item(*item, last, watch));
      if (!watch.push(painted_, *std::move(item))) return {};
    }
    painted_.close();
    return {};
  }

  Result<void> score_item(Item& item, LastScored& last, Stopwatch& watch) {
    if (const auto* begin = std::get_if<ChunkBegin>(&item)) {
      // Chunks begin anew, so that what is counted does not depend on who scored the one before.
      last = {};
      last.chunk = begin->plan.index;
      watch.begin_chunk(last.chunk);
    } else if (auto* frame = std::get_if<std::unique_ptr<FrameItem>>(&item)) {
      TRY(watch.time([&] { return score_frame(**frame, last); }));
      progress_.scored++;
    } else {
      {
        MutexLock lock(mutex_);
        scored_[last.chunk] = {watch.take_seconds(), last.repeated};
      }
      last = {};  // the next chunk may be long in coming
    }
    return {};
  }

  // Titles stand still, and film in video repeats frames: a picture equal to the one before it has
  // its result, since a runner keeps nothing from frame to frame. A comparison ends at the first
  // row that differs; at 1920x1080 it takes 0.2 ms at most.
  Result<void> score_frame(FrameItem& frame, LastScored& last) {
    const size_t shot = job_.shots ? job_.shots->shot_of(frame.decoded.pts) : 0;
    if (last.painted && last.shot == shot && same_picture(frame.decoded.view, last.view)) {
      frame.painted = last.painted;
      ++last.repeated;
    } else {
      frame.painted = TRY(paint(frame.decoded));
      last.painted = frame.painted;
      last.shot = shot;
      last.view = frame.decoded.view;
      last.keep_alive = frame.decoded.keep_alive;
    }
    // Its samples are no longer needed; its time and its extras are.
    frame.decoded.view = {};
    frame.decoded.keep_alive.reset();
    return {};
  }

  Result<std::shared_ptr<const FrameBuffer>> paint(const media::DecodedFrame& frame) {
    const FrameView& in = frame.view;
    const media::EncodeSettings& encode = job_.manifest->encode;
    auto made =
        std::make_shared<FrameBuffer>(encode.width, encode.height, encode.format, encode.color);
    FrameBuffer& buffer = *made;
    if (job_.unpainted) {
      TRY(model::pass_through(in, buffer.view()));
    } else {
      model::Runner* runner = job_.shots ? TRY(job_.shots->at(frame.pts)) : job_.runner;
      TRY(runner->score(in, buffer.view()));
    }
    // Networks paint colour; what was see-through stays so.
    if (encode.format.alpha) TRY(media::copy_alpha(in, buffer.view()));
    return std::shared_ptr<const FrameBuffer>(std::move(made));
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
  BoundedQueue<Item> decoded_{kQueueFrames};
  BoundedQueue<Item> painted_{kQueueFrames};
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
