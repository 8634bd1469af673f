// SPDX-License-Identifier: Apache-2.0
// Removing runs that nobody needs any more, and never one that somebody works on.
//
// Between looking at a run and removing it a worker may begin. Both sides write before they look: a
// remover puts removing.json and then looks at the folder again; a worker beats and then looks for
// removing.json (check_stands). So at least one of them sees the other, and gives way: the remover
// leaves a run in which anything changed alone, the worker ends with a sentence. No clock is
// compared for that. What is removed goes in the order of RunFolder::clear: a record before what it
// names, the manifest after all records, removing.json last; a remover that dies leaves a run in
// which less is done, and the next worker or remover sees that it died.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "run/ledger_view.h"

namespace atelier::run {

struct RunFacts {
  enum class State {
    done,        // published
    unfinished,  // with or without a worker
    remains,     // no manifest: what a removal or a late worker left
    unreadable,  // of another version, or damaged
    foreign,     // holds what is no part of a run
  };
  std::string run_id;
  State state = State::unfinished;
  WallTime changed;  // of the newest object
  uint64_t bytes = 0;
  std::optional<uint64_t> frames;           // in committed chunks, by plan
  std::optional<uint64_t> frames_expected;  // nothing if no manifest can be read
  std::string in_use;           // a sentence's middle that says by whom; empty if it may be removed
  bool silent_workers = false;  // some neither left nor are known to be dead, but beat long ago
  std::map<std::string, std::string> etags;  // of every object
};
const char* to_string(RunFacts::State state);

// A run that changed less than this ago, and was not published since, is in use. Who has not beaten
// for longer may still be at work where clocks are wrong, and is watched before (see
// silent_workers).
inline constexpr std::chrono::minutes kMoment(10);

// Looks at every run of the store; folders that are not named like one are passed over. Costs a
// list call for each folder, and reads of manifests and beats. Errors: those of the store.
Result<std::vector<RunFacts>> look_at_runs(
    ObjectStore& store, WallTime now,
    const std::function<Liveness(const Origin&)>& liveness = liveness_of);

struct CleanUpPolicy {
  std::optional<std::chrono::seconds> older_than;  // since the last change
  std::optional<uint64_t> larger_than;             // bytes of all runs together
};
struct CleanUpChoice {
  bool remove = false;
  std::string why;  // "older than asked", "in use: ..."
};
// Pure. First what is older goes; then, while all that is left is larger, the oldest. A run in use
// counts and stays. One choice a run, in the order of `runs`.
std::vector<CleanUpChoice> choose_runs_to_remove(const std::vector<RunFacts>& runs,
                                                 const CleanUpPolicy& policy, WallTime now);

// Removes the run if nothing in it changed since `facts`; otherwise says why it was kept. If
// facts.silent_workers, wait kSilence in between: that is how the ledger tells the dead, too.
Result<std::optional<std::string>> remove_run(
    ObjectStore& store, const RunFacts& facts, WallTime now,
    const std::function<Liveness(const Origin&)>& liveness = liveness_of);

// Ledger::claim calls it at first: after the worker's first beat, and before anything is scored by
// the manifest that was read. Errors: corrupt if the run was removed, or is being removed by
// somebody who is not known to be dead.
Result<void> check_stands(ObjectStore& store, const std::string& run_id,
                          const std::function<Liveness(const Origin&)>& liveness = liveness_of);

}  // namespace atelier::run
