// SPDX-License-Identifier: Apache-2.0
// Which engine starts the workers of a run, and what it must know.
#pragma once

#include <optional>
#include <stop_token>
#include <string>

#include "base/result.h"

namespace CLI {
class App;
}

namespace atelier::cli {

// Of --engine mpi; interface, restarts and gang_timeout also of a gang of Slurm's.
struct MpiOptions {
  std::string hosts;  // a file; empty: EngineOptions::nodes of an allocation
  std::string interface;
  int ranks_per_node = 0;  // 0: by the file of hosts
  // What nobody gave has a default, see below.
  std::optional<int> restarts;
  std::optional<double> gang_timeout;  // seconds, as all
  std::optional<double> beat_timeout;

  int most_restarts() const { return restarts.value_or(3); }
  double gang_seconds() const { return gang_timeout.value_or(60); }
  double beat_seconds() const { return beat_timeout.value_or(30); }
};

struct EngineOptions {
  std::string name = "local";
  MpiOptions mpi;
  bool is_local() const { return name == "local"; }

  // Of engines with many nodes.
  std::string nodes;  // see parse_nodes(); empty: one

  // Of Slurm, as it takes them; empty: its defaults.
  std::string partition;
  std::string account;
  std::string constraint;
  std::string gres;
  std::string time;
  bool gang = false;
};

struct NodeCount {
  int least = 1;
  int most = 1;
};
// "4", or "2..8" for any number of them. Errors: invalid_argument.
Result<NodeCount> parse_nodes(const std::string& text);

void add_engine(CLI::App& command, EngineOptions& engine);

// Before an hour of preparing: whether the options go together and the engine can be reached.
// `workers`: as --workers says; 0: it does not. Errors: invalid_argument where an option is lacking
// or belongs to another engine; unavailable.
Result<void> check_engine(const EngineOptions& engine, int workers, std::stop_token stop);

}  // namespace atelier::cli
