// SPDX-License-Identifier: Apache-2.0
// atelier bench --tune: the ways of every convolution, measured, and what the choice gains.
#pragma once

#include <stop_token>

#include "cli/commands.h"
#include "model/model_file.h"

namespace atelier::cli {

// Measures anew, and keeps it for runs. `in` is scored by rule and as chosen in turn, `repeats`
// times.
Result<void> bench_tuning(const BenchOptions& options, const model::LoadedModel& model,
                          const FrameView& in, Console& console, std::stop_token stop);

}  // namespace atelier::cli
