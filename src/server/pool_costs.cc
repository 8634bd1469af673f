// SPDX-License-Identifier: Apache-2.0
#include "server/pool_costs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

namespace atelier::server {
namespace {

// For each interval how long its node had nothing to do before it, or nothing where it needed a new
// node; then what each node has to wait at the end.
struct Gaps {
  std::vector<double> between;
  std::vector<double> last;  // one for each node
  double busy = 0;
};

Gaps find_gaps(std::vector<BusyInterval> busy, double until) {
  std::sort(busy.begin(), busy.end(), [](const BusyInterval& a, const BusyInterval& b) {
    return a.begin < b.begin || (a.begin == b.begin && a.end < b.end);
  });
  Gaps gaps;
  std::vector<double> free_since;  // of the nodes
  for (const BusyInterval& one : busy) {
    const double end = std::max(one.begin, std::min(one.end, until));
    gaps.busy += end - one.begin;
    std::optional<size_t> best;
    for (size_t node = 0; node < free_since.size(); ++node) {
      if (free_since[node] > one.begin) continue;
      if (!best || free_since[node] > free_since[*best]) best = node;
    }
    if (best) {
      gaps.between.push_back(one.begin - free_since[*best]);
      free_since[*best] = end;
    } else {
      free_since.push_back(end);
    }
  }
  for (const double since : free_since) gaps.last.push_back(std::max(0.0, until - since));
  return gaps;
}

PoolCost cost_of_gaps(const Gaps& gaps, double idle_timeout, double start_seconds,
                      double price_per_hour) {
  PoolCost cost;
  cost.idle_timeout = idle_timeout;
  cost.busy_seconds = gaps.busy;
  cost.starts = gaps.last.size();
  for (const double gap : gaps.between) {
    cost.idle_seconds += std::min(gap, idle_timeout);
    if (gap > idle_timeout) ++cost.starts;
  }
  for (const double gap : gaps.last) cost.idle_seconds += std::min(gap, idle_timeout);
  cost.starting_seconds = static_cast<double>(cost.starts) * start_seconds;
  const double all = cost.busy_seconds + cost.idle_seconds + cost.starting_seconds;
  cost.cost = all / 3600 * price_per_hour;
  cost.idle_share = all > 0 ? cost.idle_seconds / all : 0;
  return cost;
}

}  // namespace

PoolCost cost_of_pool(std::vector<BusyInterval> busy, double until, double idle_timeout,
                      double start_seconds, double price_per_hour) {
  return cost_of_gaps(find_gaps(std::move(busy), until), idle_timeout, start_seconds,
                      price_per_hour);
}

CostSweep sweep_pool_costs(const std::vector<BusyInterval>& busy, double until,
                           double start_seconds, double price_per_hour, size_t most) {
  const Gaps gaps = find_gaps(busy, until);
  std::vector<double> timeouts = gaps.between;
  timeouts.push_back(0);
  std::sort(timeouts.begin(), timeouts.end());
  timeouts.erase(std::unique(timeouts.begin(), timeouts.end()), timeouts.end());
  CostSweep sweep;
  const size_t stride = std::max<size_t>(1, (timeouts.size() + most - 1) / most);
  for (size_t i = 0; i < timeouts.size(); i += stride) {
    sweep.choices.push_back(cost_of_gaps(gaps, timeouts[i], start_seconds, price_per_hour));
  }
  sweep.choices.push_back(
      cost_of_gaps(gaps, std::numeric_limits<double>::infinity(), start_seconds, price_per_hour));
  const auto less = [](const PoolCost& a, const PoolCost& b) { return a.cost < b.cost; };
  sweep.cheapest = static_cast<size_t>(
      std::min_element(sweep.choices.begin(), sweep.choices.end(), less) - sweep.choices.begin());
  return sweep;
}

}  // namespace atelier::server
