// SPDX-License-Identifier: Apache-2.0
#include "engine/plan_check.h"

#include <array>
#include <cmath>
#include <string_view>

namespace atelier::engine {
namespace {

constexpr int64_t kMostChunks = 100'000'000;
constexpr int64_t kMostWorkers = 10'000'000;

struct Number {
  std::string_view name;
  double value;
  bool positive = false;  // otherwise 0 is one, too
};

Result<void> check(const Number& number) {
  if (std::isfinite(number.value) && (number.positive ? number.value > 0 : number.value >= 0)) {
    return {};
  }
  return make_error(Code::invalid_argument, "The {} of a plan must be {}, not {}.", number.name,
                    number.positive ? "more than 0" : "0 or more", number.value);
}

Result<void> check_jobs(const PlanInput& input) {
  if (input.jobs.empty()) return make_error(Code::invalid_argument, "A plan needs a job.");
  int64_t chunks = 0;
  for (const PlannedJob& job : input.jobs) {
    TRY(check({"arrival of a job", job.arrival}));
    TRY(check({"number of chunks of a job", static_cast<double>(job.chunks), true}));
    chunks += job.chunks;
  }
  if (chunks <= kMostChunks) return {};
  return make_error(Code::invalid_argument, "A plan has at most {} chunks, not {}.", kMostChunks,
                    chunks);
}

}  // namespace

Result<void> check_plan(const PlanInput& input) {
  TRY(check_jobs(input));
  const PlannedWork& work = input.work;
  const PlannedPool& pool = input.pool;
  const StoreUse& store = input.store;
  if (work.chunk_seconds.empty()) {
    return make_error(Code::invalid_argument, "A plan needs the seconds that a chunk takes.");
  }
  for (const double seconds : work.chunk_seconds) TRY(check({"seconds of a chunk", seconds}));
  const std::array<Number, 22> numbers = {
      {{"start of a worker", work.worker_start_seconds},
       {"time to prepare", work.prepare_seconds},
       {"time to finish", work.finish_seconds_per_chunk},
       {"input of a chunk", work.bytes_in_per_chunk},
       {"result of a chunk", work.bytes_out_per_chunk},
       {"start delay", pool.start_delay},
       {"rate of preemptions", pool.preemptions_per_node_hour},
       {"detection time", pool.detection_seconds},
       {"price", pool.price_per_node_hour},
       {"end", input.until},
       {"calls of a job", store.calls_per_job},
       {"writes of a chunk", store.writes_per_chunk},
       {"time between looks for cancel.json", store.look_seconds, true},
       {"reads of a chunk", store.reads_per_chunk},
       {"largest read", store.bytes_per_read, true},
       {"time between beats", store.beat_seconds, true},
       {"time between looks", store.poll_seconds, true},
       {"time between lists", store.watch_seconds, true},
       {"page of a list", store.list_page, true},
       {"time of a call", store.call_seconds},
       {"number of nodes", double(pool.max_nodes), true},
       {"number of workers", double(pool.workers_per_node), true}}};
  for (const Number& number : numbers) TRY(check(number));
  if (std::isnan(pool.idle_timeout) || pool.idle_timeout < 0) {
    return make_error(Code::invalid_argument, "The idle time-out of a plan must be 0 or more.");
  }
  if (pool.min_nodes < 0 || pool.min_nodes > pool.max_nodes) {
    return make_error(Code::invalid_argument,
                      "The nodes that are always on must be between 0 and the {} of the pool, not "
                      "{}.",
                      pool.max_nodes, pool.min_nodes);
  }
  if (int64_t{pool.max_nodes} * pool.workers_per_node > kMostWorkers) {
    return make_error(Code::invalid_argument, "A plan has at most {} workers.", kMostWorkers);
  }
  return {};
}

}  // namespace atelier::engine
