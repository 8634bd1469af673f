// SPDX-License-Identifier: Apache-2.0
// How fast a run went, measured from what lies in its folder: what `atelier plan` predicts other
// runs by. The clock is the store's: when it says that records were written (to the second in
// services).
//
// A worker's commits follow one another at the pace of its slowest stage, so the time between them
// is what a chunk takes it, whatever overlaps inside. A chunk takes the seconds of its slowest
// stage, which its record holds, and a share of the rest, the same for each: what the store and the
// changes from chunk to chunk take. The first commit of a worker has no gap before it: what is more
// than a chunk's time there is the start. Where no worker committed two chunks, the slowest stage
// alone is taken.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "run/report.h"

namespace atelier::run {

struct RunRates {
  size_t chunks = 0;                  // of the run, committed or not
  std::vector<double> chunk_seconds;  // of one worker, for each committed chunk in order
  size_t workers = 0;                 // that committed something
  size_t gaps = 0;                    // between commits of one worker; 0: from the stages alone
  double worker_start_seconds = 0;    // of the earliest, from the manifest to its first chunk
  // Known where one command did all of it, from nothing.
  std::optional<double> prepare_seconds;
  std::optional<double> finish_seconds;
  double bytes_in_per_chunk = 0;
  double bytes_out_per_chunk = 0;

  double mean_chunk_seconds() const;
};

// When, by the store's clock.
struct RunTimes {
  WallTime prepared;                             // manifest.json
  std::vector<std::optional<WallTime>> commits;  // of each chunk
  std::optional<WallTime> published;             // report.json
};
// Of report.json.
struct ReportedJob {
  double wall_seconds = 0;
  bool from_nothing = false;  // every frame was scored by the command that published
};

// Pure. `times.commits` has an entry for each of `state.commits`. Errors: invalid_argument where no
// chunk is committed.
Result<RunRates> measure_rates(const RunState& state, const RunTimes& times,
                               const std::optional<ReportedJob>& job);

// Errors: invalid_argument where there is no run, or no chunk of it is committed; corrupt, those of
// the store.
Result<RunRates> read_rates(ObjectStore& store, const std::string& run_id);

}  // namespace atelier::run
