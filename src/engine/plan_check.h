// SPDX-License-Identifier: Apache-2.0
// Whether a plan's numbers make sense. Used inside src/engine.
#pragma once

#include "engine/simulation.h"

namespace atelier::engine {

// Errors: invalid_argument naming the number.
Result<void> check_plan(const PlanInput& input);

}  // namespace atelier::engine
