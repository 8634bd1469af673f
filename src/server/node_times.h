// SPDX-License-Identifier: Apache-2.0
// When nodes worked for an attempt at a run, and what that costs.
#pragma once

#include <string>
#include <vector>

#include "server/database.h"
#include "server/wall_clock.h"

namespace atelier::server {

// A node at work, in [begin, end).
struct NodeTime {
  std::string node;  // a name; means something within one attempt
  Millis begin = 0, end = 0;
  bool operator==(const NodeTime&) const = default;
};

// What of them lies in [begin, end); those without any of it are left out.
std::vector<NodeTime> within(std::vector<NodeTime> times, Millis begin, Millis end);

// That many nodes, for all of that time.
std::vector<NodeTime> all_of(int64_t nodes, Millis begin, Millis end);

// In the unit of the price.
double cost_of(const std::vector<NodeTime>& times, double price_per_node_hour);

// Rows of pool_time. Errors: those of Connection.
Result<void> write_pool_time(Connection& connection, const std::string& pool,
                             const std::string& run_id, const std::vector<NodeTime>& times);

}  // namespace atelier::server
