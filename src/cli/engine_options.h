// SPDX-License-Identifier: Apache-2.0
// Which engine starts the workers of a run, and what it must know.
#pragma once

#include <stop_token>
#include <string>

#include "base/result.h"

namespace CLI {
class App;
}

namespace atelier::cli {

struct EngineOptions {
  std::string name = "local";
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
// `workers` is what --workers says. Errors: invalid_argument, unavailable.
Result<void> check_engine(const EngineOptions& engine, int workers, std::stop_token stop);

}  // namespace atelier::cli
