// SPDX-License-Identifier: Apache-2.0
#include "server/pool_report.h"

#include <algorithm>
#include <cmath>

#include "server/api_json.h"
#include "server/pool_costs.h"

namespace atelier::server {
namespace {

using nlohmann::json;

constexpr Millis kDay = Millis{24} * 3600 * 1000;

json number_or_null(double value) { return std::isfinite(value) ? json(value) : json(); }

json cost_json(const PoolCost& cost) {
  return {{"idle_timeout", number_or_null(cost.idle_timeout)},
          {"busy_seconds", cost.busy_seconds},
          {"idle_seconds", cost.idle_seconds},
          {"starting_seconds", cost.starting_seconds},
          {"starts", cost.starts},
          {"idle_share", cost.idle_share},
          {"cost", cost.cost}};
}

double seconds(Millis length) { return static_cast<double>(length) / 1000; }

PoolTerms terms_of(const PoolInfo& pool) {
  return {pool.idle_timeout, pool.start_seconds, pool.price_per_node_hour,
          static_cast<size_t>(pool.min)};
}

// Times when a pool's runs worked, in seconds from `since`, and whose they are.
struct PoolTime {
  std::vector<BusyInterval> busy;
  std::vector<std::string> runs;
};

Result<PoolTime> read_pool_time(Connection& connection, const std::string& pool, Millis since,
                                Millis until) {
  Rows rows =
      TRY(connection.query("SELECT begin_at, end_at, run_id FROM pool_time WHERE pool = ? AND "
                           "kind = 'busy' AND end_at > ? AND begin_at < ?",
                           {pool, since, until}));
  PoolTime time;
  while (TRY(rows.next())) {
    const Millis begin = std::max(rows.integer(0), since);
    time.busy.push_back(
        {seconds(begin - since), seconds(std::max(begin, rows.integer(1)) - since)});
    time.runs.push_back(rows.text(2));
  }
  return time;
}

}  // namespace

Result<json> pool_costs(Connection& connection, const PoolInfo& pool, Millis since, Millis now) {
  const auto busy = TRY(read_pool_time(connection, pool.name, since, now)).busy;
  const double until = seconds(now - since);
  const PoolCost own = cost_of_pool(busy, until, terms_of(pool));
  const CostSweep sweep = sweep_pool_costs(busy, until, terms_of(pool));
  return json{{"pool", pool.name},
              {"since", time_text(since)},
              {"as_configured", cost_json(own)},
              {"cheapest", cost_json(sweep.choices[sweep.cheapest])}};
}

Result<json> run_cost(Connection& connection, const PoolInfo& pool, const RunRow& run, Millis now) {
  const Millis begin = run.started_at.value_or(now);
  const double patience = std::min(pool.idle_timeout, 366.0 * 24 * 3600) * 1000;
  const Millis after = std::max(kDay, static_cast<Millis>(patience));
  const Millis until = std::min(now, run.ended_at.value_or(now) + after);
  const Millis since = begin - after;
  const PoolTime time = TRY(read_pool_time(connection, pool.name, since, until));
  const auto shares = share_pool_cost(time.busy, seconds(until - since), terms_of(pool));
  PoolCost all;
  for (size_t i = 0; i < shares.size(); ++i) {
    if (time.runs[i] != run.id) continue;
    all.busy_seconds += shares[i].busy_seconds;
    all.idle_seconds += shares[i].idle_seconds;
    all.starting_seconds += shares[i].starting_seconds;
    all.starts += shares[i].starts;
    all.cost += shares[i].cost;
  }
  return json{{"name", pool.name},
              {"busy_seconds", all.busy_seconds},
              {"idle_seconds", all.idle_seconds},
              {"starting_seconds", all.starting_seconds},
              {"starts", all.starts},
              {"cost", all.cost}};
}

}  // namespace atelier::server
