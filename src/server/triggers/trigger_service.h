// SPDX-License-Identifier: Apache-2.0
// All triggers of the service at work, and the webhook that tells them of blobs.
//
// The idea: a thread per trigger, so that a store which does not answer holds up nobody else; it
// sleeps until its runner has something due, the kernel has news of its folder, or an event came.
// Whatever fails becomes a sentence in the trigger's state and is tried again, ever more seldom.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/call.h"
#include "server/triggers/event_body.h"
#include "server/triggers/trigger_runner.h"

namespace atelier::server {

struct TriggerReport {
  Trigger trigger;
  TriggerState state;
  ReceiptCounts receipts;
};

// What the service is made of; all must outlive it.
struct TriggerParts {
  Database& database;
  const Clock& clock;
  const WallClock& wall_clock;
  OpenPlace open;
  PrepareRun prepare;
};

// Safe from several threads.
class TriggerService {
 public:
  explicit TriggerService(TriggerParts parts);
  // Waits for what is under way: a call of a store at most. No call may be in handle_event.
  ~TriggerService();
  TriggerService(const TriggerService&) = delete;
  TriggerService& operator=(const TriggerService&) = delete;

  // From now on these run, and no others. One that is the same as before goes on undisturbed; of
  // one that changed, what is already recorded starts by its new mapping. Names are unique. Errors:
  // unavailable (no file descriptor is left): then nothing changed.
  Result<void> replace(std::vector<Trigger> triggers);

  // By name. Errors: those of Database.
  Result<std::vector<TriggerReport>> reports();
  Receipts& receipts() { return receipts_; }
  // There is something to start for it; false if no trigger of that name runs.
  bool wake(const std::string& name);

  // POST and OPTIONS /v1/triggers/{name}/events: who may call is for the router to say. 200: every
  // blob that the events told of and that is there has its receipt on disk. 503: not all of them;
  // the sender has to send them again, as event services do. Others: 400, 404, 405, 409 (the
  // trigger takes no events), 413. Blocks while the store is asked, for 20 s or a call more.
  Reply handle_event(const std::string& name, const Call& call);

 private:
  class Worker;
  struct Taken {
    int64_t accepted = 0;  // new receipts
    int64_t known = 0;
    int64_t ignored = 0;
  };
  std::shared_ptr<Worker> find(const std::string& name);
  Reply take_events(Worker& worker, const Call& call);
  Result<Taken> take_blobs(Worker& worker, const std::vector<BlobEvent>& events);
  std::vector<Blob> wanted_of(const Trigger& trigger, const std::vector<BlobEvent>& events) const;
  Result<void> ask_store(Worker& worker, std::vector<Blob> blobs, std::vector<Blob>& found);

  const TriggerParts parts_;
  Receipts receipts_;
  Mutex mutex_;
  // Shared with the calls that are under way while it is replaced.
  std::map<std::string, std::shared_ptr<Worker>> workers_ GUARDED_BY(mutex_);
  // Told to stop; their threads may still wait for a store.
  std::vector<std::shared_ptr<Worker>> leaving_ GUARDED_BY(mutex_);
};

// For GET /v1/triggers: an object.
std::string to_json(const TriggerReport& report);
std::string to_json(const Receipt& receipt);

}  // namespace atelier::server
