// SPDX-License-Identifier: Apache-2.0
#include "run/thread_split.h"

#include <gtest/gtest.h>

namespace atelier::run {
namespace {

using namespace std::chrono_literals;

TEST(ScoringThreads, CodecsGetWholeThreadsOfTheirShare) {
  EXPECT_EQ(scoring_threads(16, 70, 30), 12);  // 4.8 of 16
  EXPECT_EQ(scoring_threads(2, 70, 30), 2);    // 0.6 of 2: less than a thread
  EXPECT_EQ(scoring_threads(2, 40, 60), 1);
  EXPECT_EQ(scoring_threads(8, 1, 99), 1);  // at least one scores
  EXPECT_EQ(scoring_threads(1, 1, 99), 1);
  EXPECT_EQ(scoring_threads(8, 0, 99), 8);  // nothing known
  EXPECT_EQ(scoring_threads(8, 5, 0), 8);
}

// A pipeline of which scoring takes `score` seconds of each of its threads a frame, the rest
// `codecs`.
struct Pipeline {
  ThreadSplit split{8};
  Clock::Duration now{};
  ProcessorTime spent;
  void frame(double work, double codecs) {
    const double each = work / split.threads();
    spent.thread += each;
    spent.process += work + codecs;
    now += std::chrono::duration_cast<Clock::Duration>(std::chrono::duration<double>(0.1));
    split.look(now, spent);
  }
};

TEST(ThreadSplit, FindsTheShareAndStaysWithIt) {
  Pipeline pipeline;
  for (int i = 0; i < 5; i++) pipeline.frame(0.4, 0.5);
  EXPECT_EQ(pipeline.split.threads(), 8) << "not a second has gone by";
  for (int i = 0; i < 50; i++) pipeline.frame(0.4, 0.5);
  EXPECT_EQ(pipeline.split.threads(), 4);
  EXPECT_EQ(*pipeline.split.team(), 4);
  for (int i = 0; i < 30; i++) pipeline.frame(0.4, 0.01);  // a still picture is cheap to encode
  EXPECT_EQ(pipeline.split.threads(), 8);
}

TEST(ThreadSplit, TheFirstFrameSaysNothing) {
  Pipeline pipeline;
  pipeline.frame(100, 0);
  for (int i = 0; i < 20; i++) pipeline.frame(0.2, 0.6);
  EXPECT_EQ(pipeline.split.threads(), 2);
}

TEST(ThreadSplit, ClocksThatDisagreeDoNoHarm) {
  ThreadSplit split(4);
  split.look(0s, {0, 0});
  split.look(2s, {1, 3});  // the team cannot have taken more than the process
  EXPECT_EQ(split.threads(), 4);
  split.look(4s, {1, 3});  // nothing went on
  EXPECT_EQ(split.threads(), 4);
}

TEST(ProcessorTime, IsThatOfTheProcessAndOfTheThread) {
  const ProcessorTime before = processor_time();
  volatile double sum = 0;
  while (processor_time().thread - before.thread < 0.02) sum = sum + 1;
  EXPECT_GE(processor_time().process - before.process, 0.02);
}

}  // namespace
}  // namespace atelier::run
