// SPDX-License-Identifier: Apache-2.0
// One trigger at work: opens its place, watches and lists it when that is due, starts what is
// seen, and tries again what failed. Steps, without a thread of its own.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "server/triggers/folder_watch.h"
#include "server/triggers/trigger_scan.h"
#include "server/wall_clock.h"

namespace atelier::server {

// A store whose keys are relative to the place (open_store). It should give up within seconds what
// cannot be reached: an event's call waits for it, and so does the end of the service.
using OpenPlace = std::function<Result<std::unique_ptr<ObjectStore>>(const Location&)>;

// Times are 0 where it never happened.
struct TriggerState {
  Millis last_scan = 0;    // that came to its end
  std::string last_error;  // a sentence; empty once it works again
  Millis last_error_at = 0;
  int64_t listed = 0;    // objects that the filters want, by that scan
  int64_t settling = 0;  // files that are not known to be whole
  bool operator==(const TriggerState&) const = default;
};

class TriggerRunner {
 public:
  static constexpr Clock::Duration kNever = Clock::Duration::max();

  // All must outlive it.
  TriggerRunner(Trigger trigger, OpenPlace open, Receipts& receipts, const Clock& clock,
                const WallClock& wall_clock)
      : trigger_(std::move(trigger)),
        open_(std::move(open)),
        receipts_(receipts),
        clock_(clock),
        wall_clock_(wall_clock) {}

  // Whatever is due; one thread at a time. `go_on` is asked between pages and transactions.
  void step(const std::function<bool()>& go_on);
  // When something will be, by the clock; earlier if watch_fd() becomes readable or
  // ask_to_start() is called. After step(), in its thread.
  Clock::Duration next_due() const;
  // -1: there is none.
  int watch_fd() const { return watch_ ? watch_->fd() : -1; }

  // Safe from several threads, while step() runs, too.
  const Trigger& trigger() const { return trigger_; }
  void ask_to_start() { start_wanted_ = true; }
  TriggerState state() const;
  // Opened by the first call. Errors: those of opening it.
  Result<ObjectStore*> store();

 private:
  // Something that is tried again, ever more seldom, until it works.
  struct Attempts {
    Clock::Duration next{};
    int failures = 0;
    std::string error;
    Millis error_at = 0;
  };
  void failed(Attempts& attempts, const Error& error);
  static void worked(Attempts& attempts, Clock::Duration next);
  void watch();
  Result<void> find(const FolderNews& news, const std::function<bool()>& go_on);
  Result<void> scan(const std::function<bool()>& go_on);
  Result<void> look(const FolderNews& news);
  void start(const std::function<bool()>& go_on);
  void show_state();
  // If there were new receipts, they are to be started.
  void count(int64_t recorded);

  const Trigger trigger_;
  const OpenPlace open_;
  Receipts& receipts_;
  const Clock& clock_;
  const WallClock& wall_clock_;

  std::unique_ptr<FolderWatch> watch_;
  std::unique_ptr<TriggerScan> scan_;
  Attempts watching_, scanning_, starting_;
  Millis last_scan_ = 0;
  FolderNews news_;  // that was not looked at yet
  std::atomic<bool> start_wanted_ = true;

  mutable Mutex mutex_;
  std::unique_ptr<ObjectStore> store_ GUARDED_BY(mutex_);
  TriggerState state_ GUARDED_BY(mutex_);
};

}  // namespace atelier::server
