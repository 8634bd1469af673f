// SPDX-License-Identifier: Apache-2.0
// Which engine starts the workers of a run, and what it must know.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace atelier::cli {

struct EngineOptions {
  std::string name = "local";
  bool is_local() const { return name == "local"; }
};

void add_engine(CLI::App& command, EngineOptions& engine);

}  // namespace atelier::cli
