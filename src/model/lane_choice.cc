// SPDX-License-Identifier: Apache-2.0
#include "model/lane_choice.h"

#include <algorithm>

namespace atelier::model {

bool LaneChoice::at_once() const {
  return decided() ? best_[1] < best_[0] : rounds_[1] < rounds_[0];
}

void LaneChoice::took(int frames, double seconds) {
  if (decided() || frames < 1) return;
  const size_t way = at_once() ? 1 : 0;
  const double each = seconds / frames;
  best_[way] = rounds_[way] == 0 ? each : std::min(best_[way], each);
  ++rounds_[way];
}

}  // namespace atelier::model
