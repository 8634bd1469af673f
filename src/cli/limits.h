// SPDX-License-Identifier: Apache-2.0
// How long and how often something is tried, and with how much memory: options that `run` and
// `worker` share.
#pragma once

#include <string>
#include <vector>

#include "run/ledger.h"
#include "run/scorer_process.h"

namespace CLI {
class App;
}

namespace atelier::cli {

struct Limits {
  double start_timeout = 3600;  // seconds, as all three: run::TimeLimits
  double progress_timeout = 1800;
  double chunk_timeout = 43200;
  int max_attempts = 3;  // run::LedgerPolicy
  uint64_t memory = 0;   // bytes for all scorers together; 0: the default
};

void add_limits(CLI::App& command, Limits& limits);
// As add_limits() reads them, for one of so many workers of this machine; 0: of another machine,
// whose memory is its own affair unless it was said.
std::vector<std::string> to_arguments(const Limits& limits, int workers);
run::TimeLimits time_limits(const Limits& limits);
// Bytes for all scorers together: what was asked for, or nine tenths of what there is. Less would
// stop jobs that fit; more would leave it to the kernel to stop something. 0: that is unknown.
uint64_t scorer_memory(const Limits& limits);
run::LedgerPolicy ledger_policy(const Limits& limits);

}  // namespace atelier::cli
