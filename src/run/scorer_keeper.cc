// SPDX-License-Identifier: Apache-2.0
#include "run/scorer_keeper.h"

#include <utility>

namespace atelier::run {

std::optional<ScorerKeeper::Kept> ScorerKeeper::take(const ScorerTask& task) {
  std::optional<Kept> kept = std::exchange(kept_, std::nullopt);
  if (!kept || kept->sandbox != task.sandbox || !kept->scorer->give(task)) return std::nullopt;
  return kept;
}

void ScorerKeeper::look() {
  if (kept_ && !kept_->scorer->rests_well()) kept_.reset();
}

void ScorerKeeper::keep(Kept kept) {
  if (kept.scorer && kept.scorer->rests()) kept_ = std::move(kept);
}

}  // namespace atelier::run
