// SPDX-License-Identifier: Apache-2.0
#include "engine/simulation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "engine/arrivals.h"

namespace atelier::engine {
namespace {

using testing::HasSubstr;

constexpr double kNever = std::numeric_limits<double>::infinity();

// One job on nodes that are always there, with nothing besides its chunks.
PlanInput plain(int chunks, double seconds, int nodes) {
  PlanInput input;
  input.jobs = {{0, chunks}};
  input.work.chunk_seconds = {seconds};
  input.pool.min_nodes = nodes;
  input.pool.max_nodes = nodes;
  return input;
}

PlanResult must(const PlanInput& input) {
  auto result = simulate(input);
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
  return result.ok() ? *std::move(result) : PlanResult();
}

void expect_same(const PlanResult& a, const PlanResult& b) {
  EXPECT_EQ(a.finished, b.finished);
  EXPECT_EQ(a.turnaround_mean, b.turnaround_mean);
  EXPECT_EQ(a.node_seconds, b.node_seconds);
  EXPECT_EQ(a.workers.lost, b.workers.lost);
  EXPECT_EQ(a.evictions, b.evictions);
  EXPECT_EQ(a.store.reads, b.store.reads);
  EXPECT_EQ(a.store.peak_calls, b.store.peak_calls);
}

// Whatever happens: no chunk is forgotten or done twice, no second unaccounted for.
void expect_conserved(const PlanInput& input, const PlanResult& result) {
  int64_t chunks = 0;
  for (const PlannedJob& job : input.jobs) chunks += job.chunks;
  EXPECT_EQ(result.chunks_done + result.chunks_given_up, chunks);
  const double seconds = result.node_seconds * input.pool.workers_per_node;
  EXPECT_NEAR(result.workers.sum(), seconds, 1e-6 * (1 + seconds));
  EXPECT_GE(result.workers.idle, 0);
  EXPECT_GE(result.store.peak_calls, std::max(result.store.peak_reads, result.store.peak_writes));
  EXPECT_LE(result.peak_nodes, input.pool.max_nodes);
  if (result.chunks_given_up > 0) return;
  double busy = 0;
  for (const PlannedJob& job : input.jobs) {
    for (int i = 0; i < job.chunks; ++i) {
      busy += input.work.chunk_seconds[static_cast<size_t>(i) % input.work.chunk_seconds.size()];
    }
  }
  EXPECT_NEAR(result.workers.busy, busy, 1e-6 * (1 + busy)) << "each chunk is committed once";
}

// The obvious twin of one job without accidents: a table of chunks, each claim looks through all
// of it as run/ledger.h says.
struct Twin {
  int chunks;
  int workers;
  std::vector<double> seconds;
  std::vector<bool> claimed = std::vector<bool>(static_cast<size_t>(chunks));

