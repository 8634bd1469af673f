// SPDX-License-Identifier: Apache-2.0
#include "engine/chunk_shares.h"

#include <cstdint>

namespace atelier::engine {

ChunkShares::ChunkShares(int chunks, int shares)
    : chunks_(chunks), unclaimed_(chunks), shares_(static_cast<size_t>(shares)) {
  for (int k = 0; k < shares; ++k) shares_[static_cast<size_t>(k)] = {begin_of(k), begin_of(k + 1)};
}

int ChunkShares::begin_of(int share) const {
  return static_cast<int>(int64_t{chunks_} * share / static_cast<int64_t>(shares_.size()));
}

int ChunkShares::size_of(int share) const {
  const Share& s = shares_[static_cast<size_t>(share)];
  return s.back - s.front;
}

ChunkShares::Walk ChunkShares::begin_walk(int worker) const {
  if (worker >= static_cast<int>(shares_.size())) return {};
  return {worker, begin_of(worker)};
}

std::optional<ChunkShares::Taken> ChunkShares::take(Walk& walk) {
  if (const auto chunk = take_own(walk)) return Taken{*chunk, How::own};
  if (const auto chunk = take_from_largest()) return Taken{*chunk, How::help};
  if (lost_.empty()) return std::nullopt;
  const int chunk = *lost_.begin();
  lost_.erase(lost_.begin());
  return Taken{chunk, How::retake};
}

std::optional<int> ChunkShares::take_own(Walk& walk) {
  if (walk.share < 0) return std::nullopt;
  Share& share = shares_[static_cast<size_t>(walk.share)];
  const int end = begin_of(walk.share + 1);
  const auto lost = lost_.lower_bound(walk.next);
  const int found = lost != lost_.end() && *lost < end ? *lost : end;
  const int front = share.front < share.back ? share.front : end;
  if (found == end && front == end) return std::nullopt;
  if (found < front) {
    lost_.erase(lost);
    walk.next = found + 1;
    return found;
  }
  ++share.front;
  --unclaimed_;
  walk.next = front + 1;
  return front;
}

std::optional<int> ChunkShares::take_from_largest() {
  if (unclaimed_ == 0) return std::nullopt;
  if (!helping_) {
    for (int k = 0; k < static_cast<int>(shares_.size()); ++k) {
      if (size_of(k) > 0) largest_.push({size_of(k), -k});
    }
    helping_ = true;
  }
  for (;;) {
    const auto [size, negative] = largest_.top();
    const int k = -negative;
    largest_.pop();
    if (size_of(k) > 0 && size_of(k) == size) {
      Share& share = shares_[static_cast<size_t>(k)];
      --share.back;
      --unclaimed_;
      if (size > 1) largest_.push({size - 1, negative});
      return share.back;
    }
    if (size_of(k) > 0) largest_.push({size_of(k), negative});
  }
}

std::vector<int> ChunkShares::watch_range(int begin, int end) {
  const auto first = unwatched_.lower_bound(begin);
  const auto last = unwatched_.lower_bound(end);
  std::vector<int> watched(first, last);
  unwatched_.erase(first, last);
  return watched;
}

std::vector<int> ChunkShares::watch_all() { return watch_range(0, chunks_); }

std::vector<int> ChunkShares::watch_share(const Walk& walk) {
  if (walk.share < 0) return {};
  return watch_range(begin_of(walk.share), begin_of(walk.share + 1));
}

}  // namespace atelier::engine
