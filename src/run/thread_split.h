// SPDX-License-Identifier: Apache-2.0
// How many threads score, so that decoding and encoding have theirs.
//
// The three stages share P processors. If a frame costs S processor seconds of scoring and C of
// everything else, it takes (S + C) / P at best, all processors busy, and scoring has P S / (S + C)
// of them. A team of P threads would be interrupted by the codecs' threads, and as work is dealt
// out evenly, all of the team then wait for the one that was interrupted. So P - floor(P C / (S +
// C)) threads score. The bits do not depend on it.
//
// S and C are measured while the pipeline runs, by the processors' clocks and not the wall's:
// whoever waits costs nothing. Everything that is not scoring counts, an encoder's own threads too.
#pragma once

#include <atomic>
#include <memory>

#include "base/clock.h"

namespace atelier::run {

// The formula, of seconds of any number of frames; at least 1.
int scoring_threads(int processors, double scoring, double others);

// Processor seconds spent so far.
struct ProcessorTime {
  double process = 0;  // by all threads together
  double thread = 0;   // by the calling one
};
ProcessorTime processor_time();

// Of one scorer. One thread: the one that scores, whose team's other threads are as busy as itself.
class ThreadSplit {
 public:
  // `processors`: that this scorer may use, at least 1. All of them score at first. `team` is one
  // that an earlier split had, whose runners are used again; null: another.
  explicit ThreadSplit(int processors, std::shared_ptr<std::atomic<int>> team = nullptr);

  // What model::RunnerOptions wants; changes between frames.
  std::shared_ptr<std::atomic<int>> team() const { return team_; }
  int threads() const { return *team_; }

  // After every frame; decides anew when the last decision is kInterval ago.
  void look(Clock::Duration now, const ProcessorTime& spent);

 private:
  static constexpr Clock::Duration kInterval = std::chrono::seconds(1);

  const int processors_;
  const std::shared_ptr<std::atomic<int>> team_;
  bool begun_ = false;
  Clock::Duration decided_{};
  ProcessorTime at_decision_, last_;
  double scoring_ = 0;  // since the decision
};

}  // namespace atelier::run
