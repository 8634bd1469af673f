// SPDX-License-Identifier: Apache-2.0
#include "server/node_times.h"

#include <algorithm>

namespace atelier::server {

std::vector<NodeTime> within(std::vector<NodeTime> times, Millis begin, Millis end) {
  for (NodeTime& time : times) {
    time.begin = std::max(time.begin, begin);
    time.end = std::min(time.end, end);
  }
  std::erase_if(times, [](const NodeTime& time) { return time.begin >= time.end; });
  return times;
}

std::vector<NodeTime> all_of(int64_t nodes, Millis begin, Millis end) {
  std::vector<NodeTime> times;
  for (int64_t node = 0; node < nodes; ++node) times.push_back({std::to_string(node), begin, end});
  return within(std::move(times), begin, end);
}

double cost_of(const std::vector<NodeTime>& times, double price_per_node_hour) {
  double hours = 0;
  for (const NodeTime& time : times) hours += static_cast<double>(time.end - time.begin) / 3.6e6;
  return hours * price_per_node_hour;
}

Result<void> write_pool_time(Connection& connection, const std::string& pool,
                             const std::string& run_id, const std::vector<NodeTime>& times) {
  for (const NodeTime& time : times) {
    TRY(
        connection.run("INSERT INTO pool_time (pool, node, kind, begin_at, end_at, run_id) "
                       "VALUES (?, ?, 'busy', ?, ?, ?)",
                       {pool, time.node, time.begin, time.end, run_id}));
  }
  return {};
}

}  // namespace atelier::server
