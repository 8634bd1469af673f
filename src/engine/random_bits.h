// SPDX-License-Identifier: Apache-2.0
// Random numbers by counting: the n-th of a seed, whatever was drawn before, so that plans with
// other numbers of nodes meet the same accidents. Used inside src/engine.
#pragma once

#include <cstdint>

namespace atelier::engine {

// SplitMix64's finaliser (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
// 2014).
inline uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// In [0, 1), by 53 bits of mix(x).
inline double unit_of(uint64_t x) { return static_cast<double>(mix(x) >> 11) * 0x1p-53; }

}  // namespace atelier::engine
