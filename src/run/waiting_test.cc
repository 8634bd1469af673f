// SPDX-License-Identifier: Apache-2.0
#include "run/waiting.h"

#include <gtest/gtest.h>

namespace atelier::run {
namespace {

using std::chrono::milliseconds;

TEST(Waiting, AQuickLookIsFollowedByTheShortestRest) {
  EXPECT_EQ(rest_after(milliseconds(0), 0.5), milliseconds(250));
  EXPECT_EQ(rest_after(milliseconds(20), 0.5), milliseconds(250));
}

TEST(Waiting, ALongLookIsFollowedByALongerRestUpToABound) {
  EXPECT_EQ(rest_after(milliseconds(500), 0.5), milliseconds(2000));
  EXPECT_EQ(rest_after(milliseconds(3000), 0.5), milliseconds(12000));
  EXPECT_EQ(rest_after(std::chrono::hours(1), 0.5), milliseconds(30000));
}

TEST(Waiting, RestsAreSpreadByAQuarter) {
  EXPECT_EQ(rest_after(milliseconds(1000), 0), milliseconds(3000));
  EXPECT_EQ(rest_after(milliseconds(1000), 1), milliseconds(5000));
}

}  // namespace
}  // namespace atelier::run
