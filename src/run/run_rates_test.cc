// SPDX-License-Identifier: Apache-2.0
#include "run/run_rates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/memory_store.h"

namespace atelier::run {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;

class RunRatesTest : public testing::Test {
 protected:
  RunRatesTest() {
    state_.run = "memory:run";
    state_.manifest.input.size = 4000;
  }
  // A chunk that `worker` committed so many seconds after the manifest.
  void commit(const std::string& worker, double when, double decode, double score, double encode) {
    ChunkCommit commit;
    commit.worker = worker;
    commit.seconds = {decode, score, encode};
    commit.bytes = 100 * (1 + state_.commits.size());
    state_.commits.emplace_back(commit);
    times_.commits.emplace_back(at(when));
  }
  void waiting() {
    state_.commits.emplace_back();
    times_.commits.emplace_back();
  }
  WallTime at(double seconds) const {
    return times_.prepared +
           std::chrono::duration_cast<WallTime::duration>(std::chrono::duration<double>(seconds));
  }

  RunState state_;
  RunTimes times_;
};

TEST_F(RunRatesTest, TheTimeBetweenCommitsIsTheSlowestStageAndAShareOfTheRest) {
  commit("a", 13, 1, 4, 2);
  commit("a", 18, 1, 4, 2);
  commit("b", 15, 8, 4, 2);  // decoding is the slowest here
  commit("a", 28, 1, 8, 2);
  const auto rates = measure_rates(state_, times_, {});
  ASSERT_TRUE(rates.ok());
  // a: 15 s between commits for stages of 4 and 8 s, so 1.5 s more for each.
  EXPECT_THAT(rates->chunk_seconds, ElementsAre(DoubleNear(5.5, 1e-6), DoubleNear(5.5, 1e-6),
                                                DoubleNear(9.5, 1e-6), DoubleNear(9.5, 1e-6)));
  EXPECT_EQ(rates->workers, 2u);
  EXPECT_EQ(rates->gaps, 2u);
  EXPECT_DOUBLE_EQ(rates->bytes_in_per_chunk, 1000);
  EXPECT_DOUBLE_EQ(rates->bytes_out_per_chunk, 250);
  EXPECT_FALSE(rates->prepare_seconds);
}

TEST_F(RunRatesTest, TimesThatWereRoundedDownMakeEveryChunkShorter) {
  commit("a", 4, 0, 4, 0);
  commit("a", 7, 0, 4, 0);
  commit("a", 9, 0, 2, 0);
  EXPECT_NEAR(measure_rates(state_, times_, {})->chunk_seconds[0], 4 * 5 / 6.0, 1e-6);
}

TEST_F(RunRatesTest, WithoutGapsTheStagesAloneCount) {
  commit("a", 5, 1, 3, 2);
  waiting();
  commit("b", 5, 1, 2, 4);
  const auto rates = measure_rates(state_, times_, {});
  ASSERT_TRUE(rates.ok());
  EXPECT_THAT(rates->chunk_seconds, ElementsAre(3, 4));
  EXPECT_EQ(rates->chunks, 3u);
  EXPECT_EQ(rates->gaps, 0u);
}

TEST_F(RunRatesTest, AJobThatOneCommandDidSaysWhatIsAroundTheChunks) {
  commit("a", 6, 0, 4, 0);
  commit("b", 7, 0, 4, 0);
  commit("a", 10, 0, 4, 0);
  commit("b", 11, 0, 4, 0);
  times_.published = at(13.5);
  const auto rates = measure_rates(state_, times_, ReportedJob{16, true});
  ASSERT_TRUE(rates.ok());
  EXPECT_NEAR(rates->worker_start_seconds, 2, 1e-6);
  EXPECT_NEAR(*rates->prepare_seconds, 2.5, 1e-6);
  EXPECT_NEAR(*rates->finish_seconds, 2.5, 1e-6);
  const auto resumed = measure_rates(state_, times_, ReportedJob{16, false});
  EXPECT_FALSE(resumed->finish_seconds);
  EXPECT_EQ(resumed->worker_start_seconds, 0);
}

TEST_F(RunRatesTest, ARunWithoutACommitCannotBeMeasured) {
  waiting();
  const auto rates = measure_rates(state_, times_, {});
  ASSERT_FALSE(rates.ok());
  EXPECT_EQ(rates.error().code, Code::invalid_argument);
  const auto store = make_memory_store();
  EXPECT_EQ(read_rates(*store, "run").error().code, Code::invalid_argument);
}

}  // namespace
}  // namespace atelier::run
