// SPDX-License-Identifier: Apache-2.0
// What `atelier plan` is asked, and the plan that is simulated for it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/simulation.h"
#include "run/run_rates.h"

namespace CLI {
class App;
}

namespace atelier::cli {

struct PlanOptions {
  std::string run_url;  // empty: everything by options
  // Instead of what the run says, or without one.
  std::optional<int> chunks;
  std::optional<double> chunk_seconds;
  double spread = 0;
  std::optional<double> worker_start;
  std::optional<double> prepare;
  std::optional<double> finish;
  std::string bytes_in;  // of a chunk
  std::string bytes_out;
  int jobs = 100;        // of poisson:RATE
  std::string arrivals;  // a file or poisson:RATE; empty: one job
  std::string nodes = "1..100";
  int min_nodes = 0;
  int workers_per_node = 1;
  double start_delay = 0;
  std::string idle_timeout = "300";
  double preemptions = 0;
  double detection = 30;
  double price = 0;
  double wait_price = 0;
  double store_latency = 20;  // milliseconds
  std::string sweep_idle;
  uint64_t seed = 1;
};

void add_plan(CLI::App& app, PlanOptions& options);

struct PlanQuestion {
  std::optional<run::RunRates> measured;
  engine::PlanInput input;  // max_nodes is set for each of `nodes`
  std::vector<int> nodes;   // ascending
  std::vector<double> idle_timeouts;
  double wait_price = 0;
};
// Errors: invalid_argument naming the option; those of run::read_rates().
Result<PlanQuestion> read_question(const PlanOptions& options);

}  // namespace atelier::cli
