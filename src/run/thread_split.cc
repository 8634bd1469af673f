// SPDX-License-Identifier: Apache-2.0
#include "run/thread_split.h"

#include <time.h>

#include <algorithm>
#include <cmath>

namespace atelier::run {
namespace {

double seconds_of(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace

int scoring_threads(int processors, double scoring, double others) {
  if (scoring <= 0 || others <= 0) return processors;
  const double theirs = std::floor(processors * others / (scoring + others));
  return std::max(1, processors - static_cast<int>(theirs));
}

ProcessorTime processor_time() {
  return {seconds_of(CLOCK_PROCESS_CPUTIME_ID), seconds_of(CLOCK_THREAD_CPUTIME_ID)};
}

ThreadSplit::ThreadSplit(int processors, std::shared_ptr<std::atomic<int>> team)
    : processors_(processors),
      team_(team ? std::move(team) : std::make_shared<std::atomic<int>>(processors)) {
  *team_ = processors;
}

void ThreadSplit::look(Clock::Duration now, const ProcessorTime& spent) {
  if (!begun_) {
    // The first frame plans and touches memory: it says nothing of the others.
    begun_ = true;
    decided_ = now;
    at_decision_ = last_ = spent;
    return;
  }
  scoring_ += (spent.thread - last_.thread) * *team_;
  last_ = spent;
  if (now - decided_ < kInterval) return;
  const double all = spent.process - at_decision_.process;
  *team_ = scoring_threads(processors_, std::min(scoring_, all), all - scoring_);
  decided_ = now;
  at_decision_ = spent;
  scoring_ = 0;
}

}  // namespace atelier::run