  int begin_of(int k) const { return static_cast<int>(int64_t{chunks} * k / workers); }
  int claim(int worker) {
    for (int chunk = begin_of(worker); chunk < begin_of(worker + 1); ++chunk) {
      if (!claimed[static_cast<size_t>(chunk)]) return chunk;
    }
    int best = -1;
    int best_left = 0;
    for (int k = 0; k < workers; ++k) {
      int left = 0;
      int last = -1;
      for (int chunk = begin_of(k); chunk < begin_of(k + 1); ++chunk) {
        if (claimed[static_cast<size_t>(chunk)]) continue;
        ++left;
        last = chunk;
      }
      if (left > best_left) {
        best = last;
        best_left = left;
      }
    }
    return best;
  }
  double finish() {
    struct Turn {
      double at;
      int order;
      int worker;
    };
    std::vector<Turn> turns;
    for (int w = 0; w < workers; ++w) turns.push_back({0, w, w});
    int order = workers;
    double last = 0;
    while (!turns.empty()) {
      const auto next = std::min_element(turns.begin(), turns.end(), [](auto& a, auto& b) {
        return std::pair(a.at, a.order) < std::pair(b.at, b.order);
      });
      const Turn turn = *next;
      turns.erase(next);
      last = std::max(last, turn.at);
      const int chunk = claim(turn.worker);
      if (chunk < 0) continue;
      claimed[static_cast<size_t>(chunk)] = true;
      turns.push_back(
          {turn.at + seconds[static_cast<size_t>(chunk) % seconds.size()], order++, turn.worker});
    }
    return last;
  }
};

TEST(Simulation, EqualChunksTakeAsManyRoundsAsTheyMust) {
  for (const auto& [chunks, nodes, rounds] :
       {std::array{1, 1, 1}, {7, 1, 7}, {8, 4, 2}, {9, 4, 3}, {3, 10, 1}, {100000, 1000, 100}}) {
    const PlanResult result = must(plain(chunks, 2.5, nodes));
    EXPECT_DOUBLE_EQ(result.finished, 2.5 * rounds) << chunks << " chunks on " << nodes;
    EXPECT_DOUBLE_EQ(result.node_seconds, 2.5 * rounds * nodes);
    EXPECT_EQ(result.chunks_done, chunks);
    EXPECT_DOUBLE_EQ(result.workers.busy, 2.5 * chunks);
    EXPECT_EQ(result.chunks_repeated, 0);
  }
}

TEST(Simulation, SharesAndHelpAreThoseOfTheLedger) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    const int chunks = 1 + static_cast<int>(random() % 60);
    const int workers = std::min(chunks, 1 + static_cast<int>(random() % 12));
    PlanInput input = plain(chunks, 1, workers);
    input.work.chunk_seconds.clear();
    for (int i = 0; i < chunks; ++i) {
      input.work.chunk_seconds.push_back(0.25 * static_cast<double>(1 + random() % 16));
    }
    Twin twin{chunks, workers, input.work.chunk_seconds};
    EXPECT_DOUBLE_EQ(must(input).finished, twin.finish()) << "round " << round;
  }
}

TEST(Simulation, StartPrepareAndFinishAddUpAroundTheChunks) {
  PlanInput input = plain(12, 10, 3);
  input.jobs[0].arrival = 5;
  input.pool.min_nodes = 0;
  input.pool.start_delay = 60;
  input.pool.idle_timeout = 7;
  input.pool.price_per_node_hour = 3.6;
  input.work.prepare_seconds = 2;
  input.work.worker_start_seconds = 1;
  input.work.finish_seconds_per_chunk = 0.25;
  const PlanResult result = must(input);
  EXPECT_DOUBLE_EQ(result.finished, 5 + 2 + 60 + 1 + 40 + 3);
  EXPECT_DOUBLE_EQ(result.turnaround_mean, 106);
  EXPECT_DOUBLE_EQ(result.node_seconds, 3 * (60 + 1 + 40 + 7));
  EXPECT_DOUBLE_EQ(result.workers.starting, 3 * 61);
  EXPECT_DOUBLE_EQ(result.workers.idle, 3 * 7);
  EXPECT_DOUBLE_EQ(result.cost, result.node_seconds / 1000);
  EXPECT_EQ(result.node_starts, 3);
  EXPECT_EQ(result.peak_nodes, 3);
}

TEST(Simulation, NoMoreNodesAreStartedThanThereAreChunksFor) {
  PlanInput input = plain(10, 1, 1000);
  input.pool.min_nodes = 0;
  input.pool.workers_per_node = 4;
  EXPECT_EQ(must(input).node_starts, 3);
}

TEST(Simulation, ANodeThatIsKeptIsNotStartedAgain) {
  PlanInput input = plain(1, 10, 1);
  input.pool.min_nodes = 0;
  input.pool.start_delay = 30;
  input.jobs = {{0, 1}, {100, 1}};
  input.pool.idle_timeout = 59;  // the gap is 60 s
  EXPECT_EQ(must(input).node_starts, 2);
  EXPECT_DOUBLE_EQ(must(input).finished, 140);
  input.pool.idle_timeout = 61;
  EXPECT_EQ(must(input).node_starts, 1);
  EXPECT_DOUBLE_EQ(must(input).finished, 110);
  EXPECT_DOUBLE_EQ(must(input).node_seconds, 110 + 61);
  input.pool.idle_timeout = kNever;
  EXPECT_DOUBLE_EQ(must(input).node_seconds, 110) << "paid for until the last job is done";
  input.until = 500;
  EXPECT_DOUBLE_EQ(must(input).node_seconds, 500);
}

