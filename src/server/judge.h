// SPDX-License-Identifier: Apache-2.0
// What the end of a process means for its run. Pure.
//
// What an exit code means (cli/console.h):
//   0       the step is done; after the last one the run is finished
//   2       failed: command, model or configuration is wrong, and would be again
//   3       set aside: the input cannot be scored; an operator releases it by `retry`
//   4, or 1 and a disk is full   its surroundings' fault: another attempt after minutes, again and
//           again for about a day; then failed. No attempt is counted
//   others, signals   another attempt; set aside after max_attempts: an input that ends its workers
//           each time must not block the next
//   130     cancelled if that was asked for; else nobody's fault, and not counted
#pragma once

#include <string>

#include "server/runs.h"

namespace atelier::server {

// How a process ended.
struct Ended {
  int status = 0;                                                 // of waitpid()
  std::string last_line;                                          // that it printed
  bool was_silent = false, was_late = false, was_costly = false;  // why we ended it
  bool was_sent_away = false;                                     // the service stops
};

// What an attempt at `run` came to that ended so, `now`.
AttemptEnd judge(const RunRow& run, const Ended& ended, int64_t max_attempts, Millis now);

// What is not the run's fault is tried again, ever more rarely, for about a day: `end`, whose
// reason is told, becomes that.
void try_after_trouble(const RunRow& run, AttemptEnd& end, Millis now);

// Whether a status of waitpid() is that exit code.
bool exited(int status, int code);

}  // namespace atelier::server
