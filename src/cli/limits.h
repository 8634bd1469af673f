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
  // What part of the machine is for this worker and its like, where others have the rest.
  double machine_share = 1;
};

void add_limits(CLI::App& command, Limits& limits);
// Of workers that an engine starts on machines that others share.
void add_machine_share(CLI::App& command, Limits& limits);
// As add_limits() reads them, for one of so many workers of this machine.
std::vector<std::string> to_arguments(const Limits& limits, int workers);
// The same for workers of other machines, which share the memory there by themselves.
std::vector<std::string> to_arguments_elsewhere(const Limits& limits);
run::TimeLimits time_limits(const Limits& limits);
// What there is, in bytes; 0: unknown.
struct MachineMemory {
  uint64_t machine = 0;  // run::machine_memory()
  uint64_t usable = 0;   // run::usable_memory()
};
MachineMemory memory_here();
// Bytes for all scorers together: their share of what was asked for, or nine tenths of what there
// is for them. Less would stop jobs that fit; more would leave it to the kernel to stop something.
// A control group that is smaller than the share has been given to them alone. 0: that is unknown.
uint64_t scorer_memory(const Limits& limits, const MachineMemory& there = memory_here());
run::LedgerPolicy ledger_policy(const Limits& limits);

}  // namespace atelier::cli
