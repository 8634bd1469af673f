// SPDX-License-Identifier: Apache-2.0
// The Slurm engine: the workers of one run as tasks of a job, by Slurm's own commands. Independent
// workers are an array of one node each, so that work starts with the first node and goes on with
// those that are left; a gang is one job of many nodes. Whatever ends a task is met in one of three
// ways: Slurm requeues it, its batch script does (slurm_script.h), or this engine submits again
// what is left to do (slurm_watch.h). Nothing here knows of chunks; whoever dies, its chunk is
// taken up by others, who see in the run folder that it is gone.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/commands.h"
#include "engine/slurm_queue.h"
#include "engine/slurm_script.h"

namespace atelier::engine {

struct SlurmRequest {
  SlurmSetup setup;
  // How much is left to do: no more tasks than that are submitted, and with 0 the work is over.
  // Once there is a job, an error `unavailable` is no news: the workers may see what is hidden
  // here.
  std::function<Result<size_t>()> unsettled;
  // Whether nobody has cancelled the run. May be unset, as the next four.
  std::function<bool()> goes_on;
  std::function<void(int64_t job)> submitted;
  // That life of the job, a gang's, is over: its workers are gone, whatever they last said.
  std::function<void(int64_t job, int restart)> bury;
  std::function<void(const std::string& text)> event;  // "n2 was lost: task 3 was requeued."
  std::function<void(const std::string& text)> say;    // of passing interest
  std::chrono::milliseconds interval = std::chrono::seconds(2);  // between looks
  // Of Slurm while nothing is known of the job, and of the store while nothing is of the chunks.
  std::chrono::milliseconds silence = std::chrono::minutes(10);
  // For workers to leave by themselves when everything is done.
  std::chrono::milliseconds patience = std::chrono::seconds(5);
  int most_in_vain = 5;  // submissions, and time limits of one task, without a chunk done meanwhile
  // Into the queue after an sbatch that did not answer: so often while Slurm is silent, and so
  // often without a job of that name until there is none.
  int most_looks = 5;
  int looks_without_job = 2;
};

struct SlurmOutcome {
  std::vector<std::string> nodes;  // where workers ran, by name
  // Tasks that were asked for at first; of a gang the nodes that it had at most.
  int workers = 0;
  int restarts = 0;  // of tasks
};

// Whether Slurm answers, has that partition (empty: its default), and so many nodes of it may work.
// Errors: unavailable with what to do.
Result<void> check_slurm(Commands& commands, const std::string& partition, int least,
                         std::stop_token stop);

// Blocks until nothing is unsettled. An sbatch whose answer does not come may have submitted its
// job: the job is looked for by its name and taken for ours, or there is none and that name is
// cancelled, so that no job is left without an owner. An error and a stop cancel the job; what is
// done is kept. If this process dies, the job goes on without it and ends by itself. Errors:
// cancelled (also where somebody cancelled the job or the run); unavailable (Slurm refuses the job,
// cannot run it or keeps silent, and so the store; no node can start the program or reach the
// stores; tasks run out of time before a chunk is done); those of a worker that ended with a
// verdict, with its node and its words; internal.
Result<SlurmOutcome> run_slurm_workers(const SlurmRequest& request, Commands& commands,
                                       Clock& clock, std::stop_token stop);

// What Slurm says of a job now. Errors: unavailable, corrupt.
Result<std::vector<SlurmTask>> ask_slurm(Commands& commands, int64_t job, std::stop_token stop);

}  // namespace atelier::engine
