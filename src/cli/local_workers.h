// SPDX-License-Identifier: Apache-2.0
// `atelier run --workers N`: the local engine starts N times `atelier worker` on the prepared run.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "cli/console.h"
#include "cli/limits.h"
#include "run/run_folder.h"
#include "run/scorer.h"

namespace atelier::cli {

struct LocalWorkers {
  std::string name;  // the workers' are "NAME.1", "NAME.2" and so on, in the order of their starts
  int workers = 1;
  int threads = 0;  // of each; 0: the processors of this machine shared among them
  std::string sandbox;
  bool trace = false;
  Limits limits;
  std::string input;  // where they are now, whatever the manifest says
  std::string model;
  std::function<bool()> goes_on;  // engine::LocalSetup
  // Further arguments of worker k, asked for at each of its starts; may be unset.
  std::function<std::vector<std::string>(int k)> more_arguments;
};

// Blocks until the workers have settled every chunk. `progress` counts what is committed by them
// and by others, `own_frames` what by them. Errors: engine::run_local_workers.
Result<void> score_with_local_workers(const LocalWorkers& local, run::RunFolder& folder,
                                      const run::Manifest& manifest, run::Progress& progress,
                                      uint64_t& own_frames, Console& console, std::stop_token stop);

}  // namespace atelier::cli
