// SPDX-License-Identifier: Apache-2.0
// How this machine computes the convolutions of a run fastest, measured by prepare. What was
// measured goes before the rules (model/plan_ways.cc), into the manifest by name, and into a cache
// (run/tuning_cache.h), so that the next run of this network at this size need not measure.
#pragma once

#include <functional>

#include "run/manifest.h"

namespace atelier::run {

// Measuring takes as long as 12 frames, with int8 24; of small ones as up to 48, with int8
// 96 (model/tuning.h). It seldom gains more than a few per cent
// (docs/decisions/0010-tuning.md). Of so many frames that is 2 % at most, once.
inline constexpr uint64_t kTunedFrames = 5000;

// Whether `manifest`, which is planned, asks for it: by name, or by its length.
bool measures_ways(const Manifest& manifest);

// What `runner`, the run's own, did not know before; it scores that manifest's frames. Errors:
// those of Runner::tune. `scored_one` is called after each frame's worth.
Result<model::Choices> measure_ways(const Manifest& manifest, model::Runner& runner,
                                    const std::function<void()>& scored_one);

// The plan and the memory of `runner` in place of those of a runner that took `before` bytes.
Result<void> take_plan(Manifest& manifest, model::Runner& runner, uint64_t before);

}  // namespace atelier::run
