// SPDX-License-Identifier: Apache-2.0
// A scorer that rests between two runs of the same process, with the model of the first.
#pragma once

#include <memory>
#include <optional>

#include "run/scorer_process.h"
#include "run/shared_progress.h"

namespace atelier::run {

// One thread: the scorer's process dies with the thread that started it.
class ScorerKeeper {
 public:
  struct Kept {
    std::unique_ptr<SharedProgress> progress;  // the scorer's; outlives it
    std::unique_ptr<ScorerProcess> scorer;
    bool sandbox = true;
  };
  // The scorer that rests, at work on `task` now; nothing: there is none, or it is not locked in as
  // the task wants it, or it has died.
  std::optional<Kept> take(const ScorerTask& task);
  // For the next task, if it rests.
  void keep(Kept kept);
  // To be called now and then: ends one that does not just rest (ScorerProcess::rests_well).
  void look();

 private:
  std::optional<Kept> kept_;
};

}  // namespace atelier::run
