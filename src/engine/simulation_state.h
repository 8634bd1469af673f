// SPDX-License-Identifier: Apache-2.0
// What the simulation keeps of events, nodes, workers and jobs. Used by simulation.cc alone.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "engine/chunk_shares.h"

namespace atelier::engine {

// What is metered; writes and reads first, since their sum is every call.
enum Kind : size_t { writes, reads, cancel_looks, input_reads, bytes_up, bytes_down, kinds };

struct Event {
  enum class What { arrive, ready, joined, node_ready, done, preempt, idle_check, found };
  double time = 0;
  uint64_t order = 0;  // of two at the same time the first that was scheduled comes first
  What what = What::arrive;
  int subject = 0;  // a job, a node or a worker
  uint64_t detail = 0;
  bool operator>(const Event& other) const {
    return time != other.time ? time > other.time : order > other.order;
  }
};

struct Node {
  enum class State { off, starting, ready };
  State state = State::off;
  uint64_t life = 0;   // each start is another one
  uint64_t epoch = 0;  // changes whenever it gets a job or has none any more
  int with_job = 0;    // workers
  double since = 0;    // asked for
};

struct Worker {
  enum class State { absent, free, working };
  State state = State::absent;
  int job = -1;        // works on it or waits for its last chunks
  bool fresh = false;  // has not begun a chunk of it
  ChunkShares::Walk walk;
  int chunk = -1;
  double begun = 0;       // the chunk, or to be free
  double starting = 0;    // of the time since then
  double bytes_rate = 0;  // of the input
  double reads_rate = 0;  // of looking around
  uint64_t turn = 0;      // of what it was last given
};

// A job whose chunks are there and not all settled.
struct OpenJob {
  explicit OpenJob(int chunks, int workers) : total(chunks), shares(chunks, workers) {}
  int total;
  ChunkShares shares;
  int settled = 0;  // committed or given up
  int hidden = 0;   // lost, and nobody knows yet
  int waiting = 0;  // workers
  int64_t claims = 0;
  bool watched = false;  // somebody found nothing unclaimed
  std::map<int, int> losses;
  std::vector<int> waiters;  // who waited once
  double poll_reads = 0;     // rates as metered now
  double poll_looks = 0;
};

}  // namespace atelier::engine
