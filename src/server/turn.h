// SPDX-License-Identifier: Apache-2.0
// Whose turn it is: which queued run begins next when a pool has room.
//
// The idea: the highest priority first; among equals the owner of whom the fewest runs go on in all
// pools; among those the one who waited longest since a run of theirs began; within an owner the
// oldest run. So nobody who submits ten thousand keeps one who submits one waiting for more than a
// run. Cost: one index lookup per owner who has something in the queue.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "server/database.h"
#include "server/wall_clock.h"

namespace atelier::server {

// The best queued run of one owner.
struct Candidate {
  std::string id;
  std::string owner;
  int64_t priority = 0;
  int64_t seq = 0;
  int64_t running_of_owner = 0;
  uint64_t last_begun = 0;  // when a run of the owner's last began: a count, not a time; 0: never
};

// Pure: the one whose turn it is; none of those whose owner has as many running as it may have.
const Candidate* choose_next(const std::vector<Candidate>& candidates,
                             const std::function<int64_t(const std::string& owner)>& most_running);

// Those of one pool that may begin now. `last_begun`: by owner.
Result<std::vector<Candidate>> find_candidates(Connection& connection, const std::string& pool,
                                               const std::map<std::string, uint64_t>& last_begun,
                                               Millis now);

}  // namespace atelier::server