// A chunk of c seconds that is begun again after each preemption (rate r) takes (e^rc - 1) / r on
// average, and each preemption costs the start of another node besides.
TEST(Simulation, PreemptionsCostWhatTheoryDemands) {
  PlanInput input = plain(200000, 100, 1);
  input.pool.detection_seconds = 0;
  input.pool.max_losses = 1000;
  input.pool.start_delay = 40;
  input.pool.preemptions_per_node_hour = 18;
  const double rate = 18 / 3600.0;
  const PlanResult result = must(input);
  EXPECT_NEAR(result.finished / 200000 / ((1 / rate + 40) * (std::exp(rate * 100) - 1)), 1, 0.02);
  EXPECT_NEAR(static_cast<double>(result.evictions) / 200000 / (std::exp(rate * 100) - 1), 1, 0.02);
  EXPECT_EQ(result.chunks_repeated, result.evictions);
  EXPECT_GT(result.workers.lost, 0);
  expect_conserved(input, result);
}

// The only chunk of a job can be taken again when its claim is seen to be stale.
TEST(Simulation, DetectionDelaysWhatWasLost) {
  PlanInput input = plain(1, 100, 1);
  input.jobs.clear();
  for (int i = 0; i < 50000; ++i) input.jobs.push_back({i * 5e3, 1});
  input.pool.detection_seconds = 30;
  input.pool.max_losses = 1000;
  input.pool.preemptions_per_node_hour = 18;
  const double rate = 18 / 3600.0;
  const PlanResult result = must(input);
  EXPECT_NEAR(result.turnaround_mean / ((1 / rate + 30) * (std::exp(rate * 100) - 1)), 1, 0.02);
  // Longer than that, so it is what counts; and one job in five comes while the node starts.
  input.pool.start_delay = 50;
  EXPECT_NEAR(
      must(input).turnaround_mean / (0.2 * 25 + (1 / rate + 50) * (std::exp(rate * 100) - 1)), 1,
      0.02);
}

TEST(Simulation, AChunkThatIsAlwaysLostIsGivenUp) {
  PlanInput input = plain(3, 3600, 1);
  input.pool.detection_seconds = 0;
  input.pool.preemptions_per_node_hour = 1000;
  const PlanResult result = must(input);
  EXPECT_EQ(result.chunks_given_up, 3);
  EXPECT_EQ(result.evictions, 3 * 13);
  EXPECT_EQ(result.chunks_repeated, 3 * 12);
  expect_conserved(input, result);
}

// One server with equal jobs that arrive at random (M/D/1): the mean wait by Pollaczek and
// Khinchine.
TEST(Simulation, QueuesAreAsLongAsTheoryDemands) {
  PlanInput input = plain(1, 10, 1);
  input.jobs = poisson_arrivals(0.7 * 360, 100000, 1, 3);
  EXPECT_NEAR(must(input).turnaround_mean / (10 + 0.7 * 10 / (2 * 0.3)), 1, 0.03);
}

TEST(Simulation, NothingIsForgottenWhateverHappens) {
  std::mt19937 random(11);
  const auto number = [&](int most) { return static_cast<int>(random() % unsigned(most)); };
  for (int round = 0; round < 400; ++round) {
    PlanInput input;
    for (int i = number(6); i >= 0; --i) input.jobs.push_back({5.0 * number(60), 1 + number(50)});
    input.work.chunk_seconds = spread_seconds(1 + number(40), 0.1 * number(10), 5);
    input.work.worker_start_seconds = number(4);
    input.work.prepare_seconds = number(3);
    input.work.finish_seconds_per_chunk = 0.1 * number(3);
    input.work.bytes_in_per_chunk = 1e6 * number(5);
    input.pool.max_nodes = 1 + number(12);
    input.pool.min_nodes = number(2) * number(input.pool.max_nodes + 1);
    input.pool.workers_per_node = 1 + number(4);
    input.pool.start_delay = number(100);
    input.pool.idle_timeout = 50.0 * number(4);
    input.pool.detection_seconds = 15.0 * number(3);
    input.pool.preemptions_per_node_hour = 20.0 * number(5);
    input.pool.max_losses = number(4);
    input.seed = static_cast<uint64_t>(round);
    const PlanResult result = must(input);
    expect_conserved(input, result);
    expect_same(result, must(input));
    if (HasFailure()) FAIL() << "round " << round;
  }
}

