// SPDX-License-Identifier: Apache-2.0
// Who scores which chunk, when many workers meet in one run folder and any of them may die. The
// records in the folder are the whole truth; a Ledger is one worker's view of them.
//
//   chunks/000007.claim.3   put if absent: generation 3 of the claim on chunk 7. Names its worker,
//                           or says that the chunk is free again; the highest generation counts
//   chunks/000007.json      the commit (RunFolder): the chunk is done, whatever else lies there
//   failed/000007.json      put if absent: the chunk is given up. A commit that comes later stands
//   workers/<id>.beat       overwritten by its worker every few seconds
//   cancel.json             whoever puts it stops the run
//
// A claim saves time and guards nothing: a chunk scored twice has the same bits, and its first
// commit stands. So a claim may be taken over as soon as its worker seems dead: when its beat has
// not changed for `claim_timeout` by the observer's own clock (clocks of machines are never
// compared), or when the observer can tell at once (see Origin).
// Cost: one conditional put a chunk where nobody else is, and a head every two seconds; two lists,
// and a head for each held chunk with a get where its holder's beat has changed, where somebody is;
// who waits rests between (waiting.h). Tested by ledger_test.cc, and with random
// schedules by ledger_random_test.cc.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "store/object_store.h"

namespace atelier::run {

// Where a worker runs, so that another one on the same machine can look.
struct Origin {
  std::string machine;  // the same after every start of it; not every machine has a name
  std::string boot;     // of this start: no other in the world has it
  std::string space;    // the PID namespace: containers number their processes each from 1
  int64_t pid = 0;
  uint64_t started = 0;  // with the pid, one process and no later one of the same number
  bool operator==(const Origin&) const = default;
};
// This process. Unknown parts are empty and match nothing.
Origin this_process();
enum class Liveness {
  dead,   // same machine, and another boot, or no such process, or a zombie
  alive,  // the process is there, if perhaps stopped
  unknown,
};
Liveness liveness_of(const Origin& origin);
// False says nothing.
bool certainly_dead(const Origin& origin);

// Worker k of n (from 0) begins with its even share of the chunks, then helps with the rest.
struct Share {
  int k = 0;
  int n = 1;
};

struct LedgerPolicy {
  Clock::Duration claim_timeout = std::chrono::seconds(30);
  int max_attempts = 3;  // failures of the chunk itself before it is given up
  // Workers that vanished with it: machines are switched off, so this is no fault of the chunk's,
  // until it happens every time.
  int max_losses = 12;
};

struct Claim {
  int chunk = -1;
  int generation = 0;
  int attempt = 1;  // how often it was begun because it had failed, this time included
  int losses = 0;   // how often its worker vanished
};

// failed/000007.json
struct ChunkFailure {
  int chunk = -1;
  int attempts = 0;
  int losses = 0;
  std::string worker;  // the last one
  std::string error;
};

// One thread, but for beat(), which another may call at any time.
class Ledger {
 public:
  struct Setup {
    std::string run_id;
    std::string worker;  // unique in the run: a second process of the same name must not be
    int chunks = 0;
    Share share;
    LedgerPolicy policy;
    Origin origin = this_process();
    std::function<bool(const Origin&)> is_dead = certainly_dead;
  };
  // References must outlive it.
  Ledger(ObjectStore& store, const Clock& clock, Setup setup);
  const std::string& worker() const { return setup_.worker; }

  enum class Next {
    claimed,    // `claim` is ours
    wait,       // others hold all that is left: ask again after a while
    settled,    // every chunk is done, given up, or ours already
    cancelled,  // somebody put cancel.json; looked for every two seconds at most
  };
  struct Answer {
    Next next = Next::wait;
    Claim claim;
  };
  // The worker must have beaten once before. Errors: unavailable and what the store says; nothing
  // is lost by asking again. corrupt: a record that no version of ours wrote; the run was removed
  // (see clean_up.h).
  Result<Answer> claim();

  // Gives a chunk back. `failed`: it could not be scored, for the reason `error`; it is given up
  // after the last attempt. Otherwise the worker has to go, and the attempt does not count.
  // Returns the failure if the chunk was given up.
  Result<std::optional<ChunkFailure>> give_back(const Claim& claim, bool failed,
                                                const std::string& error);

  // Call before the first claim, then every few seconds. `left` at the end.
  // `frames`: encoded since it started.
  Result<void> beat(uint64_t frames, bool left = false);

  // Every chunk that was given up and not committed after all, in order.
  Result<std::vector<ChunkFailure>> failures();
  // Begins anew with every chunk that was given up, and takes cancel.json away: somebody asked for
  // the run again. Call before the first claim. Returns how many chunks.
  Result<size_t> retry_failures();
  Result<void> cancel(const std::string& reason);
  Result<bool> cancelled();

 private:
  struct Chunk {
    bool settled = false;
    int generation = 0;  // the highest seen; 0: none
    std::string holder;  // of that generation; empty: free, or not read yet
    bool read = false;   // holder, attempt and losses are those of `generation`
    int attempt = 1;     // of the next claim if the holder gives it back in good order
    int losses = 0;
  };
  struct Seen {
    std::string etag;
    Clock::Duration changed{};
    bool left = false;
    bool lost = false;  // somebody else said so, see worker_beats.h
    Origin origin;
  };

  std::string key(std::string_view name) const;
  Result<bool> is_cancelled();
  std::string claim_key(int chunk, int generation) const;
  Result<void> refresh();
  // A claim of our own whose answer was lost is ours all the same.
  bool adopt(int chunk, Claim& claim);
  Result<void> read_claim(int chunk);
  enum class Holder { alive, left, lost };
  Result<Holder> look_at(const std::string& worker);
  Result<bool> is_settled(int chunk);
  // Puts the next generation; false if somebody else did.
  Result<bool> take(int chunk, bool lost, Claim& claim);
  Result<bool> try_chunk(int chunk, Claim& claim);
  Result<bool> give_up(int chunk, const std::string& error);
  Result<bool> help(Claim& claim);
  bool nothing_left() const;
  // Chunks that nobody holds: from the end of the share with most of them left, so that its owner
  // and its helpers meet late.
  std::vector<int> helping_order() const;
  int begin_of(int k) const;

  ObjectStore& store_;
  const Clock& clock_;
  const Setup setup_;
  std::vector<Chunk> chunks_;
  std::map<std::string, Seen> workers_;
  std::set<int> held_;   // chunks that claim() answered and give_back() has not taken
  bool listed_ = false;  // the folder was looked at once
  std::optional<Clock::Duration> cancel_looked_;  // when, the last time
  int own_next_ = 0;                              // of the own share: those before it were tried
  std::atomic<uint64_t> beats_{0};
  const Clock::Duration begun_;
};

}  // namespace atelier::run
