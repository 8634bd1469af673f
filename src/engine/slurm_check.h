// SPDX-License-Identifier: Apache-2.0
// Before a run: what Slurm would say of its job, and what its nodes say of themselves.
#pragma once

#include <chrono>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "engine/commands.h"
#include "engine/host_facts.h"
#include "engine/slurm_script.h"

namespace atelier::engine {

// Asks sbatch whether it would take the job (--test-only), which tries partition, account,
// constraint, gres, time and limits: its sentence of when and where it would start. Errors:
// unavailable, with its reason; where --gres is refused, with what the nodes have.
Result<std::string> try_job(Commands& commands, const SlurmSetup& setup, std::stop_token stop);

struct SlurmNodeLook {
  SlurmSetup setup;     // its program is atelier-rank, its arguments those of `host`
  int nodes = 1;        // at most so many, of those that are free
  std::string version;  // of this program
  std::chrono::seconds patience{15};
};
// Has one task on each of some free nodes look, by srun. Errors: unavailable where none could be
// had in time, or none answered.
Result<std::vector<HostTrouble>> look_at_nodes(Commands& commands, const SlurmNodeLook& look,
                                               std::stop_token stop);

// Lines of several hosts, mixed: what each is troubled by. Pure.
std::vector<HostTrouble> troubles_of(std::string_view said, const std::string& version,
                                     const HostWatch& watch);

}  // namespace atelier::engine
