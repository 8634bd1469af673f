// SPDX-License-Identifier: Apache-2.0
#include "run/shot_runners.h"

#include <algorithm>

namespace atelier::run {

size_t ShotRunners::shot_of(int64_t pts) const {
  const auto after = std::upper_bound(shots_.begin(), shots_.end(), pts,
                                      [](int64_t t, const Shot& s) { return t < s.first_pts; });
  return after == shots_.begin() ? 0 : static_cast<size_t>(after - shots_.begin()) - 1;
}

Result<model::Runner*> ShotRunners::at(int64_t pts) {
  const size_t shot = shot_of(pts);
  if (!runner_ || shot != shot_) {
    runner_.reset();  // its memory, before there is another
    if (!shots_.empty()) options_.statistics = shots_[shot].statistics;
    runner_ = TRY(make_(options_));
    shot_ = shot;
  }
  return runner_.get();
}

}  // namespace atelier::run
