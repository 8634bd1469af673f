// SPDX-License-Identifier: Apache-2.0
// report.json and what `atelier run --json` prints.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "run/finish.h"
#include "run/ledger_view.h"
#include "run/manifest.h"

namespace atelier::run {

// How the workers were started, and what happened to them.
struct EngineReport {
  std::string name = "local";
  std::vector<std::string> nodes;  // hosts that worked to the end; empty: this machine
  int workers = 1;                 // of the end, on all nodes
  int restarts = 0;                // of all workers together
  struct Event {
    double seconds = 0;  // since the engine began
    std::string text;    // "n2 was lost: task 3 was requeued."
  };
  std::vector<Event> events;
  std::map<std::string, double> statistics;  // the engine's own, by name
};

struct RunReport {
  std::string output;             // URL of what was published
  std::string run;                // URL of the run folder
  double wall_seconds = 0;        // of this invocation
  double score_wall_seconds = 0;  // of its scoring phase
  uint64_t frames_now = 0;  // scored by this invocation; the others were there from an earlier one
  FinishReport finish;
  EngineReport engine;
  std::vector<std::string> notes;  // everything said to the user
};

std::string to_json(const RunReport& report, const Manifest& manifest);

// engine.json in the run folder: whom to ask about a job that is under way.
struct EngineRecord {
  std::string name;  // "slurm"
  int64_t job = 0;
  std::string partition;
};
std::string to_json(const EngineRecord& record);
// Errors: corrupt.
Result<EngineRecord> engine_from_json(std::string_view text);

// What the engine says now of its job.
struct EngineTask {
  std::string name;  // "1", or empty where the job has no tasks
  std::string state;
  std::string reason;  // why it waits or ended; may be empty
  std::vector<std::string> nodes;
  int restarts = 0;
};
struct EngineState {
  EngineRecord record;
  std::vector<EngineTask> tasks;
  std::string error;  // why nothing is known; empty: it answered
};

// The state of a run folder as `atelier show` prints it.
struct RunState {
  std::string run;  // URL of the run folder
  Manifest manifest;
  LedgerView ledger;
  std::vector<std::optional<ChunkCommit>> commits;  // one entry a chunk
  bool published = false;                           // report.json is there
  std::optional<EngineState> engine;                // not read by read_state()
};
// Errors: invalid_argument where there is no run; corrupt, those of the store.
Result<RunState> read_state(ObjectStore& store, const std::string& run_id,
                            WallTime now = std::chrono::system_clock::now());
// "done" (published), "scored" (but not joined), "cancelled", "failed" (chunks were given up and no
// other is left), "scoring" (somebody does) or "unfinished".
const char* state_word(const RunState& state);
// What the table shows of a chunk: its commit's or, without one, the ledger's.
std::string worker_of(const RunState& state, size_t chunk);
int attempts_of(const RunState& state, size_t chunk);
std::string to_json(const RunState& state, WallTime now = std::chrono::system_clock::now());

}  // namespace atelier::run
