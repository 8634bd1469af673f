// SPDX-License-Identifier: Apache-2.0
// What `atelier-rank` does: the worker of a run that is one rank of a gang. mpirun or srun starts
// it.
#pragma once

#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "cli/limits.h"
#include "engine/gang.h"

namespace atelier::cli {

struct RankOptions {
  std::string run_url;
  std::string gang;                 // its workers are GANG.0, GANG.1, ... by rank
  std::string input;                // where it is now
  std::string model;                // likewise; rank 0 alone reads it
  std::vector<std::string> beside;  // what the model keeps its weights in
  int threads = 0;                  // 0: the host's processors, shared among its ranks
  std::string sandbox = "on";
  bool trace = false;
  Limits limits;  // memory: of all scorers of the host
  // The program that scores: an `atelier` of this version.
  std::string scorer = "atelier";
};

// Meets the others, gets manifest and model from rank 0, takes its even share of the chunks, then
// helps. `met` is called when all have met, and before anything is claimed. What all did together,
// by name, is the answer at rank 0. Errors: those of a worker, and of the gang.
Result<std::map<std::string, double>> score_as_rank(const RankOptions& options, engine::Gang& gang,
                                                    const std::function<void()>& met,
                                                    std::stop_token stop);

// Where nobody listens to rank 0, its answer goes into the run's folder (run/gang_record.h).
Result<void> keep_statistics(const RankOptions& options,
                             const std::map<std::string, double>& statistics);

// Whether this host sees the run, whose worker of that name has beaten.
Result<bool> sees_run(const std::string& run_url, const std::string& worker);

}  // namespace atelier::cli
