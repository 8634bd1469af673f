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

}  // namespace atelier::cli
