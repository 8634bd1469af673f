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
  size_t node = 0;  // in the order in which they were needed first
  double busy = 0;
  std::optional<double> waited;  // before it; nothing: the node is new
  double waits = 0;              // after it, for the next one or the end of what is looked at
};

// In the order of `busy`. O(n log n): the nodes that are free are a stack, on which the one that
// became free last lies on top. The `least` that are there anyway are taken first.
std::vector<Stay> find_stays(const std::vector<BusyInterval>& busy, double until, size_t least) {
  std::vector<size_t> order(busy.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::pair(busy[a].begin, busy[a].end) < std::pair(busy[b].begin, busy[b].end);
  });
  using End = std::pair<double, size_t>;  // when, and whose
  std::priority_queue<End, std::vector<End>, std::greater<>> working;
  std::vector<End> free_of_least, free_of_others;
  std::vector<Stay> stays(busy.size());
  size_t nodes = 0;
  for (const size_t i : order) {
    const double begin = busy[i].begin;
    const double end = std::max(begin, std::min(busy[i].end, until));
    for (; !working.empty() && working.top().first <= begin; working.pop()) {
      const bool stays_on = stays[working.top().second].node < least;
      (stays_on ? free_of_least : free_of_others).push_back(working.top());
    }
    std::vector<End>& free = free_of_least.empty() ? free_of_others : free_of_least;
    stays[i].busy = end - begin;
    stays[i].waits = std::max(0.0, until - end);
    if (!free.empty()) {
      const auto [since, before] = free.back();
      free.pop_back();
      stays[i].waited = stays[before].waits = begin - since;
      stays[i].node = stays[before].node;
    } else {
      stays[i].node = nodes++;
    }
    working.emplace(end, i);
  }
  return stays;
}

void add(PoolCost& cost, const Stay& stay, const PoolTerms& terms) {
  cost.busy_seconds += stay.busy;
  if (stay.node < terms.least) return;
  cost.idle_seconds += std::min(stay.waits, terms.idle_timeout);
  if (!stay.waited || *stay.waited > terms.idle_timeout) ++cost.starts;
}

PoolCost close(PoolCost cost, const PoolTerms& terms) {
  cost.idle_timeout = terms.idle_timeout;
  cost.starting_seconds = static_cast<double>(cost.starts) * terms.start_seconds;
  const double all = cost.busy_seconds + cost.idle_seconds + cost.starting_seconds;
  cost.cost = all / 3600 * terms.price_per_hour;
  cost.idle_share = all > 0 ? cost.idle_seconds / all : 0;
  return cost;
}

PoolCost cost_of_stays(const std::vector<Stay>& stays, double until, const PoolTerms& terms) {
  PoolCost cost;
  double busy_of_least = 0;
  for (const Stay& stay : stays) {
    add(cost, stay, terms);
    if (stay.node < terms.least) busy_of_least += stay.busy;
  }
  // They are there all the time, working or not.
  cost.idle_seconds += std::max(0.0, static_cast<double>(terms.least) * until - busy_of_least);
  return close(cost, terms);
}

}  // namespace

PoolCost cost_of_pool(const std::vector<BusyInterval>& busy, double until, const PoolTerms& terms) {
  return cost_of_stays(find_stays(busy, until, terms.least), until, terms);
}

std::vector<PoolCost> share_pool_cost(const std::vector<BusyInterval>& busy, double until,
                                      const PoolTerms& terms) {
  std::vector<PoolCost> shares;
  for (const Stay& stay : find_stays(busy, until, terms.least)) {
    PoolCost share;
    add(share, stay, terms);
    shares.push_back(close(share, terms));
  }
  return shares;
}

CostSweep sweep_pool_costs(const std::vector<BusyInterval>& busy, double until, PoolTerms terms,
                           size_t most) {
  const std::vector<Stay> stays = find_stays(busy, until, terms.least);
  std::vector<double> timeouts = {0};
  for (const Stay& stay : stays) {
    if (stay.waited) timeouts.push_back(*stay.waited);
  }
  std::sort(timeouts.begin(), timeouts.end());
  timeouts.erase(std::unique(timeouts.begin(), timeouts.end()), timeouts.end());
  CostSweep sweep;
  const size_t stride = std::max<size_t>(1, (timeouts.size() + most - 1) / most);
  for (size_t i = 0; i < timeouts.size(); i += stride) {
    terms.idle_timeout = timeouts[i];
    sweep.choices.push_back(cost_of_stays(stays, until, terms));
  }
  terms.idle_timeout = std::numeric_limits<double>::infinity();
  sweep.choices.push_back(cost_of_stays(stays, until, terms));
  const auto less = [](const PoolCost& a, const PoolCost& b) { return a.cost < b.cost; };
  sweep.cheapest = static_cast<size_t>(
      std::min_element(sweep.choices.begin(), sweep.choices.end(), less) - sweep.choices.begin());
  return sweep;
}

}  // namespace atelier::server
