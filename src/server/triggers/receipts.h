// SPDX-License-Identifier: Apache-2.0
// What makes a blob start one run: a receipt per trigger, URL and etag, in the service's database.
//
// The idea: who notices a blob records it, as often as he likes; only the first time does a row
// come into being ("seen"). Who starts runs takes the rows that are seen, and the transaction that
// adds the run is the one that makes the row "submitted". So a blob is noticed at least once,
// started once, and a crash between any two commits loses and doubles nothing; no clock and no
// order of events plays a part. Tested by receipts_test.cc and trigger_crash_test.cc, which end
// the process before every commit.
//
// A receipt is kept for ever: without it, a blob that still lies there would start again.
// Cost: one row of about 200 bytes per blob; listing again what is known writes nothing.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "server/database.h"
#include "server/location_policy.h"
#include "server/triggers/trigger.h"
#include "server/wall_clock.h"

namespace atelier::server {

// What a trigger asks for.
struct TriggeredRun {
  std::string trigger;
  std::string owner;
  std::string pipeline;
  std::string parameters;  // JSON, as map_blob made it: not yet checked against the pipeline
  std::string input;       // the blob's URL
  std::string etag;
  uint64_t bytes = 0;
  Trigger::Asks asks;
};

// Looks at what a blob asks for, which may take as long as files and stores take, and so before any
// transaction: everybody who writes would wait for it. What it answers adds the run in the
// transaction that `connection` is in, in the writer's thread, and answers its id; it may be called
// again if the transaction broke, and whatever it did is undone if it gives an error. The errors of
// both say what becomes of the blob:
//   unavailable with retry_after      the queue is full: this one and all others wait
//   invalid_argument, invalid_input   refused: ignored, with the error's sentence, until it changes
//   no_space                          the disk is full: so do all
//   anything else                     it waits, and others are tried
using AddRun = std::function<Result<std::string>(Connection& connection)>;
using PrepareRun = std::function<Result<AddRun>(const TriggeredRun&)>;

struct Receipt {
  std::string url;
  std::string etag;
  Millis seen_at = 0;
  std::string state;  // seen, submitted, ignored
  std::string run_id;
  std::string reason;  // of ignored
  bool operator==(const Receipt&) const = default;
};

struct ReceiptCounts {
  int64_t seen = 0;  // waiting to start
  int64_t submitted = 0;
  int64_t ignored = 0;
};

// What start_due did.
struct Started {
  int64_t submitted = 0;
  int64_t ignored = 0;
  // Some had to wait: why, and how long its source asks to wait; unset if none.
  std::optional<Error> waits;
};

// What a trigger ignored, of one URL or (empty) all: at most so many, by URL and etag after those
// of the page before, are seen again, and start or are ignored anew, perhaps before the next page.
// Inside the caller's transaction. Errors: those of Connection.
struct RetriedPage {
  int64_t retried = 0;
  std::string last_url, last_etag;  // where the next page begins
};
Result<RetriedPage> retry_ignored(Connection& connection, const std::string& trigger,
                                  const std::string& url, const RetriedPage& after, int64_t most);

// Safe from several threads. Errors of all: those of Database.
class Receipts {
 public:
  // All must outlive it.
  Receipts(Database& database, const WallClock& clock, PrepareRun prepare,
           ResolveLinks resolve = &resolve_links)
      : database_(database),
        clock_(clock),
        prepare_(std::move(prepare)),
        resolve_(std::move(resolve)) {}

  // Of `blobs` those without a receipt; reads only.
  Result<std::vector<Blob>> unknown(const Trigger& trigger, std::vector<Blob> blobs);

  // Receipts for those that have none; on disk when it returns. The number that is new.
  // Of two versions of one blob both start: which came last, nobody can tell of answers that
  // crossed, and a version that is dropped by mistake would be missed.
  Result<int64_t> record_seen(const Trigger& trigger, std::span<const Blob> blobs);

  // Starts what is seen and not started, oldest first. Before each, what the trigger does not want
  // any more and what a run wrote or is about to write (outputs.h) is ignored. `go_on` is asked
  // between transactions.
  Result<Started> start_due(const Trigger& trigger, const std::function<bool()>& go_on);

  Result<ReceiptCounts> counts(const std::string& trigger);
  // Ordered by URL and etag, after those two; `state` empty: all.
  Result<std::vector<Receipt>> list(const std::string& trigger, const std::string& state,
                                    const std::string& after_url, const std::string& after_etag,
                                    size_t limit);

 private:
  struct Due;
  struct Prepared;
  struct Batch;
  Result<Batch> start_batch(const Trigger& trigger, const Due& after);
  Result<std::vector<Due>> due_after(const Trigger& trigger, const Due& after);
  Prepared prepare(const Trigger& trigger, Due due) const;
  Result<AddRun> prepare_run(const Trigger& trigger, const Due& due, const Blob& blob) const;
  Result<void> start_rows(Connection& connection, const Trigger& trigger,
                          const std::vector<Prepared>& rows, Batch& batch);
  Result<void> start_one(Connection& connection, const Trigger& trigger, const Prepared& prepared,
                         Batch& batch);
  Result<int64_t> record_some(const Trigger& trigger, std::span<const Blob> blobs);

  Database& database_;
  const WallClock& clock_;
  const PrepareRun prepare_;
  const ResolveLinks resolve_;
};

}  // namespace atelier::server
