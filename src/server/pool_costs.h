// SPDX-License-Identifier: Apache-2.0
// What a pool cost over what it really had to do, and what another idle time-out would have cost:
// the runs' own beginnings and ends are the arrivals. Pure.
//
// The idea: a node that has nothing to do waits for `idle_timeout` and is then given back; the next
// run pays for a start. For given gaps between runs both costs are sums. Times are seconds, prices
// are per hour of a node.
#pragma once

#include <string>
#include <vector>

namespace atelier::server {

struct BusyInterval {
  double begin = 0, end = 0;
};

struct PoolCost {
  double idle_timeout = 0;  // infinite: never given back once started
  double busy_seconds = 0, idle_seconds = 0, starting_seconds = 0;
  size_t starts = 0;
  double cost = 0;
  double idle_share = 0;  // of all node-seconds
};

// How a pool keeps its nodes.
struct PoolTerms {
  double idle_timeout = 0;   // seconds that one waits before it is given back
  double start_seconds = 0;  // of a node, before it works
  double price_per_hour = 0;
  size_t least = 0;  // nodes that are there from the beginning and never given back
};

// Of one after another's intervals on the fewest nodes: an interval takes the node that became free
// last. `until`: the end of what is looked at.
PoolCost cost_of_pool(const std::vector<BusyInterval>& busy, double until, const PoolTerms& terms);

// What each interval is to blame for, in the order of `busy`: the start of its node where it needed
// a new one, and its node's waiting after it; of a node that is never given back, neither. Over all
// intervals these sum up to cost_of_pool() less what such nodes wait.
std::vector<PoolCost> share_pool_cost(const std::vector<BusyInterval>& busy, double until,
                                      const PoolTerms& terms);

// cost_of_pool() for each of the time-outs that could be best: 0, each gap's length, infinity,
// thinned to at most `most`; ordered by time-out (that of `terms` is not used). The cheapest is the
// one with the least cost (of equals the shortest).
struct CostSweep {
  std::vector<PoolCost> choices;
  size_t cheapest = 0;
};
CostSweep sweep_pool_costs(const std::vector<BusyInterval>& busy, double until, PoolTerms terms,
                           size_t most = 64);

}  // namespace atelier::server
