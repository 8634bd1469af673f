// SPDX-License-Identifier: Apache-2.0
#include "model/kernels/row_shares.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace atelier::model::kernels {
namespace {

TEST(RowShares, EveryRowIsDoneOnce) {
  for (int threads = 1; threads <= 7; threads++) {
    for (const int rows : {0, 1, 2, 5, 16, 33, 100}) {
      for (const int piece : {1, 2, 7, 1000}) {
        std::vector<std::atomic<int>> done(static_cast<size_t>(rows));
        for_rows(rows, piece, threads, [&](int row) { done[static_cast<size_t>(row)]++; });
        for (const auto& times : done) {
          ASSERT_EQ(times, 1) << rows << " rows, " << threads << " threads, pieces of " << piece;
        }
      }
    }
  }
}

TEST(RowShares, AThreadBeginsWithItsOwnPart) {
  RowShares shares(10, 1, 4);
  std::vector<int> order;
  shares.run([&](int row) { order.push_back(row); });  // outside a team: the first of it
  // Its own forwards, then what others have, each from the end.
  EXPECT_EQ(order, (std::vector<int>{0, 1, 4, 3, 2, 6, 5, 9, 8, 7}));
}

// Whoever has the first row is held up there until all others are done: without help its own part
// never would be.
TEST(RowShares, WhoIsDoneHelpsTheOthers) {
  constexpr int kRows = 40;
  std::atomic<int> others{0};
  int done_meanwhile = 0;
  for_rows(kRows, 1, 2, [&](int row) {
    if (row != 0) {
      others++;
      return;
    }
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (others < kRows - 1 && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    done_meanwhile = others;
  });
  EXPECT_EQ(done_meanwhile, kRows - 1);
}

}  // namespace
}  // namespace atelier::model::kernels
