// SPDX-License-Identifier: Apache-2.0
// The tuning cache under $XDG_CACHE_HOME/atelier (run/tuning_cache.h).
#pragma once

#include "base/result.h"
#include "model/ways.h"

namespace atelier::cli {

// What was measured on this machine before. Makes nothing.
model::Choices known_choices();
// Errors: those of the store; invalid_argument if the folder cannot be made.
Result<void> keep_choices(const model::Choices& measured);

}  // namespace atelier::cli
