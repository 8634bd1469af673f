// SPDX-License-Identifier: Apache-2.0
// How long a worker that waits for others leaves the store alone. A look at the ledger costs two
// lists and a call or two for each chunk that is held, so hundreds that look as often as they can
// would ask more of a service than it gives. Each rests for a multiple of what its look took: it
// uses the store a fifth of the time at most, less often the more there is to look at, and less
// still when the service gets slow. engine/simulation.h reckons with the same.
#pragma once

#include <chrono>

namespace atelier::run {

inline constexpr std::chrono::milliseconds kShortestRest(250);
inline constexpr int kRestOfLook = 4;  // times what the look took
// A vanished worker is noticed so much later at most, where there are thousands of chunks to look
// at.
inline constexpr std::chrono::milliseconds kLongestRest(30000);

// `chance`: from 0 to 1, at random, so that those who began to wait together do not go on together:
// a quarter more or less.
std::chrono::milliseconds rest_after(std::chrono::milliseconds look, double chance);

}  // namespace atelier::run
