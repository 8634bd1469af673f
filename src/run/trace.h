// SPDX-License-Identifier: Apache-2.0
// What each stage of a worker did when: recorded by scorers, kept in the run folder, shown as a
// Chrome trace (the "Trace Event Format": chrome://tracing, Perfetto).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"

namespace atelier::run {

enum class Stage { decode, score, encode };
enum class Doing {
  work,
  wait_for_frame,  // the stage before is slower
  wait_for_room,   // the stage behind is slower
};

struct Span {
  Stage stage = Stage::decode;
  Doing doing = Doing::work;
  int chunk = 0;
  int64_t begin_us = 0;  // since 1970, by the scorer's machine
  int64_t duration_us = 0;
  int frames = 1;   // that were worked on together
  int threads = 0;  // that scored; 0: not said
};

// Safe from several threads.
class TraceRecorder {
 public:
  // `epoch`: what time it is since 1970 when the clock says `now`.
  TraceRecorder(Clock::Duration now, Clock::Duration epoch) : offset_(epoch - now) {}
  void add(Stage stage, Doing doing, int chunk, Clock::Duration begin, Clock::Duration end,
           int frames = 1, int threads = 0);
  // All since the last call; of a very long chunk the first kMostSpans.
  std::vector<Span> take();

 private:
  const Clock::Duration offset_;
  Mutex mutex_;
  std::vector<Span> spans_ GUARDED_BY(mutex_);
};

inline constexpr size_t kMostSpans = 50'000;

// trace/<worker>/000007.json: what a worker did up to the commit of chunk 7.
std::string to_json(std::span<const Span> spans);
// Spans of older versions say less: those without a number of frames are of one. Errors: corrupt;
// of hostile text, too.
Result<std::vector<Span>> spans_from_json(std::string_view text);

struct WorkerTrace {
  std::string worker;
  std::vector<Span> spans;  // in any order
};

// A process per worker, a thread per stage; time counts from the first span of all. How many
// threads score is a counter of its own, set whenever it changes.
std::string chrome_trace(std::span<const WorkerTrace> workers);

}  // namespace atelier::run
