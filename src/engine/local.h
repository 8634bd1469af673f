// SPDX-License-Identifier: Apache-2.0
// The local engine: N workers of one run as processes of this machine. It starts and watches them,
// and knows nothing of chunks or video: what a worker leaves behind when it dies is taken up by the
// others, who see in the run folder that it is gone.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"

namespace atelier::engine {

struct LocalSetup {
  // What starts worker k of n, k from 1: a program's path and all its arguments but the first.
  std::string program;
  std::function<std::vector<std::string>(int k, int n)> arguments;
  int workers = 1;
  // Deaths of workers, in all, until the engine gives up.
  int most_deaths = 100;
  // Whether a worker that was asked to leave by somebody else (exit code 130) is replaced; unset:
  // yes.
  std::function<bool()> goes_on;
  // How long a worker may take to leave when it is asked to (SIGTERM), before it is killed.
  std::chrono::milliseconds patience = std::chrono::seconds(10);
  // What is worth telling: "Worker 2 was killed by signal 9; another one takes its place."
  std::function<void(const std::string&)> say;
};

// Threads of each worker where `threads` were asked for.
int threads_of_each(int workers, int threads);

// How many workers where nobody asked for a number: so many that each has at most eight processors
// (a frame is not shared well among more), a chunk to score, and the memory for it.
int default_workers(int processors, size_t chunks, uint64_t scorer_bytes, uint64_t memory);

// Blocks until every worker has ended with exit code 0. One that dies by a signal or was asked to
// leave is replaced; one that ends with another code ends the others, too, and its last line on
// stderr is the error, with the Code of that exit code. Workers do not outlive the calling thread.
// Errors: cancelled; internal (a worker cannot be started, or one after another dies).
Result<void> run_local_workers(const LocalSetup& setup, std::stop_token stop);

}  // namespace atelier::engine
