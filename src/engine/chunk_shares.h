// SPDX-License-Identifier: Apache-2.0
// Which chunk a worker of the simulation takes next, by the rules of run/ledger.h: its own share
// from the front, then the largest share from the end, then what was lost. Used inside src/engine.
//
// Cost: O(log shares) a claim, amortised. Sizes in the heap of shares may be too large, since
// owners take chunks without looking at it; what is popped with a stale size goes back with the
// true one, and each stale size was paid for by a claim.
#pragma once

#include <optional>
#include <queue>
#include <set>
#include <utility>
#include <vector>

namespace atelier::engine {

class ChunkShares {
 public:
  // `shares` is at least 1; chunks and shares are numbered from 0.
  ChunkShares(int chunks, int shares);

  // What a worker has seen of its own share; a worker that begins anew has a new one.
  struct Walk {
    int share = -1;  // none of its own
    int next = 0;    // chunks of the share before this one were tried
  };
  Walk begin_walk(int worker) const;

  enum class How { own, help, retake };
  struct Taken {
    int chunk = -1;
    How how = How::own;
  };
  // Nothing if all that is left is held, or lost and not known to be.
  std::optional<Taken> take(Walk& walk);

  // A chunk that was taken and whose worker vanished: first nobody knows, then it can be taken.
  void lose(int chunk) { unwatched_.insert(chunk); }
  // What was lost and is watched from now on; whoever watches calls found() later.
  std::vector<int> watch_all();
  std::vector<int> watch_share(const Walk& walk);
  void found(int chunk) { lost_.insert(chunk); }

  int unclaimed() const { return unclaimed_; }
  bool can_take() const { return unclaimed_ > 0 || !lost_.empty(); }

 private:
  struct Share {
    int front = 0;  // unclaimed are those from front to back
    int back = 0;
  };
  std::optional<int> take_own(Walk& walk);
  std::optional<int> take_from_largest();
  std::vector<int> watch_range(int begin, int end);
  int begin_of(int share) const;
  int size_of(int share) const;

  int chunks_;
  int unclaimed_;
  std::vector<Share> shares_;
  // Size and, among equals, the first share: the ledger sorts stably by size.
  std::priority_queue<std::pair<int, int>> largest_;
  bool helping_ = false;  // largest_ was filled
  std::set<int> unwatched_;
  std::set<int> lost_;  // and found to be
};

}  // namespace atelier::engine
