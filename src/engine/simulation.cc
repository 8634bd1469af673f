// SPDX-License-Identifier: Apache-2.0
#include "engine/simulation.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <queue>
#include <set>

#include "engine/call_meter.h"
#include "engine/plan_check.h"
#include "engine/random_bits.h"
#include "engine/simulation_state.h"

namespace atelier::engine {
namespace {

class Simulation {
 public:
  Simulation(const PlanInput& input, const std::stop_token& stop)
      : in_(input), pool_(input.pool), stop_(stop) {}
  Result<PlanResult> run();

 private:
  using What = Event::What;

  void begin();
  void handle(const Event& event);
  bool over() const;
  void close();

  void ready(int job);
  void settle(int job);
  void joined(int job);

  void start_node();
  void node_ready(int node);
  void end_node(int node);
  void preempt(int node, uint64_t life);
  void idle_check(int node, uint64_t epoch);
  void unused(int node);
  void scale();

  void join(int worker, int job);
  void leave(int worker);
  bool give_work(int worker);
  void begin_chunk(int worker, const ChunkShares::Taken& taken);
  void place(int worker);
  void make_free(int worker);
  void end_free(int worker);
  void done(int worker, uint64_t turn);
  void cut_short(int worker);
  void lose(int job, int chunk);
  void watch(int job, const std::vector<int>& chunks);
  void found(int job, uint64_t chunk);
  void dispatch();

  double looks_around(const OpenJob& job, ChunkShares::How how) const;
  void meter_claim(double seconds);
  void meter_polls(OpenJob& job);
  double pages(const OpenJob& job) const;
  void spread_begin(Kind kind, double amount, double seconds);
  void spread_end(Kind kind, double amount, double seconds);
  double chunks_of(int job) const { return jobs_[static_cast<size_t>(job)].chunks; }
  double input_of(int job) const { return chunks_of(job) * in_.work.bytes_in_per_chunk; }
  double output_of(int job) const { return chunks_of(job) * in_.work.bytes_out_per_chunk; }
  double joining_of(int job) const { return chunks_of(job) * in_.work.finish_seconds_per_chunk; }
  double join_reads_of(int job) const {
    return chunks_of(job) * std::max(0.0, in_.store.reads_per_chunk - 1);
  }

  void schedule(double time, What what, int subject, uint64_t detail = 0) {
    events_.push({time, ++order_, what, subject, detail});
  }
  Node& node_of(int worker) { return nodes_[static_cast<size_t>(worker / pool_.workers_per_node)]; }
  OpenJob& open(int job) { return *open_[static_cast<size_t>(job)]; }
  double seconds_of(int chunk) const {
    return in_.work.chunk_seconds[static_cast<size_t>(chunk) % in_.work.chunk_seconds.size()];
  }

