// SPDX-License-Identifier: Apache-2.0
// When jobs arrive: as a log says, or at random. Pure.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/simulation.h"

namespace atelier::engine {

// `count` jobs of `chunks` each, with exponentially distributed gaps; the first gap counts, too.
std::vector<PlannedJob> poisson_arrivals(double jobs_per_hour, int count, int chunks,
                                         uint64_t seed);

// A line for each job: when it arrived, and perhaps how many chunks it has (`chunks` otherwise).
// When is a number of seconds or a time like 2026-11-29T21:55:09Z, with a fraction if there is one;
// the first job is at 0. Lines may be in any order; empty ones and what follows '#' are ignored.
// Errors: invalid_argument naming the line.
Result<std::vector<PlannedJob>> parse_arrivals(std::string_view text, int chunks);

}  // namespace atelier::engine
