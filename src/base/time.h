// SPDX-License-Identifier: Apache-2.0
// Media time is a rational copied from the source, never a frame index times a rate.
#pragma once

#include <compare>
#include <cstdint>
#include <numeric>

namespace atelier {

// num/den; a time base is seconds per tick, e.g. 1/90000.
struct Rational {
  int num = 0;
  int den = 1;
  bool operator==(const Rational&) const = default;
  double value() const { return den == 0 ? 0.0 : static_cast<double>(num) / den; }
};

struct MediaTime {
  int64_t ticks = 0;
  Rational base{1, 1};
  double seconds() const { return static_cast<double>(ticks) * base.value(); }
};

// Compares exactly, by cross multiplication in 128 bits.
inline std::strong_ordering compare(const MediaTime& a, const MediaTime& b) {
  const auto left = static_cast<__int128>(a.ticks) * a.base.num * b.base.den;
  const auto right = static_cast<__int128>(b.ticks) * b.base.num * a.base.den;
  return left < right
             ? std::strong_ordering::less
             : (left > right ? std::strong_ordering::greater : std::strong_ordering::equal);
}

// Seconds to ticks of `base`, rounding up: the first tick at or after that second.
int64_t ticks_at_or_after(double seconds, Rational base);

}  // namespace atelier
