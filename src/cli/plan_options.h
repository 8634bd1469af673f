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
  std::vector<std::string> shapes;      // NAME=WORKERS,PRICE[,CHUNK_SECONDS]
  std::optional<int> workers_per_node;  // without a shape, as the price: 1
  double start_delay = 0;
  std::string idle_timeout = "300";
  double preemptions = 0;
  double detection = 30;
  std::optional<double> price;  // 0
  double wait_price = 0;
  double store_latency = 20;  // milliseconds
  std::string sweep_idle;
  uint64_t seed = 1;
};

void add_plan(CLI::App& app, PlanOptions& options);

// What one may rent.
struct NodeShape {
  std::string name;  // empty: nobody named one
  int workers = 1;
  double price = 0;                     // of a node and hour
  std::optional<double> chunk_seconds;  // on average; unset: as for all
};

struct PlanQuestion {
  std::optional<run::RunRates> measured;
  engine::PlanInput input;        // of_shape() says what is different for each shape
  std::vector<NodeShape> shapes;  // at least one; the names differ
  std::vector<int> nodes;         // ascending
  std::vector<double> idle_timeouts;
  double wait_price = 0;
};
// Errors: invalid_argument naming the option; those of run::read_rates().
Result<PlanQuestion> read_question(const PlanOptions& options);

// The plan for at most so many nodes of that shape. Where it has seconds of its own for a chunk,
// chunks differ as much from each other, in proportion, as those of the question.
engine::PlanInput of_shape(const PlanQuestion& question, const NodeShape& shape, int nodes);

}  // namespace atelier::cli
