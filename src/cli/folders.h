// SPDX-License-Identifier: Apache-2.0
// Where the program keeps things, by the XDG base directory specification.
#pragma once

#include <filesystem>

#include "base/result.h"

namespace atelier::cli {

std::filesystem::path data_home();   // $XDG_DATA_HOME/atelier
std::filesystem::path state_home();  // $XDG_STATE_HOME/atelier
std::filesystem::path cache_home();  // $XDG_CACHE_HOME/atelier
std::filesystem::path program_folder();

// For scratch files: $TMPDIR, else $XDG_CACHE_HOME/atelier/scratch; made if absent.
Result<std::filesystem::path> scratch_folder();
// The same, but nothing of it ever reaches a disk (though it may a swap device): $TMPDIR if that is
// in memory, else a folder of this user's in /dev/shm. Errors: invalid_argument.
Result<std::filesystem::path> scratch_in_memory();

}  // namespace atelier::cli
