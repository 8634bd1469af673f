// SPDX-License-Identifier: Apache-2.0
// What a broker sets on its scorer from outside; what a scorer does to itself is run/sandbox.h.
#pragma once

#include <sys/types.h>

#include "base/result.h"
#include "run/manifest.h"

namespace atelier::run {

// Where memory runs out, the kernel ends the scorer, which is replaced, and not its broker. Best
// effort: without it the kernel chooses by size alone.
void offer_to_the_kernel(pid_t pid);

// A result larger than the frames of any chunk can be is none: SIGXFSZ ends a scorer that fills the
// disk. Errors: internal.
Result<void> limit_results(pid_t pid, const Manifest& manifest);

}  // namespace atelier::run
