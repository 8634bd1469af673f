// SPDX-License-Identifier: Apache-2.0
#include "cli/engine_options.h"

#include <CLI/CLI.hpp>

namespace atelier::cli {

void add_engine(CLI::App& command, EngineOptions& engine) {
  command
      .add_option("--engine", engine.name,
                  "What starts the workers. local: this machine, as processes")
      ->check(CLI::IsMember({"local"}))
      ->capture_default_str();
}

}  // namespace atelier::cli