TEST(Simulation, MoreNodesAreNeverSlowerForEqualChunks) {
  double before = kNever;
  for (int nodes = 1; nodes <= 64; ++nodes) {
    PlanInput input = plain(777, 3, nodes);
    input.pool.min_nodes = 0;
    input.pool.start_delay = 20;
    const double finished = must(input).finished;
    EXPECT_LE(finished, before) << nodes;
    before = finished;
  }
}

TEST(Simulation, MorePreemptionsCostMore) {
  double before = 0;
  for (const double rate : {0.0, 1.0, 4.0, 16.0}) {
    PlanInput input = plain(2000, 60, 20);
    input.pool.preemptions_per_node_hour = rate;
    input.pool.start_delay = 90;
    const double seconds = must(input).node_seconds;
    EXPECT_GT(seconds, before) << rate;
    before = seconds;
  }
}

TEST(Simulation, AnotherSeedIsAnotherCourse) {
  PlanInput input = plain(2000, 60, 20);
  input.pool.preemptions_per_node_hour = 4;
  const PlanResult one = must(input);
  input.seed = 2;
  EXPECT_NE(one.finished, must(input).finished);
}

TEST(Simulation, CallsAndBytesAreThoseOfTheChunks) {
  PlanInput input = plain(100, 5, 1);
  input.work.bytes_in_per_chunk = 9 << 20;  // three reads of 4 MiB
  input.work.bytes_out_per_chunk = 1000;
  const PlanResult result = must(input);
  // Three writes a chunk, and a beat every 5 s.
  EXPECT_NEAR(result.store.writes, 300 + 100, 1e-6);
  // A look and three pieces of the input a chunk, two when it is watched and joined, 40 a job, and
  // a list every 2 s.
  EXPECT_NEAR(result.store.reads, 400 + 200 + 40 + 250, 1e-6);
  EXPECT_NEAR(result.store.bytes_written, 100 * 2000, 1e-6);
  EXPECT_NEAR(result.store.bytes_read, 100.0 * (3 * (9 << 20) + 1000), 1);
  EXPECT_NEAR(result.store.peak_bytes_read, (9 << 20) / 5.0, 1);
  EXPECT_DOUBLE_EQ(result.store.peak_cancel_looks, 1);
  EXPECT_DOUBLE_EQ(result.store.peak_input_reads, 3);
}

// Nine workers wait for the tenth: each lists twice, looks for the beat of the one that holds a
// chunk and reads it when it has changed, and every other second looks for cancel.json, as it does
// for its chunk of a second.
TEST(Simulation, WorkersThatWaitAskTheStore) {
  PlanInput input = plain(10, 1, 10);
  input.work.chunk_seconds.assign(10, 1.0);
  input.work.chunk_seconds[9] = 101;
  const PlanResult result = must(input);
  const double calls = 3 + (0.25 + 3 * 0.02) / 5;
  const double polls = 9 * 100 / (0.25 + calls * 0.02), claims = 9 * 0.5 + 1;
  EXPECT_NEAR(result.store.reads,
              polls * calls + 9 * 100 / 2.0 + claims + 10 * (1 + 2) + 40 + 101 / 2.0, 1e-3);
  EXPECT_NEAR(result.store.peak_cancel_looks, claims, 1e-6);
}

// Five hundred wait for five hundred: the more there is to look at, the longer they rest, so that a
// service bears it. All look at all beats, which change while they rest.
TEST(Simulation, ManyThatWaitRestLonger) {
  PlanInput input = plain(1000, 1, 1000);
  input.work.chunk_seconds.assign(1000, 100.0);
  std::fill_n(input.work.chunk_seconds.begin(), 500, 10.0);
  const PlanResult result = must(input);
  const double calls = 2 + 2 * 500;
  const double rate = 500 * calls / (30 + calls * 0.02);
  EXPECT_NEAR(result.store.peak_reads, rate, 0.1 * rate);
  EXPECT_LT(result.store.peak_calls, 20000) << "what Azure publishes for an account";
}

