// SPDX-License-Identifier: Apache-2.0
// Scoring by workers that are processes of their own: an engine starts `atelier worker` on the
// prepared run, and the run folder shows what they commit.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "cli/console.h"
#include "cli/engine_options.h"
#include "cli/limits.h"
#include "run/report.h"
#include "run/run_folder.h"
#include "run/scorer.h"

namespace atelier::cli {

struct WorkersRequest {
  EngineOptions engine;
  std::string name;  // the workers' are "NAME.1", "NAME.2" and so on, in the order of their starts
  int workers = 1;
  int threads = 0;  // of each; 0: the processors of its machine, shared among the workers there
  std::string sandbox;
  bool trace = false;
  Limits limits;
  std::string input;  // where they are now, whatever the manifest says
  std::string model;
  std::vector<std::string> model_beside;  // what it keeps its weights in
  ObjectStore* store = nullptr;           // of the run folder
  std::function<bool()> goes_on;          // engine::LocalSetup
  // Chunks that are neither committed nor given up.
  std::function<Result<size_t>()> unsettled;
  // Further arguments of worker k, asked for at each of its starts, or (Slurm) once for all of them
  // with k 0; may be unset. For drills.
  std::function<std::vector<std::string>(int k)> more_arguments;
};

// Blocks until the workers have settled every chunk. `progress` counts what is committed by them
// and by others, `own_frames` what by them. Errors: those of the engine, as
// engine::run_local_workers, run_mpi_gang and run_slurm_workers.
Result<run::EngineReport> score_with_workers(const WorkersRequest& request, run::RunFolder& folder,
                                             const run::Manifest& manifest, run::Progress& progress,
                                             uint64_t& own_frames, Console& console,
                                             std::stop_token stop);

}  // namespace atelier::cli
