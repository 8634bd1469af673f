// SPDX-License-Identifier: Apache-2.0
// Operations on pools: what they are, what they do, what they cost.
#include <cmath>

#include "server/api.h"
#include "server/api_json.h"
#include "server/operation_table.h"
#include "server/pool_report.h"

namespace atelier::server {
namespace {

using nlohmann::json;

json number_or_null(double value) { return std::isfinite(value) ? json(value) : json(); }

Result<json> pool_json(Connection& connection, const PoolInfo& pool) {
  Rows rows = TRY(connection.query(
      "SELECT state, sum(runs) FROM run_counts WHERE pool = ? AND state IN ('queued', 'running') "
      "GROUP BY state",
      {pool.name}));
  json counts = {{"queued", 0}, {"running", 0}};
  while (TRY(rows.next())) counts[rows.text(0)] = rows.integer(1);
  return json{{"name", pool.name},
              {"engine", pool.engine},
              {"min", pool.min},
              {"max", pool.max},
              {"idle_timeout", number_or_null(pool.idle_timeout)},
              {"start_time", pool.start_seconds},
              {"price_per_node_hour", pool.price_per_node_hour},
              {"preemptible", pool.preemptible},
              {"runs", std::move(counts)}};
}

}  // namespace

std::vector<Operation> pool_operations(ApiParts& parts) {
  const auto list = [&parts](const Call&) -> Result<Reply> {
    json pools = json::array();
    TRY(parts.database.read([&](Connection& connection) -> Result<void> {
      for (const PoolInfo& pool : parts.pools) pools.push_back(TRY(pool_json(connection, pool)));
      return {};
    }));
    return json_reply({{"pools", std::move(pools)}});
  };
  const auto costs = [&parts](const Call& call) -> Result<Reply> {
    constexpr Millis kDay = Millis{24} * 3600 * 1000;
    const Millis now = parts.wall.now();
    const Millis since = now - kDay * TRY(integer_of_query(call, "days", 1, 366, 30));
    json pools = json::array();
    TRY(parts.database.read([&](Connection& connection) -> Result<void> {
      for (const PoolInfo& pool : parts.pools) {
        pools.push_back(TRY(pool_costs(connection, pool, since, now)));
      }
      return {};
    }));
    return json_reply({{"pools", std::move(pools)}});
  };
  OperationTable table("pools");
  table
      .add("listPools", "GET", "/v1/pools", Role::reader,
           "The pools and how many runs are in each.", list)
      .gives("PoolList");
  table
      .add("getCosts", "GET", "/v1/costs", Role::operator_,
           "Node-seconds busy, idle and starting, what they cost, and which idle time-out would "
           "have been the cheapest for the runs that there were.",
           costs)
      .query("days", "integer", "Of the last days; 30")
      .gives("CostList");
  return table.take();
}

}  // namespace atelier::server
