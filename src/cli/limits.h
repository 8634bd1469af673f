// SPDX-License-Identifier: Apache-2.0
// How long and how often something is tried: options that `run` and `worker` share.
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
};

void add_limits(CLI::App& command, Limits& limits);
// As add_limits() reads them, for a worker.
std::vector<std::string> to_arguments(const Limits& limits);
run::TimeLimits time_limits(const Limits& limits);
run::LedgerPolicy ledger_policy(const Limits& limits);

}  // namespace atelier::cli
