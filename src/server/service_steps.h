// SPDX-License-Identifier: Apache-2.0
// What the service starts for a run: command lines, from the run's row, its pipeline and its pool.
// Pure.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "server/config.h"
#include "server/submission.h"

namespace atelier::server {

// A folder's path, or its URL, as the program takes it for --runs.
std::string text_of(const Location& place);

// Key of what a scoring step of a run hands to the next one, in the store of run folders.
std::string between_key(const std::string& run_id, size_t step, std::string_view extension);

// The commands of the run's steps. From the second attempt at the last step on the output may be
// replaced: the first one saw that nothing was there, and may have published before it was lost.
// Errors: those of commands_of().
Result<std::vector<std::vector<std::string>>> run_commands(const Config& config,
                                                           const std::string& program,
                                                           const Submissions::Of& of,
                                                           const RunRow& run);

// The command that makes the run's picture at `path`. Errors: those of locations_of().
Result<std::vector<std::string>> preview_command(const std::string& program,
                                                 const Submissions::Of& of,
                                                 const std::filesystem::path& path);

// The most nodes that one run of a pool takes.
int64_t most_nodes(const PoolConfig& pool);
// How many runs a pool has at the same time: its nodes over the most that one run takes.
int64_t runs_at_once(const PoolConfig& pool);

}  // namespace atelier::server
