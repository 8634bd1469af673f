// SPDX-License-Identifier: Apache-2.0
// What pools and their runs cost, by the database's record of when nodes worked (pool_time).
//
// A run is to blame for its own node-seconds, for the start of a node that it needed, and for the
// time that its node waited after it (server/pool_costs.h). All runs' costs sum up to their pool's.
#pragma once

#include <nlohmann/json.hpp>

#include "server/api.h"

namespace atelier::server {

// From `since` until `now`: as it was configured, and with the idle time-out that would have been
// the cheapest.
Result<nlohmann::json> pool_costs(Connection& connection, const PoolInfo& pool, Millis since,
                                  Millis now);

// Of a run of that pool until `now`: node-seconds busy, idle and starting, and their cost. Looks at
// what the pool did from a day before the run to a day after it (longer where a node waits longer).
Result<nlohmann::json> run_cost(Connection& connection, const PoolInfo& pool, const RunRow& run,
                                Millis now);

}  // namespace atelier::server
