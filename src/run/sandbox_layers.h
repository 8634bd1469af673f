// SPDX-License-Identifier: Apache-2.0
// The layers of lock_down that the kernel enforces by itself, one by one, so that each is tested
// without the others in front of it. Internal to src/run.
#pragma once

#include "base/result.h"

namespace atelier::run {

// Both need no_new_privs (or CAP_SYS_ADMIN) and cannot be undone.

// Landlock on the calling thread and those it makes from now on, without any rule. Returns the ABI,
// or 0 where there is none. Errors: internal.
Result<int> restrict_by_landlock();

// The allow-list of system calls on every thread of the process. Errors: internal: the kernel has
// no seccomp filters, or a thread has other ones.
Result<void> filter_system_calls();

}  // namespace atelier::run