  const PlanInput& in_;
  const PlannedPool& pool_;
  const std::stop_token& stop_;
  PlanResult out_;
  CallMeter<kinds> meter_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  uint64_t order_ = 0;
  double now_ = 0;
  std::vector<PlannedJob> jobs_;  // by arrival
  std::vector<std::unique_ptr<OpenJob>> open_;
  std::vector<double> turnaround_;
  size_t jobs_left_ = 0;
  int64_t open_chunks_ = 0;
  std::vector<Node> nodes_;
  std::vector<Worker> workers_;
  int on_ = 0;  // nodes that start or are ready
  std::set<int> off_;
  std::set<int> free_;      // workers
  std::set<int> takeable_;  // jobs with a chunk that somebody can take
  std::set<int> hiding_;    // jobs with lost chunks of which nobody knows yet
};

Result<PlanResult> Simulation::run() {
  begin();
  for (uint64_t count = 1; !events_.empty() && !over(); ++count) {
    if (count % 65536 == 0 && stop_.stop_requested()) {
      return make_error(Code::cancelled, "Interrupted; a plan keeps nothing.");
    }
    const Event event = events_.top();
    events_.pop();
    now_ = event.time;
    meter_.advance(now_);
    handle(event);
  }
  close();
  return out_;
}

void Simulation::begin() {
  jobs_ = in_.jobs;
  std::stable_sort(jobs_.begin(), jobs_.end(),
                   [](const auto& a, const auto& b) { return a.arrival < b.arrival; });
  open_.resize(jobs_.size());
  jobs_left_ = jobs_.size();
  nodes_.resize(static_cast<size_t>(pool_.max_nodes));
  workers_.resize(nodes_.size() * static_cast<size_t>(pool_.workers_per_node));
  for (int node = 0; node < pool_.max_nodes; ++node) off_.insert(off_.end(), node);
  for (size_t i = 0; i < jobs_.size(); ++i) {
    schedule(jobs_[i].arrival, What::arrive, static_cast<int>(i));
  }
  while (on_ < pool_.min_nodes) {
    const int node = *off_.begin();
    off_.erase(off_.begin());
    ++on_;
    node_ready(node);
  }
  out_.peak_nodes = on_;
}

void Simulation::handle(const Event& event) {
  switch (event.what) {
    case What::arrive: {
      // Preparing reads the whole input once.
      spread_begin(reads, in_.store.calls_per_job, in_.work.prepare_seconds);
      spread_begin(bytes_down, input_of(event.subject), in_.work.prepare_seconds);
      return schedule(now_ + in_.work.prepare_seconds, What::ready, event.subject);
    }
    case What::ready: return ready(event.subject);
    case What::joined: return joined(event.subject);
    case What::node_ready:
      out_.workers.starting +=
          (now_ - nodes_[static_cast<size_t>(event.subject)].since) * pool_.workers_per_node;
      return node_ready(event.subject);
    case What::done: return done(event.subject, event.detail);
    case What::preempt: return preempt(event.subject, event.detail);
    case What::idle_check: return idle_check(event.subject, event.detail);
    case What::found: return found(event.subject, event.detail);
  }
}

// What is left then are nodes that are never switched off.
bool Simulation::over() const {
  return jobs_left_ == 0 && (on_ <= pool_.min_nodes || std::isinf(pool_.idle_timeout));
}

void Simulation::close() {
  now_ = std::max(now_, in_.until);
  meter_.finish();
  for (int node = 0; node < pool_.max_nodes; ++node) {
    Node& n = nodes_[static_cast<size_t>(node)];
    if (n.state == Node::State::off) continue;
    if (n.state == Node::State::starting) {
      out_.workers.starting += (now_ - n.since) * pool_.workers_per_node;
    }
    end_node(node);
  }
  out_.cost = out_.node_seconds / 3600 * pool_.price_per_node_hour;
  std::sort(turnaround_.begin(), turnaround_.end());
  const auto count = static_cast<double>(turnaround_.size());
  out_.turnaround_mean = std::accumulate(turnaround_.begin(), turnaround_.end(), 0.0) / count;
  out_.turnaround_p95 = turnaround_[static_cast<size_t>(std::ceil(0.95 * count)) - 1];
  out_.turnaround_max = turnaround_.back();
  StoreLoad& load = out_.store;
  load.writes = meter_.total(writes);
  load.reads = meter_.total(reads);
  load.bytes_written = meter_.total(bytes_up);
  load.bytes_read = meter_.total(bytes_down);
  load.peak_calls = meter_.peak_of_first_two();
  load.peak_writes = meter_.peak(writes);
  load.peak_reads = meter_.peak(reads);
  load.peak_cancel_looks = meter_.peak(cancel_looks);
  load.peak_input_reads = meter_.peak(input_reads);
  load.peak_bytes_written = meter_.peak(bytes_up);
  load.peak_bytes_read = meter_.peak(bytes_down);
}

// Jobs -------------------------------------------------------------------------------------------

void Simulation::ready(int job) {
  spread_end(reads, in_.store.calls_per_job, in_.work.prepare_seconds);
  spread_end(bytes_down, input_of(job), in_.work.prepare_seconds);
  const int chunks = jobs_[static_cast<size_t>(job)].chunks;
  const int workers = static_cast<int>(std::min(workers_.size(), static_cast<size_t>(chunks)));
  open_[static_cast<size_t>(job)] = std::make_unique<OpenJob>(chunks, workers);
  open_chunks_ += chunks;
  takeable_.insert(job);
  meter_polls(open(job));
  scale();
  dispatch();
}

void Simulation::settle(int job) {
  OpenJob& j = open(job);
  meter_.change_rate(reads, -j.poll_reads);
  meter_.change_rate(cancel_looks, -j.poll_looks);
  const std::vector<int> waiters = std::move(j.waiters);
  takeable_.erase(job);
  hiding_.erase(job);
  for (const int worker : waiters) {
    const Worker& w = workers_[static_cast<size_t>(worker)];
    if (w.job == job && w.state == Worker::State::free) leave(worker);
  }
  open_[static_cast<size_t>(job)].reset();
  // The join reads every result once more, and the input for its other streams, and publishes.
  const double seconds = joining_of(job);
  spread_begin(reads, join_reads_of(job), seconds);
  spread_begin(bytes_up, output_of(job), seconds);
  spread_begin(bytes_down, output_of(job) + input_of(job), seconds);
  schedule(now_ + seconds, What::joined, job);
}

void Simulation::joined(int job) {
  const PlannedJob& j = jobs_[static_cast<size_t>(job)];
  const double seconds = joining_of(job);
  spread_end(reads, join_reads_of(job), seconds);
  spread_end(bytes_up, output_of(job), seconds);
  spread_end(bytes_down, output_of(job) + input_of(job), seconds);
  turnaround_.push_back(now_ - j.arrival);
  out_.finished = now_;
  --jobs_left_;
}

// Nodes ------------------------------------------------------------------------------------------

void Simulation::start_node() {
  const int node = *off_.begin();
  off_.erase(off_.begin());
  Node& n = nodes_[static_cast<size_t>(node)];
  n.state = Node::State::starting;
  n.since = now_;
  ++on_;
  ++out_.node_starts;
  out_.peak_nodes = std::max(out_.peak_nodes, on_);
  schedule(now_ + pool_.start_delay, What::node_ready, node);
}

void Simulation::node_ready(int node) {
  Node& n = nodes_[static_cast<size_t>(node)];
  if (n.state == Node::State::off) n.since = now_;
  n.state = Node::State::ready;
  ++n.life;
  if (pool_.preemptions_per_node_hour > 0) {
    const double u = unit_of(mix(mix(in_.seed) + static_cast<uint64_t>(node)) + n.life);
    schedule(now_ - std::log(1 - u) * 3600 / pool_.preemptions_per_node_hour, What::preempt, node,
             n.life);
  }
  const int first = node * pool_.workers_per_node;
  for (int w = first; w < first + pool_.workers_per_node; ++w) place(w);
  if (n.with_job == 0) unused(node);
}

// Its workers hold no chunk any more.
void Simulation::end_node(int node) {
  Node& n = nodes_[static_cast<size_t>(node)];
  const int first = node * pool_.workers_per_node;
  for (int w = first; w < first + pool_.workers_per_node; ++w) {
    Worker& worker = workers_[static_cast<size_t>(w)];
    if (worker.state == Worker::State::free) end_free(w);
    worker.state = Worker::State::absent;
    leave(w);
  }
  n.state = Node::State::off;
  out_.node_seconds += now_ - n.since;
  --on_;
  off_.insert(node);
}

void Simulation::preempt(int node, uint64_t life) {
  Node& n = nodes_[static_cast<size_t>(node)];
  if (n.state != Node::State::ready || n.life != life) return;
  ++out_.evictions;
  n.state = Node::State::off;
  const int first = node * pool_.workers_per_node;
  for (int w = first; w < first + pool_.workers_per_node; ++w) {
    if (workers_[static_cast<size_t>(w)].state == Worker::State::working) cut_short(w);
  }
  end_node(node);
  scale();
  dispatch();
}

void Simulation::unused(int node) {
  Node& n = nodes_[static_cast<size_t>(node)];
  ++n.epoch;
  if (std::isinf(pool_.idle_timeout)) return;
  schedule(now_ + pool_.idle_timeout, What::idle_check, node, n.epoch);
}

void Simulation::idle_check(int node, uint64_t epoch) {
  const Node& n = nodes_[static_cast<size_t>(node)];
  if (n.state == Node::State::ready && n.epoch == epoch && on_ > pool_.min_nodes) end_node(node);
}

void Simulation::scale() {
  const int64_t wanted = (open_chunks_ + pool_.workers_per_node - 1) / pool_.workers_per_node;
  const int64_t most = std::clamp<int64_t>(wanted, pool_.min_nodes, pool_.max_nodes);
  while (on_ < most) start_node();
}

// Workers ----------------------------------------------------------------------------------------

void Simulation::join(int worker, int job) {
  leave(worker);
  Worker& w = workers_[static_cast<size_t>(worker)];
  OpenJob& j = open(job);
  w.job = job;
  w.fresh = true;
  w.walk = j.shares.begin_walk(worker);
  Node& n = node_of(worker);
  ++n.with_job;
  ++n.epoch;
  meter_.change_rate(writes, 1 / in_.store.beat_seconds);
  watch(job, j.shares.watch_share(w.walk));
}

void Simulation::leave(int worker) {
  Worker& w = workers_[static_cast<size_t>(worker)];
  if (w.job < 0) return;
  w.job = -1;
  meter_.change_rate(writes, -1 / in_.store.beat_seconds);
  Node& n = node_of(worker);
  if (--n.with_job == 0 && n.state == Node::State::ready) {
    unused(static_cast<int>(&n - nodes_.data()));
  }
}

// The oldest job goes first, also before the one that the worker knows.
bool Simulation::give_work(int worker) {
  if (takeable_.empty()) return false;
  const int job = *takeable_.begin();
  Worker& w = workers_[static_cast<size_t>(worker)];
  if (w.job != job) join(worker, job);
  OpenJob& j = open(job);
  begin_chunk(worker, *j.shares.take(w.walk));
  if (!j.shares.can_take()) takeable_.erase(job);
  return true;
}

void Simulation::begin_chunk(int worker, const ChunkShares::Taken& taken) {
  Worker& w = workers_[static_cast<size_t>(worker)];
  OpenJob& j = open(w.job);
  if (j.losses.contains(taken.chunk)) ++out_.chunks_repeated;
  w.state = Worker::State::working;
  w.chunk = taken.chunk;
  w.begun = now_;
  w.starting = w.fresh ? in_.work.worker_start_seconds : 0;
  w.fresh = false;
  const double seconds = seconds_of(taken.chunk);
  const double calls = looks_around(j, taken.how);
  ++j.claims;
  w.starting += std::max(0.0, calls * in_.store.call_seconds - seconds);
  w.reads_rate = seconds > 0 ? calls / (w.starting + seconds) : 0;
  meter_.change_rate(reads, w.reads_rate);
  w.bytes_rate = seconds > 0 ? in_.work.bytes_in_per_chunk / (w.starting + seconds) : 0;
  meter_.change_rate(bytes_down, w.bytes_rate);
  meter_claim(w.starting + seconds);
  meter_polls(j);
  schedule(now_ + w.starting + seconds, What::done, worker, ++w.turn);
}

// Gives a worker that has nothing to do a chunk, or lets it wait.
void Simulation::place(int worker) {
  if (give_work(worker)) return;
  Worker& w = workers_[static_cast<size_t>(worker)];
  if (w.job >= 0 && open_[static_cast<size_t>(w.job)] == nullptr) leave(worker);
  if (w.job < 0 && !hiding_.empty()) join(worker, *hiding_.begin());
  make_free(worker);
}

void Simulation::make_free(int worker) {
  Worker& w = workers_[static_cast<size_t>(worker)];
  w.state = Worker::State::free;
  w.begun = now_;
  free_.insert(worker);
  if (w.job < 0) return;
  OpenJob& j = open(w.job);
  ++j.waiting;
  j.waiters.push_back(worker);
  meter_polls(j);
}

void Simulation::end_free(int worker) {
  const Worker& w = workers_[static_cast<size_t>(worker)];
  out_.workers.idle += now_ - w.begun;
  free_.erase(worker);
  if (w.job < 0) return;
  OpenJob& j = open(w.job);
  --j.waiting;
  meter_polls(j);
}

void Simulation::done(int worker, uint64_t turn) {
  Worker& w = workers_[static_cast<size_t>(worker)];
  if (w.state != Worker::State::working || w.turn != turn) return;
  const int job = w.job;
  OpenJob& j = open(job);
  out_.workers.starting += w.starting;
  out_.workers.busy += now_ - w.begun - w.starting;
  ++out_.chunks_done;
  ++j.settled;
  --open_chunks_;
  meter_.change_rate(bytes_down, -w.bytes_rate);
  meter_.change_rate(reads, -w.reads_rate);
  meter_.add(bytes_up, in_.work.bytes_out_per_chunk);
  meter_.add(writes, std::max(0.0, in_.store.writes_per_chunk - 1));
  meter_.add(reads, std::min(1.0, in_.store.reads_per_chunk));
  if (j.shares.unclaimed() == 0 && !j.watched) {
    j.watched = true;
    watch(job, j.shares.watch_all());
  }
  meter_polls(j);
  if (j.settled == j.total) settle(job);
  place(worker);
}

// Preempted.
void Simulation::cut_short(int worker) {
  Worker& w = workers_[static_cast<size_t>(worker)];
  const double passed = now_ - w.begun;
  const double starting = std::min(passed, w.starting);
  out_.workers.starting += starting;
  out_.workers.lost += passed - starting;
  meter_.change_rate(bytes_down, -w.bytes_rate);
  meter_.change_rate(reads, -w.reads_rate);
  w.state = Worker::State::absent;
  const int job = w.job;
  leave(worker);
  lose(job, w.chunk);
}

void Simulation::lose(int job, int chunk) {
  OpenJob& j = open(job);
  if (++j.losses[chunk] > pool_.max_losses) {
    ++out_.chunks_given_up;
    --open_chunks_;
    if (++j.settled == j.total) settle(job);
    return;
  }
  ++j.hidden;
  hiding_.insert(job);
  j.shares.lose(chunk);
  if (j.shares.unclaimed() == 0) j.watched = true;
  if (j.watched || pool_.detection_seconds == 0) watch(job, j.shares.watch_all());
  meter_polls(j);
}

void Simulation::watch(int job, const std::vector<int>& chunks) {
  for (const int chunk : chunks) {
    if (pool_.detection_seconds == 0) {
      found(job, static_cast<uint64_t>(chunk));
    } else {
      schedule(now_ + pool_.detection_seconds, What::found, job, static_cast<uint64_t>(chunk));
    }
  }
}

void Simulation::found(int job, uint64_t chunk) {
  OpenJob& j = open(job);
  if (--j.hidden == 0) hiding_.erase(job);
  j.shares.found(static_cast<int>(chunk));
  takeable_.insert(job);
  if (pool_.detection_seconds == 0) return;  // who called goes on
  scale();
  dispatch();
}

void Simulation::dispatch() {
  while (!takeable_.empty() && !free_.empty()) {
    const int worker = *free_.begin();
    end_free(worker);
    give_work(worker);
  }
}

// Calls ------------------------------------------------------------------------------------------

// What a process does alone takes as long as it takes; where that is not known, it is in the sums
// but in no peak.
void Simulation::spread_begin(Kind kind, double amount, double seconds) {
  if (seconds > 0) {
    meter_.change_rate(kind, amount / seconds);
  } else {
    meter_.add_to_total(kind, amount);
  }
}

void Simulation::spread_end(Kind kind, double amount, double seconds) {
  if (seconds > 0) meter_.change_rate(kind, -amount / seconds);
}

double Simulation::pages(const OpenJob& job) const {
  const auto objects = static_cast<double>(job.claims + 2 * int64_t{job.settled});
  return std::max(1.0, std::ceil(objects / in_.store.list_page));
}

// Who helps lists chunks/ and failed/ before it claims; who takes over looks at both records and
// the beat, too. That goes on while the chunk before is scored, so it delays only what is shorter.
double Simulation::looks_around(const OpenJob& job, ChunkShares::How how) const {
  if (how == ChunkShares::How::own) return 0;
  return pages(job) + (how == ChunkShares::How::help ? 1 : 4);
}

// What a claim asks, and what reading the input for it takes. `seconds`: until the next one.
void Simulation::meter_claim(double seconds) {
  meter_.add(writes, std::min(1.0, in_.store.writes_per_chunk));
  const double of_input =
      std::max(1.0, std::ceil(in_.work.bytes_in_per_chunk / in_.store.bytes_per_read));
  const double looks = std::min(1.0, seconds / in_.store.look_seconds);
  meter_.add(reads, looks + of_input);
  meter_.add(cancel_looks, looks);
  meter_.add(input_reads, of_input);
}

// A worker that waits lists chunks/ and failed/, and looks for the beat of whoever holds a chunk,
// reads it where it has changed, and now and then looks for cancel.json; whoever waits for the job
// lists, too.
void Simulation::meter_polls(OpenJob& job) {
  const double held = job.total - job.settled - job.shares.unclaimed();
  const StoreUse& use = in_.store;
  double calls = 1 + pages(job) + held;
  const double rest = std::clamp(use.poll_rest * calls * use.call_seconds, use.poll_seconds,
                                 std::max(use.poll_seconds, use.poll_most_seconds));
  calls += held * std::min(1.0, (rest + calls * use.call_seconds) / use.beat_seconds);
  const double polls = job.waiting / (rest + calls * use.call_seconds);
  const double looks = std::min(polls, job.waiting / in_.store.look_seconds);
  const double asked = polls * calls + looks + pages(job) / in_.store.watch_seconds;
  meter_.change_rate(reads, asked - job.poll_reads);
  meter_.change_rate(cancel_looks, looks - job.poll_looks);
  job.poll_reads = asked;
  job.poll_looks = looks;
}

}  // namespace

Result<PlanResult> simulate(const PlanInput& input, const std::stop_token& stop) {
  TRY(check_plan(input));
  return Simulation(input, stop).run();
}

std::vector<double> spread_seconds(double mean, double spread, uint64_t seed) {
  if (spread <= 0) return {mean};
  constexpr size_t kValues = 4096;
  const double sigma = std::sqrt(std::log(1 + spread * spread));
  std::vector<double> values(kValues);
  for (size_t i = 0; i < kValues; ++i) {
    // Box and Muller, 1958.
    const double u = 1 - unit_of(mix(seed) + 2 * i);
    const double v = unit_of(mix(seed) + 2 * i + 1);
    values[i] = std::exp(sigma * std::sqrt(-2 * std::log(u)) * std::cos(2 * M_PI * v));
  }
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  for (double& value : values) value *= mean * static_cast<double>(kValues) / sum;
  return values;
}

}  // namespace atelier::engine
