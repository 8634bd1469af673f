// SPDX-License-Identifier: Apache-2.0
#include "engine/store_limits.h"

#include <gtest/gtest.h>

#include <vector>

namespace atelier::engine {
namespace {

std::vector<const StoreLimit*> exceeded_limits(const StoreLoad& load) {
  std::vector<const StoreLimit*> exceeded;
  for (const StoreLimit& limit : published_limits()) {
    if (limit.is_exceeded(load)) exceeded.push_back(&limit);
  }
  return exceeded;
}

TEST(StoreLimits, OnlyWhatIsBeyondThemIsNamed) {
  StoreLoad load;
  EXPECT_TRUE(exceeded_limits(load).empty());
  load.peak_calls = 20000;
  load.peak_writes = 3500;
  load.peak_reads = 5500;
  load.peak_cancel_looks = 500;
  load.peak_bytes_written = 25e9 / 8;
  load.peak_bytes_read = 50e9 / 8;
  EXPECT_TRUE(exceeded_limits(load).empty()) << "just within";
  load.peak_input_reads = 501;
  ASSERT_EQ(exceeded_limits(load).size(), 1u);
  EXPECT_EQ(exceeded_limits(load)[0]->what, "requests a second of one blob");
  load.peak_writes = 3501;
  load.peak_bytes_read = 50e9 / 8 + 1;
  const auto exceeded = exceeded_limits(load);
  ASSERT_EQ(exceeded.size(), 3u);
  EXPECT_EQ(exceeded[1]->what, "bytes a second out of an account");
  EXPECT_EQ(exceeded[2]->service, "Amazon S3");
}

}  // namespace
}  // namespace atelier::engine
