// SPDX-License-Identifier: Apache-2.0
#include "engine/idle_sweep.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace atelier::engine {

Result<IdleSweep> sweep_idle_timeouts(const PlanInput& input, const std::vector<double>& timeouts,
                                      double wait_price_per_hour, const std::stop_token& stop) {
  IdleSweep sweep;
  PlanInput plan = input;
  for (const double timeout : timeouts) {
    plan.pool.idle_timeout = timeout;
    sweep.choices.push_back({timeout, false, TRY(simulate(plan, stop)), 0});
    plan.until = std::max(plan.until, sweep.choices.back().result.finished);
  }
  // Those whose nodes stay were simulated before it was known how long.
  for (IdleChoice& choice : sweep.choices) {
    const bool stay = plan.pool.min_nodes > 0 || std::isinf(choice.idle_timeout);
    if (!stay || choice.result.finished >= plan.until) continue;
    plan.pool.idle_timeout = choice.idle_timeout;
    choice.result = TRY(simulate(plan, stop));
  }
  plan.pool.idle_timeout = std::numeric_limits<double>::infinity();
  plan.pool.min_nodes = plan.pool.max_nodes;
  sweep.choices.push_back({plan.pool.idle_timeout, true, TRY(simulate(plan, stop)), 0});
  const auto jobs = static_cast<double>(input.jobs.size());
  for (size_t i = 0; i < sweep.choices.size(); ++i) {
    IdleChoice& choice = sweep.choices[i];
    const double waited = jobs * choice.result.turnaround_mean;
    choice.total = choice.result.cost + waited / 3600 * wait_price_per_hour;
    if (choice.total < sweep.choices[sweep.cheapest].total) sweep.cheapest = i;
  }
  return sweep;
}

double break_even_gap(const PlannedPool& pool, double wait_price_per_hour) {
  if (wait_price_per_hour <= 0) return pool.start_delay;
  if (pool.price_per_node_hour <= 0) return std::numeric_limits<double>::infinity();
  return pool.start_delay * (1 + wait_price_per_hour / pool.price_per_node_hour);
}

}  // namespace atelier::engine
