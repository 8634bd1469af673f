// SPDX-License-Identifier: Apache-2.0
#include "run/waiting.h"

#include <algorithm>

namespace atelier::run {

std::chrono::milliseconds rest_after(std::chrono::milliseconds look, double chance) {
  const auto rest = std::clamp(kRestOfLook * look, kShortestRest, kLongestRest);
  const double jittered = static_cast<double>(rest.count()) * (0.75 + 0.5 * chance);
  return std::chrono::milliseconds(static_cast<int64_t>(jittered));
}

}  // namespace atelier::run
