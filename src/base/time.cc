// SPDX-License-Identifier: Apache-2.0
#include "base/time.h"

#include <algorithm>
#include <cmath>

namespace atelier {

int64_t ticks_at_or_after(double seconds, Rational base) {
  // Further than any video reaches, and an origin can be added to it.
  constexpr long double kMost = int64_t{1} << 61;
  const long double exact =
      std::clamp(static_cast<long double>(seconds) * base.den / base.num, -kMost, kMost);
  const long double nearest = std::round(exact);
  // A second typed in decimal, such as 0.04, is not a binary fraction: within a thousandth of a
  // tick it is that tick.
  if (std::fabs(exact - nearest) < 1e-3L) return static_cast<int64_t>(nearest);
  return static_cast<int64_t>(std::ceil(exact));
}

}  // namespace atelier
