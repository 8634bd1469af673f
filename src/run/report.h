// SPDX-License-Identifier: Apache-2.0
// report.json and what `atelier run --json` prints.
#pragma once

#include <string>
#include <vector>

#include "run/finish.h"
#include "run/manifest.h"

namespace atelier::run {

struct RunReport {
  std::string output;             // URL of what was published
  std::string run;                // URL of the run folder
  double wall_seconds = 0;        // of this invocation
  double score_wall_seconds = 0;  // of its scoring phase
  uint64_t frames_now = 0;  // scored by this invocation; the others were there from an earlier one
  FinishReport finish;
  std::vector<std::string> notes;  // everything said to the user
};

std::string to_json(const RunReport& report, const Manifest& manifest);

// The state of a run folder as `atelier show` prints it.
struct RunState {
  Manifest manifest;
  std::vector<std::optional<ChunkCommit>> commits;  // one entry a chunk
  bool published = false;                           // report.json is there
};
Result<RunState> read_state(RunFolder& folder);
std::string to_json(const RunState& state);

}  // namespace atelier::run
