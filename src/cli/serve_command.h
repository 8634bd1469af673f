// SPDX-License-Identifier: Apache-2.0
// atelier serve: the service, until it is asked to stop.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>

#include "cli/console.h"
#include "cli/interrupt.h"

namespace atelier::cli {

struct ServeOptions {
  std::string config;  // a file
  // For tests: end the process just before this commit of the database; 0: never.
  uint64_t die_before_commit = 0;
};
// SIGTERM and SIGINT stop it, SIGHUP has it read its configuration again. Errors: those of
// parse_config() and Service::start().
Result<void> serve_command(const ServeOptions& options, Console& console, Interrupt& interrupt);

}  // namespace atelier::cli
