// SPDX-License-Identifier: Apache-2.0
// The command lines of the service and of who asks it.
#pragma once

#include <string>

#include "cli/client_commands.h"
#include "cli/serve_command.h"

namespace CLI {
class App;
}

namespace atelier::cli {

struct ServiceOptions {
  ServeOptions serve;
  SubmitOptions submit;
  ListOptions list;
  RunNameOptions runs;  // of cancel, retry and rerun
  LogsOptions logs;
  PublishOptions publish;
  TokenOptions token;
  CostsOptions costs;
  std::string backup;  // the service's address
};

// The commands serve, submit, list, logs, cancel, retry, rerun, publish, token, costs and backup.
void add_service_commands(CLI::App& app, ServiceOptions& options);
bool is_service_command(const std::string& name);
Result<void> dispatch_service(const std::string& name, const ServiceOptions& options,
                              Console& console, Interrupt& interrupt);

// `atelier show`: a run folder, or a run of a service by its name ("run-...") or its address
// ("https://host/v1/runs/run-...").
Result<void> show_anything(const std::string& what, Console& console);

}  // namespace atelier::cli
