// SPDX-License-Identifier: Apache-2.0
// The workers of a run as one gang on several hosts.
#pragma once

#include "cli/engine_workers.h"
#include "engine/mpi.h"

namespace atelier::cli {

// atelier-rank, beside this program. Errors: invalid_argument.
Result<std::string> rank_program();
// What a rank is called with, but for --gang and --threads.
std::vector<std::string> rank_arguments(const WorkersRequest& request, const std::string& url);

// Blocks until a gang has settled every chunk. Errors: those of engine::run_mpi_gang;
// invalid_argument (the file of hosts, a program without MPI, root that Open MPI does not take).
Result<run::EngineReport> score_by_mpi(const WorkersRequest& request, run::RunFolder& folder,
                                       Console& console, std::stop_token stop);

// Calls `look` with the arguments of `atelier-rank host` while there is what hosts look for: a run
// of no chunks with one worker that beats, in `runs`. Errors: those of the store and of `look`.
Result<std::vector<engine::HostTrouble>> while_run_beats(
    ObjectStore& runs, const std::function<Result<std::vector<engine::HostTrouble>>(
                           const std::vector<std::string>& arguments)>& look);

// Whether every host answers, has this version and sees a run that is put into `runs` meanwhile;
// what stands in the way is empty for each that is fit. Errors: as above.
Result<std::vector<engine::HostTrouble>> look_at_mpi_hosts(const EngineOptions& engine,
                                                           ObjectStore& runs, std::stop_token stop);

}  // namespace atelier::cli
