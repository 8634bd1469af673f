// SPDX-License-Identifier: Apache-2.0
// Which engine starts the workers of a run, and what it must know.
#pragma once

#include <string>

#include "base/result.h"

namespace CLI {
class App;
}

namespace atelier::cli {

// Of --engine mpi.
struct MpiOptions {
  std::string hosts;  // a file
  int nodes = 0;      // of an allocation, instead
  std::string interface;
  int ranks_per_node = 0;  // 0: by the file of hosts
  int restarts = 3;
  double gang_timeout = 60;  // seconds, as all
  double beat_timeout = 30;
};

struct EngineOptions {
  std::string name = "local";
  MpiOptions mpi;
  bool is_local() const { return name == "local"; }
};

void add_engine(CLI::App& command, EngineOptions& engine);
// `workers`: as --workers says; 0: it does not. Errors: invalid_argument where an option is lacking
// or belongs to another engine.
Result<void> check_engine(const EngineOptions& engine, int workers);

}  // namespace atelier::cli
