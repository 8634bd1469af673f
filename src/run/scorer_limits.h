// SPDX-License-Identifier: Apache-2.0
// What a broker sets on its scorer and watches of it from outside; what a scorer does to itself is
// run/sandbox.h.
//
//   files:      RLIMIT_FSIZE, once the plan says how large a result can be.
//   processor:  RLIMIT_CPU, as much as can be had in a time without progress, raised with each
//               progress. Only the soft limit, since a hard one could not be raised again: what
//               blocks SIGXCPU is left to the broker's own time-outs (TimeLimits). It is for the
//               scorer that runs away while its broker is stopped or has lost the processor.
//   processes:  none can be made (seccomp). RLIMIT_NPROC would not do: it counts all that the user
//               runs on the machine, threads included, and exempts root.
//   threads,    No limit of the kernel's fits: RLIMIT_AS counts addresses, of which libraries
//   memory:     reserve more than they use, and groups of processes need privileges. So the broker
//               looks at both each tick and ends a scorer that has too much. What grows faster than
//               a tick is the kernel's to end: see offer_to_the_kernel().
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>

#include "base/result.h"
#include "run/manifest.h"

namespace atelier::run {

// Where memory runs out, the kernel ends the scorer, which is replaced, and not its broker. Best
// effort: without it the kernel chooses by size alone.
void offer_to_the_kernel(pid_t pid);

// A result larger than the frames of any chunk can be is none: SIGXFSZ ends a scorer that fills the
// disk. With `stays` another limit can follow; a scorer that is not locked in could then lift it.
// Errors: internal.
Result<void> limit_results(pid_t pid, const Manifest& manifest, bool stays = false);

// What the kernel says of a process.
struct Usage {
  // Bytes that are resident and its own: pages of files, such as its program, can be dropped and
  // are shared with its like.
  uint64_t memory = 0;
  int threads = 0;
  std::chrono::milliseconds processor{0};  // of all threads together
};
// Nothing: it has ended.
std::optional<Usage> usage_of(pid_t pid);

// As many threads as scoring with `threads` (0: one per processor) could have work for, decoder and
// encoder included, several times over: what has more makes them for their own sake.
int most_threads(int threads);

// What of it is too much, as the rest of a sentence about a scorer; empty: nothing is. `memory` in
// bytes; 0: any.
std::string find_excess(const Usage& usage, uint64_t memory, int threads);

// SIGXCPU ends the process once it has used more processor time on top of `usage` than all
// processors give in `idle`. Best effort; a limit that the user has set stands.
void limit_processor_time(pid_t pid, const Usage& usage, std::chrono::milliseconds idle);

}  // namespace atelier::run