// The second worker takes the first's only other chunk, and lists 41 pages and failed/ before.
TEST(Simulation, AListThatIsLongerThanAChunkDelaysAHelper) {
  PlanInput input = plain(3, 1, 2);
  input.store.list_page = 1e-9 + 4.0 / 41;
  input.work.chunk_seconds = {0.5, 20, 1};
  input.store.call_seconds = 0.1;
  // Claims of the first two chunks and one commit are four objects.
  EXPECT_DOUBLE_EQ(must(input).finished, 20);
  EXPECT_NEAR(must(input).workers.starting, 42 * 0.1 - 1, 1e-9);
}

TEST(Simulation, NumbersWithoutSenseAreRefusedByName) {
  const auto refused = [](auto change) {
    PlanInput input = plain(1, 1, 1);
    change(input);
    const auto result = simulate(input);
    EXPECT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, Code::invalid_argument);
    return result.error().message;
  };
  EXPECT_THAT(refused([](PlanInput& in) { in.jobs.clear(); }), HasSubstr("needs a job"));
  EXPECT_THAT(refused([](PlanInput& in) { in.jobs[0].chunks = 0; }), HasSubstr("chunks of a job"));
  EXPECT_THAT(refused([](PlanInput& in) {
                in.jobs.assign(2, {0, 99'999'999});
              }),
              HasSubstr("at most 100000000 chunks"));
  EXPECT_THAT(refused([](PlanInput& in) {
                in.work.chunk_seconds = {1, -1};
              }),
              HasSubstr("seconds of a chunk"));
  EXPECT_THAT(refused([](PlanInput& in) { in.pool.start_delay = kNever; }),
              HasSubstr("start delay"));
  EXPECT_THAT(refused([](PlanInput& in) { in.pool.idle_timeout = -1; }),
              HasSubstr("idle time-out"));
  EXPECT_THAT(refused([](PlanInput& in) { in.pool.min_nodes = 2; }), HasSubstr("always on"));
  EXPECT_THAT(refused([](PlanInput& in) {
                in.pool.max_nodes = 10'000'001;
                in.pool.min_nodes = 0;
              }),
              HasSubstr("workers"));
}

// A third of a second on one core; what it costs with chunks squared would not end with this
// program.
TEST(Simulation, AMillionChunksOnTenThousandNodesArePlanned) {
  PlanInput input = plain(1000000, 20, 10000);
  input.work.chunk_seconds = spread_seconds(20, 0.2, 1);
  input.pool.start_delay = 120;
  input.pool.preemptions_per_node_hour = 0.05;
  const PlanResult result = must(input);
  EXPECT_EQ(result.chunks_done, 1000000);
  EXPECT_EQ(result.peak_nodes, 10000);
  EXPECT_GT(result.evictions, 0);
  EXPECT_GT(result.finished, 120 + 20.0 * 1000000 / 10000);
}

TEST(Simulation, CanBeInterrupted) {
  std::stop_source stop;
  stop.request_stop();
  const auto result = simulate(plain(1'000'000, 1, 10), stop.get_token());
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, Code::cancelled);
}

TEST(SpreadSeconds, HaveTheMeanAndTheSpreadThatWereAskedFor) {
  EXPECT_EQ(spread_seconds(3, 0, 1), std::vector<double>{3});
  const std::vector<double> values = spread_seconds(20, 0.5, 1);
  const auto count = static_cast<double>(values.size());
  EXPECT_NEAR(std::accumulate(values.begin(), values.end(), 0.0) / count, 20, 1e-9);
  double squares = 0;
  for (const double value : values) squares += (value - 20) * (value - 20);
  EXPECT_NEAR(std::sqrt(squares / count) / 20, 0.5, 0.04);
  EXPECT_EQ(values, spread_seconds(20, 0.5, 1));
  EXPECT_NE(values, spread_seconds(20, 0.5, 2));
}

}  // namespace
}  // namespace atelier::engine
