// SPDX-License-Identifier: Apache-2.0
// What Slurm has, asked before a job is submitted, by its own commands. Errors of all: unavailable
// where it does not answer, corrupt where the answer is not understood.
#pragma once

#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "engine/commands.h"

namespace atelier::engine {

// A partition, or several that the job may choose from ("a,b").
struct SlurmPartition {
  std::string name;
  std::string availability;          // "up", where one of them is; else "down", "drain", "inactive"
  std::map<std::string, int> nodes;  // by Slurm's word for their state: "idle", "down*"
  // Nodes of those that are up on which work may start, now or after others.
  int usable = 0;
};

// `name` empty: the default one. Nothing: there is none.
Result<std::optional<SlurmPartition>> look_at_partition(Commands& commands, const std::string& name,
                                                        std::stop_token stop);
// "3 idle, 1 down*"
std::string nodes_in_words(const SlurmPartition& partition);

// Whether so many of its nodes may ever work as it is. Errors: unavailable, with what to do.
Result<void> check_usable(const SlurmPartition& partition, int least);

// Whether work may start on a node in that state: one that is powered down counts, one that is down
// or drained does not. One that does not answer just now ("idle*", as after a drain) counts until
// Slurm takes it for down.
bool is_usable_node(std::string_view state);

// Whether its srun can start ranks of Open MPI (--mpi=pmix).
Result<bool> has_pmix(Commands& commands, std::stop_token stop);

// How many tasks numbered from 1 an array may have (MaxArraySize). Nothing: it does not say.
Result<std::optional<int>> most_tasks(Commands& commands, std::stop_token stop);

// The last line that a command says, without the "sbatch: error: " before it.
std::string last_words(const Commands::Answer& answer);

// What a command prints; unavailable where it ends with another code than 0.
Result<std::string> printed_by(Commands& commands, const std::vector<std::string>& words,
                               const std::stop_token& stop);

}  // namespace atelier::engine
