// SPDX-License-Identifier: Apache-2.0
// Deals rows of a tensor out to a team of threads, so that each thread gets the same part of every
// tensor, whatever its height: what it wrote is in its own cache, and a line that another core has
// changed costs several times one of its own. Whoever is done takes from the end of what others
// still have (codecs' threads interrupt some of a team), so nobody waits for long.
//
// Which thread makes a row never changes the bits: rows are whole, sums stay within them.
#pragma once

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

namespace atelier::model::kernels {

class RowShares {
 public:
  // `piece`: rows that are taken at once.
  RowShares(int rows, int piece, int threads)
      : piece_(static_cast<uint32_t>(piece)), shares_(static_cast<size_t>(threads)) {
    for (int64_t t = 0; t < threads; t++) {
      shares_[static_cast<size_t>(t)].rest =
          pack({static_cast<uint32_t>(rows * t / threads),
                static_cast<uint32_t>(rows * (t + 1) / threads)});
    }
  }

  // In a parallel region, by each of its threads, of which there may be fewer than `threads`. Work
  // is done when all have returned. `body(row)`.
  template <class Body>
  void run(Body&& body) {
    const size_t own = static_cast<size_t>(omp_get_thread_num()) % shares_.size();
    for (size_t i = 0; i < shares_.size(); i++) {
      Share& share = shares_[(own + i) % shares_.size()];
      for (;;) {
        const Range piece = take(share, i == 0);
        if (piece.begin == piece.end) break;
        for (uint32_t row = piece.begin; row < piece.end; row++) body(static_cast<int>(row));
      }
    }
  }

 private:
  struct Range {
    uint32_t begin = 0, end = 0;
  };
  struct alignas(64) Share {
    std::atomic<uint64_t> rest{0};  // both ends in one word: they change together
  };

  static uint64_t pack(Range range) { return uint64_t{range.begin} << 32 | range.end; }

  // The owner takes from the front, others from the back. Empty: nothing is left.
  Range take(Share& share, bool front) const {
    uint64_t rest = share.rest.load(std::memory_order_relaxed);
    for (;;) {
      const Range all{static_cast<uint32_t>(rest >> 32), static_cast<uint32_t>(rest)};
      const uint32_t count = std::min(piece_, all.end - all.begin);
      const Range taken =
          front ? Range{all.begin, all.begin + count} : Range{all.end - count, all.end};
      const Range left = front ? Range{taken.end, all.end} : Range{all.begin, taken.begin};
      if (count == 0) return {};
      if (share.rest.compare_exchange_weak(rest, pack(left), std::memory_order_relaxed)) {
        return taken;
      }
    }
  }

  const uint32_t piece_;
  std::vector<Share> shares_;
};

// All rows, by a team of its own.
template <class Body>
void for_rows(int rows, int piece, int threads, Body&& body) {
  RowShares shares(rows, piece, threads);
#pragma omp parallel num_threads(threads)
  shares.run(body);
}

}  // namespace atelier::model::kernels
