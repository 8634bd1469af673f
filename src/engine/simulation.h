// SPDX-License-Identifier: Apache-2.0
// What a pool of nodes would do with jobs: time to finish, cost, idleness, calls of the store. A
// discrete-event simulation over rates that were measured or assumed; pure, and for one seed always
// the same.
//
// The model. A job arrives, is prepared elsewhere for a while, is then a table of chunks in a run
// folder, and is joined elsewhere when the last chunk is committed. Nodes come and go as a scaler
// would have it: one is started for every `workers_per_node` open chunks up to the most, takes
// `start_delay`, works, and is switched off when no worker of it had a job for `idle_timeout`.
// While it is ready it may be preempted: exponentially distributed times, a replacement at once.
// Workers do as run/ledger.h says: worker k of n begins with its even share of the chunks, then
// helps from the far end of the share with most left, then takes what the vanished held. A vanished
// worker's chunk can be taken `detection_seconds` after somebody began to watch it: whoever finds
// nothing unclaimed watches all that is held, a replacement its own share. Who waits for a job's
// last chunks stays with that job until it is settled, and so keeps its node, unless another job
// has something to take; the oldest job goes first.
//
// Assumed: a worker's rate does not depend on the others (no shared network, no throttling: calls
// beyond a limit are counted, not slowed down); one chunk is in flight in a worker, while a real
// one claims the next a few frames before it ends; capacity is always there; a node costs from the
// moment it is asked for until it is off or preempted; nothing else fails.
// Not in it: the time that calls of the ledger take, beyond what is in the chunk seconds; but a
// helper whose list of the run takes longer than a chunk waits for it.
//
// Cost: O((chunks + nodes + evictions) log(chunks + nodes)) time, and memory for the jobs that are
// under way. Tested by simulation_test.cc against closed forms and a slow, obvious twin.
#pragma once

#include <cstdint>
#include <stop_token>
#include <vector>

#include "base/result.h"

namespace atelier::engine {

// Times are seconds from the beginning of the plan.
struct PlannedJob {
  double arrival = 0;
  int chunks = 1;
};

struct PlannedWork {
  std::vector<double> chunk_seconds;  // chunk i of any job takes a worker chunk_seconds[i % size]
  double worker_start_seconds = 0;    // of a worker that comes to a job, before its first chunk
  double prepare_seconds = 0;
  double finish_seconds_per_chunk = 0;  // of the join
  double bytes_in_per_chunk = 0;        // of the input
  double bytes_out_per_chunk = 0;       // of the result
};

struct PlannedPool {
  int min_nodes = 0;  // ready from the beginning, never switched off
  int max_nodes = 1;
  int workers_per_node = 1;
  double start_delay = 0;
  double idle_timeout = 300;  // may be infinite
  double preemptions_per_node_hour = 0;
  double detection_seconds = 30;  // 0: whoever looks knows at once
  int max_losses = 12;            // as in run::LedgerPolicy: a chunk lost more often is given up
  double price_per_node_hour = 0;
};

// Calls as src/run makes them (docs/plan.md says how they were counted).
struct StoreUse {
  double calls_per_job = 40;        // reads, when it is prepared
  double writes_per_chunk = 3;      // the claim, the result, the record
  double look_seconds = 2;          // between a worker's looks for cancel.json
  double reads_per_chunk = 2;       // of record and result, when it is watched and joined
  double bytes_per_read = 4 << 20;  // the most that one read of the input asks for
  double beat_seconds = 5;          // each worker with a job
  // Between the looks of a worker that waits: so many times what a look took, within these bounds.
  double poll_seconds = 0.25;
  double poll_rest = 4;
  double poll_most_seconds = 30;
  double watch_seconds = 2;    // between the lists of whoever waits for the job
  double list_page = 1000;     // objects in one answer
  double call_seconds = 0.02;  // one answer takes: bounds how often a waiting worker asks
};

struct PlanInput {
  std::vector<PlannedJob> jobs;  // in any order
  PlannedWork work;
  PlannedPool pool;
  StoreUse store;
  double until = 0;  // nodes that are never switched off are paid for at least so long
  uint64_t seed = 1;
};

// Worker-seconds, which add up to node_seconds * workers_per_node.
struct WorkerSeconds {
  double busy = 0;      // on chunks that were committed
  double starting = 0;  // of the node, of the worker, of one that lists before it helps
  double lost = 0;      // on chunks that a preemption cut short
  double idle = 0;
  double sum() const { return busy + starting + lost + idle; }
};

struct StoreLoad {
  double writes = 0;  // calls in all
  double reads = 0;
  double bytes_written = 0;  // into the store
  double bytes_read = 0;
  // In the busiest second, each.
  double peak_calls = 0;
  double peak_writes = 0;
  double peak_reads = 0;
  double peak_cancel_looks = 0;  // all on one object, if there is one job at a time
  double peak_input_reads = 0;   // likewise
  double peak_bytes_written = 0;
  double peak_bytes_read = 0;
};

struct PlanResult {
  double finished = 0;         // when the last job was
  double turnaround_mean = 0;  // of jobs, from arrival until joined
  double turnaround_p95 = 0;   // the smallest that 95 % of them do not exceed
  double turnaround_max = 0;
  double node_seconds = 0;
  WorkerSeconds workers;
  double cost = 0;
  int peak_nodes = 0;  // starting or ready
  int64_t node_starts = 0;
  int64_t evictions = 0;
  int64_t chunks_done = 0;
  int64_t chunks_repeated = 0;  // begun again after a preemption
  int64_t chunks_given_up = 0;  // lost more than max_losses times: their jobs would fail
  StoreLoad store;
};

// Errors: invalid_argument (a number that makes no sense, no job, more than 1e8 chunks), cancelled.
Result<PlanResult> simulate(const PlanInput& input, const std::stop_token& stop = {});

// Log-normal with this mean and coefficient of variation, the same for a seed; scaled so that the
// mean of the values is just `mean`. `spread` 0: `mean` alone.
std::vector<double> spread_seconds(double mean, double spread, uint64_t seed);

}  // namespace atelier::engine
