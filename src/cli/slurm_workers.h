// SPDX-License-Identifier: Apache-2.0
// Workers as tasks of a Slurm job: what --engine slurm makes of a run.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "cli/engine_workers.h"
#include "engine/slurm_cluster.h"
#include "run/report.h"

namespace atelier::cli {

// Errors: unavailable (no Slurm, no such partition); invalid_argument (a gang without what its
// ranks need).
Result<void> check_slurm_engine(const EngineOptions& engine, std::stop_token stop);

// engine::look_at_partition of its partition.
Result<std::optional<engine::SlurmPartition>> slurm_partition(const EngineOptions& engine,
                                                              std::stop_token stop);

// `arguments` of every worker; as score_with_workers() otherwise.
Result<run::EngineReport> score_on_slurm(const WorkersRequest& request, run::RunFolder& folder,
                                         std::vector<std::string> arguments, Console& console,
                                         std::stop_token stop);

// What Slurm says of the run's job now, if its folder names one.
Result<std::optional<run::EngineState>> ask_engine(run::RunFolder& folder);

}  // namespace atelier::cli
