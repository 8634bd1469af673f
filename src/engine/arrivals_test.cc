// SPDX-License-Identifier: Apache-2.0
#include "engine/arrivals.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atelier::engine {
namespace {

using testing::HasSubstr;

TEST(Arrivals, AtRandomComeAsOftenAsAskedFor) {
  const auto jobs = poisson_arrivals(30, 20000, 7, 1);
  ASSERT_EQ(jobs.size(), 20000u);
  EXPECT_NEAR(jobs.back().arrival / 20000, 120, 3);
  // Of exponential gaps e^-1 are longer than their mean.
  int longer = 0;
  for (size_t i = 1; i < jobs.size(); ++i) {
    EXPECT_GE(jobs[i].arrival, jobs[i - 1].arrival);
    longer += jobs[i].arrival - jobs[i - 1].arrival > 120 ? 1 : 0;
  }
  EXPECT_NEAR(longer / 20000.0, 0.368, 0.015);
  EXPECT_EQ(jobs[5].chunks, 7);
  EXPECT_EQ(jobs[5].arrival, poisson_arrivals(30, 6, 7, 1)[5].arrival) << "the same for a seed";
  EXPECT_NE(jobs[5].arrival, poisson_arrivals(30, 6, 7, 2)[5].arrival);
}

TEST(Arrivals, OfALogBeginAtItsFirst) {
  const auto jobs = parse_arrivals(
      "# a log\n2026-03-01T00:00:01Z 12\n\n2026-02-28T23:59:59.5Z\n2026-03-01T01:00:00Z, 3 # x\n",
      4);
  ASSERT_TRUE(jobs.ok());
  ASSERT_EQ(jobs->size(), 3u);
  EXPECT_EQ((*jobs)[0].arrival, 0);
  EXPECT_EQ((*jobs)[0].chunks, 4);
  EXPECT_DOUBLE_EQ((*jobs)[1].arrival, 1.5);
  EXPECT_EQ((*jobs)[1].chunks, 12);
  EXPECT_DOUBLE_EQ((*jobs)[2].arrival, 3600.5);
  EXPECT_EQ((*jobs)[2].chunks, 3);
}

TEST(Arrivals, OfSecondsNeedNoDates) {
  const auto jobs = parse_arrivals("30\r\n10.5 2\r\n", 1);
  ASSERT_TRUE(jobs.ok());
  EXPECT_EQ((*jobs)[0].chunks, 2);
  EXPECT_DOUBLE_EQ((*jobs)[1].arrival, 19.5);
}

TEST(Arrivals, ThatAreNoneAreRefusedByLine) {
  for (const char* line :
       {"soon", "10 0", "10 x", "10 2 3", "nan", "2026-02-30T00:00:00Z", "2026-02-01T24:00:00Z",
        "2026-02-01 00:00:00Z", "2026-02-01T00:00:99Z"}) {
    const auto jobs = parse_arrivals(std::string("1\n") + line + "\n", 1);
    ASSERT_FALSE(jobs.ok()) << line;
    EXPECT_EQ(jobs.error().code, Code::invalid_argument);
    EXPECT_THAT(jobs.error().message, HasSubstr("Line 2")) << line;
  }
  EXPECT_THAT(parse_arrivals("# nothing\n", 1).error().message, HasSubstr("no job"));
}

}  // namespace
}  // namespace atelier::engine
