// SPDX-License-Identifier: Apache-2.0
#include "server/pool_costs.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <queue>
#include <utility>

namespace atelier::server {
namespace {

// What an interval's node did before and after it.
struct Stay {
  double busy = 0;
  std::optional<double> waited;  // before it; nothing: the node is new
  double waits = 0;              // after it, for the next one or the end of what is looked at
};

// In the order of `busy`. O(n log n): the nodes that are free are a stack, on which the one that
// became free last lies on top.
std::vector<Stay> find_stays(const std::vector<BusyInterval>& busy, double until) {
  std::vector<size_t> order(busy.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::pair(busy[a].begin, busy[a].end) < std::pair(busy[b].begin, busy[b].end);
  });
  using End = std::pair<double, size_t>;  // when, and whose
  std::priority_queue<End, std::vector<End>, std::greater<>> working;
  std::vector<End> free;
  std::vector<Stay> stays(busy.size());
  for (const size_t i : order) {
    const double begin = busy[i].begin;
    const double end = std::max(begin, std::min(busy[i].end, until));
    for (; !working.empty() && working.top().first <= begin; working.pop()) {
      free.push_back(working.top());
    }
    stays[i].busy = end - begin;
    stays[i].waits = std::max(0.0, until - end);
    if (!free.empty()) {
      const auto [since, before] = free.back();
      free.pop_back();
      stays[i].waited = stays[before].waits = begin - since;
    }
    working.emplace(end, i);
  }
  return stays;
}

struct Terms {
  double idle_timeout, start_seconds, price_per_hour;
};

void add(PoolCost& cost, const Stay& stay, const Terms& terms) {
  cost.busy_seconds += stay.busy;
  cost.idle_seconds += std::min(stay.waits, terms.idle_timeout);
  if (!stay.waited || *stay.waited > terms.idle_timeout) ++cost.starts;
}

PoolCost close(PoolCost cost, const Terms& terms) {
  cost.idle_timeout = terms.idle_timeout;
  cost.starting_seconds = static_cast<double>(cost.starts) * terms.start_seconds;
  const double all = cost.busy_seconds + cost.idle_seconds + cost.starting_seconds;
  cost.cost = all / 3600 * terms.price_per_hour;
  cost.idle_share = all > 0 ? cost.idle_seconds / all : 0;
  return cost;
}

PoolCost cost_of_stays(const std::vector<Stay>& stays, const Terms& terms) {
  PoolCost cost;
  for (const Stay& stay : stays) add(cost, stay, terms);
  return close(cost, terms);
}

}  // namespace

PoolCost cost_of_pool(const std::vector<BusyInterval>& busy, double until, double idle_timeout,
                      double start_seconds, double price_per_hour) {
  return cost_of_stays(find_stays(busy, until), {idle_timeout, start_seconds, price_per_hour});
}

std::vector<PoolCost> share_pool_cost(const std::vector<BusyInterval>& busy, double until,
                                      double idle_timeout, double start_seconds,
                                      double price_per_hour) {
  const Terms terms{idle_timeout, start_seconds, price_per_hour};
  std::vector<PoolCost> shares;
  for (const Stay& stay : find_stays(busy, until)) shares.push_back(cost_of_stays({stay}, terms));
  return shares;
}

CostSweep sweep_pool_costs(const std::vector<BusyInterval>& busy, double until,
                           double start_seconds, double price_per_hour, size_t most) {
  const std::vector<Stay> stays = find_stays(busy, until);
  std::vector<double> timeouts = {0};
  for (const Stay& stay : stays) {
    if (stay.waited) timeouts.push_back(*stay.waited);
  }
  std::sort(timeouts.begin(), timeouts.end());
  timeouts.erase(std::unique(timeouts.begin(), timeouts.end()), timeouts.end());
  CostSweep sweep;
  const size_t stride = std::max<size_t>(1, (timeouts.size() + most - 1) / most);
  for (size_t i = 0; i < timeouts.size(); i += stride) {
    sweep.choices.push_back(cost_of_stays(stays, {timeouts[i], start_seconds, price_per_hour}));
  }
  sweep.choices.push_back(cost_of_stays(
      stays, {std::numeric_limits<double>::infinity(), start_seconds, price_per_hour}));
  const auto less = [](const PoolCost& a, const PoolCost& b) { return a.cost < b.cost; };
  sweep.cheapest = static_cast<size_t>(
      std::min_element(sweep.choices.begin(), sweep.choices.end(), less) - sweep.choices.begin());
  return sweep;
}

}  // namespace atelier::server
