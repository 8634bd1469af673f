// SPDX-License-Identifier: Apache-2.0
// How long a node that has nothing to do should be kept, for given arrivals: the same plan for
// several idle time-outs, and the rule of thumb beside it. Pure.
#pragma once

#include <vector>

#include "engine/simulation.h"

namespace atelier::engine {

struct IdleChoice {
  double idle_timeout = 0;  // infinite: never switched off once started
  bool always_on = false;   // all nodes from the beginning to the end
  PlanResult result;
  double total = 0;  // what nodes cost and what waiting costs
};

struct IdleSweep {
  std::vector<IdleChoice> choices;  // one for each time-out, in that order; then always on
  size_t cheapest = 0;              // by total; of equals the first
};

// `wait_price_per_hour`: what an hour costs for which a job is under way, 0 if it may take its
// time. All choices pay for the same period: until the last job of any of them is done. Errors:
// those of simulate().
Result<IdleSweep> sweep_idle_timeouts(const PlanInput& input, const std::vector<double>& timeouts,
                                      double wait_price_per_hour, const std::stop_token& stop = {});

// The gap between two jobs for which a node costs the same kept on and started again: a start is
// paid for as long as it takes, and one job waits for it. Switching off after just this time costs
// at most twice as much as knowing every gap beforehand (the ski-rental rule: Karlin, Manasse,
// Rudolph and Sleator, "Competitive snoopy caching", 1988). Seconds; infinite where nodes are free
// and waiting is not.
double break_even_gap(const PlannedPool& pool, double wait_price_per_hour);

}  // namespace atelier::engine
