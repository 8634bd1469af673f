// SPDX-License-Identifier: Apache-2.0
// What the ledger's records say, for those who only look: `show` and `gc`. Nothing is written, and
// what is shown may have changed meanwhile.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "run/ledger.h"
#include "store/object_store.h"

namespace atelier::run {

using WallTime = std::chrono::system_clock::time_point;

struct WorkerView {
  std::string name;
  bool left = false;
  Origin origin;        // empty if its beat cannot be read
  uint64_t frames = 0;  // encoded since it started
  double seconds = 0;   // from there to that beat; 0 in the beats of older versions
  WallTime beat;        // when it last beat, by the clock of the store or of its own machine
};
// The workers whose beats are among `objects`, those of one run's folder.
Result<std::vector<WorkerView>> read_workers(ObjectStore& store,
                                             const std::vector<ObjectInfo>& objects);

// One attempt that failed.
struct FailedAttempt {
  int chunk = -1;
  int attempt = 1;
  std::string worker;
  std::string error;
  WallTime when;
};

struct ChunkView {
  enum class State {
    waiting,
    scoring,  // its claim's worker has not left, is not certainly dead and was heard of
    done,     // committed
    failed,   // given up
  };
  State state = State::waiting;
  std::string worker;  // who holds it, gave it up, or (waiting) vanished with it
  int attempts = 0;    // begun so far; losses are none
  int losses = 0;
};

struct LedgerView {
  std::vector<ChunkView> chunks;
  std::vector<WorkerView> workers;
  std::vector<FailedAttempt> failures;  // the oldest, the cause of what followed, first
  bool cancelled = false;
};

// A worker that has not beaten for this long is not shown as scoring.
inline constexpr std::chrono::seconds kSilence(30);

// `chunks`: how many the run has. `now`: the time to compare beats with. Errors: corrupt, those of
// the store.
Result<LedgerView> read_ledger(
    ObjectStore& store, const std::string& run_id, int chunks,
    WallTime now = std::chrono::system_clock::now(),
    const std::function<Liveness(const Origin&)>& liveness = liveness_of);

const char* to_string(ChunkView::State state);

}  // namespace atelier::run
