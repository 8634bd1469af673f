// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>

namespace atelier::run {

// Bytes of memory that the processes of this machine may have together, swap not counted: the least
// of what the machine has and of the limits of the control groups (v1 and v2) that this process is
// in, parents included. 0 if nothing can be learnt. `root` holds proc and sys; another one is for
// tests.
uint64_t usable_memory(const std::filesystem::path& root = "/");
// What the machine has, whatever its control groups allow. 0: unknown.
uint64_t machine_memory(const std::filesystem::path& root = "/");

}  // namespace atelier::run
