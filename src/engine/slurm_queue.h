// SPDX-License-Identifier: Apache-2.0
// What Slurm 22.05's commands print, checked before it is believed: pure functions. The JSON is
// that of its openapi/v0.0.38 plugin (`squeue --json`, `sinfo --json`). Errors of all: corrupt,
// naming the command; unavailable where the answer is that it failed, for which the exit code is 0.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace atelier::engine {

// What the batch script left as the job's comment (slurm_script.h).
struct SlurmWords {
  int restart = 0;  // of which life
  int code = 0;     // the worker's exit code
  std::string node;
  // "verdict", "cancelled", "asked", or, the third time in a row, "time3", "died3", "vain3".
  std::string why;
  std::string said;  // the worker's error without the program's name; may be empty
};

// A task of a job array, or a job that is none.
struct SlurmTask {
  enum class State {
    waiting,   // for a node, for its begin, held, suspended
    starting,  // it has a node, which is powered up or made ready
    running,
    ending,  // what comes is an end or, after a requeue, waiting
    ended,
  };
  int number = 0;  // in its array, from 1; 0: no array
  State state = State::waiting;
  std::string word;    // Slurm's: "PENDING"
  std::string reason;  // why it waits or ended: "Resources"; empty where Slurm says None
  std::vector<std::string> nodes;
  int restarts = 0;
  int code = 0;  // of the batch script, once ended; negative: the signal
  std::optional<SlurmWords> words;
};

// "12" or "12;cluster".
Result<int64_t> parse_submitted(std::string_view printed);

// The number of the job of that name, if there is one. squeue prints those of everybody.
Result<std::optional<int64_t>> parse_job_named(std::string_view printed, std::string_view name);

// Whether sbatch, which ended with an error and these words, may have submitted its job all the
// same: it was sent, and the answer did not come. A refusal says no.
bool may_be_submitted(std::string_view words);

// The tasks of that job by number; squeue prints those of everybody. Several that wait as one row
// are one each. None: Slurm has forgotten the job or never heard of it.
Result<std::vector<SlurmTask>> parse_queue(std::string_view printed, int64_t job);

// The first of `nodes` that Slurm takes for lost: down, failing or not answering. One it does not
// name is not. Nothing: none is.
Result<std::optional<std::string>> first_lost_node(std::string_view printed,
                                                   const std::vector<std::string>& nodes);

// "n[1-3,07],m" as n1, n2, n3, n07, m. Nothing if it is no list of at most 65536 hosts.
std::optional<std::vector<std::string>> expand_hosts(std::string_view list);

}  // namespace atelier::engine
