// SPDX-License-Identifier: Apache-2.0
// What every engine knows of the processes that it starts: what their exit codes mean, and what of
// this environment they may have.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace atelier::engine {

inline constexpr int kInterrupted = 130;  // the program was asked to leave, and left in good order
// A shell's for a program that it cannot start, and for one that it does not find.
inline constexpr int kNotStarted = 126;
inline constexpr int kNotFound = 127;
// Of a rank that srun started, whose batch script tries again: the others have not come, or have
// gone since. Neither is a code of a program that others wait for.
inline constexpr int kGangUnmet = 75;
inline constexpr int kGangBroken = 76;

// The inverse of the program's exit codes.
Code code_of_exit(int code);

// Variables that are set here and may go to other hosts, by name: places of programs, files and
// stores (where credentials stay in files, those must not lead elsewhere there), and no secret,
// since what goes along is sent in clear (MPI) or kept in files (Slurm).
std::vector<std::string> harmless_variables();

}  // namespace atelier::engine
