// SPDX-License-Identifier: Apache-2.0
// Workers as tasks of a Slurm job: what --engine slurm makes of a run.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "cli/engine_workers.h"
#include "engine/host_facts.h"
#include "engine/slurm_cluster.h"
#include "run/report.h"

namespace atelier::cli {

// Errors: unavailable (no Slurm, no such partition); invalid_argument (a gang without what its
// ranks need).
Result<void> check_slurm_engine(const EngineOptions& engine, std::stop_token stop);

// engine::look_at_partition of its partition.
Result<std::optional<engine::SlurmPartition>> slurm_partition(const EngineOptions& engine,
                                                              std::stop_token stop);

// Whether sbatch would take a job with those options, and when and where it would start. Errors:
// unavailable.
Result<std::string> try_slurm_job(const EngineOptions& engine, std::stop_token stop);

// What some nodes that are free, `nodes` at most, say of themselves (engine::look_at_nodes).
// Errors: invalid_argument without atelier-rank, unavailable, those of the store `runs`.
Result<std::vector<engine::HostTrouble>> look_at_slurm_nodes(const EngineOptions& engine, int nodes,
                                                             ObjectStore& runs,
                                                             std::stop_token stop);

// `arguments` of every worker; as score_with_workers() otherwise.
Result<run::EngineReport> score_on_slurm(const WorkersRequest& request, run::RunFolder& folder,
                                         std::vector<std::string> arguments, Console& console,
                                         std::stop_token stop);

// What Slurm says of the run's job now, if its folder names one.
Result<std::optional<run::EngineState>> ask_engine(run::RunFolder& folder);

}  // namespace atelier::cli
