// SPDX-License-Identifier: Apache-2.0
// Tells others what became of runs.
//
// The idea: what is to be told is a row that is added in the transaction of the event itself, so
// that neither is there without the other; who sends takes rows that are due, sends, and writes
// down what came of it. A crash between the two sends again: at least once, under the same
// webhook-id, by which a receiver knows doubles. Order: that of the events, as long as nothing is
// repeated. Each webhook has a thread of its own, so that a receiver that hangs keeps no other
// waiting. A 2xx is success, 410 (gone) ends it, all else is repeated with growing pauses for a
// day. Shown by killing the process at every commit (webhooks_test.cc).
#pragma once

#include <condition_variable>
#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "base/mutex.h"
#include "server/database.h"
#include "server/wall_clock.h"
#include "server/webhook_sender.h"

namespace atelier::server {

// A row of `events`.
struct RunEvent {
  int64_t seq = 0;
  std::string run_id;
  Millis at = 0;
  std::string kind;           // finished, failed, set_aside, ...
  std::string detail = "{}";  // JSON; redacted (redact.h) on its way out
};

// For the function that Database::write runs, beside the event: a row for each webhook that wants
// events of this kind; those that are there already stay as they are. Errors: internal (the detail
// is no JSON), those of Connection; the event must fail with it.
Result<void> queue_deliveries(Connection& connection, std::span<const Webhook> webhooks,
                              const RunEvent& event, const WallClock& clock);

// A row of `deliveries`, without what is sent.
struct DeliveryRow {
  int64_t seq = 0;
  std::string webhook;
  std::string run_id;
  int64_t event_seq = 0;
  std::string state;  // waiting, delivered, given_up
  int64_t attempts = 0;
  std::string last_error;  // of the last attempt; empty where it was delivered
  Millis next_at = 0;      // of waiting
  Millis created_at = 0;
};
struct DeliveryFilter {
  std::string webhook, state, run_id;  // empty: any
  std::optional<int64_t> seq;
  int64_t before = INT64_MAX;  // seq: the newest come first
  int64_t limit = 100;
};
// Errors: those of Connection, also of the next.
Result<std::vector<DeliveryRow>> list_deliveries(Connection& connection,
                                                 const DeliveryFilter& filter);
// It is to be sent again, now and with a day of patience; nothing happens where there is none.
Result<void> deliver_again(Connection& connection, int64_t seq, Millis now);

// How long to wait after so many attempts failed (1 or more): 5 s, 10 s, ... 1 h, and up to a
// quarter more, by `unit` (0 to 1), so that what failed together is not repeated together.
Millis retry_delay(int attempts, double unit);

// Safe from several threads, as long as no two deliver for one webhook. What is given must outlive
// it.
class Deliveries {
 public:
  Deliveries(Database& database, WebhookSender& sender, const WallClock& clock, Log& log);

  struct Next {
    std::optional<Millis> due;  // when to call again; empty: when something was added
    bool pause = false;         // not before, even if something is added
  };
  // Sends what is due, until `stop`. Ends early where the receiver does not answer, or has
  // enough (429, 502 to 504): each of what is left would be sent in vain. Errors: those of
  // Database, when what was sent may not be written down; call again after a pause, or the receiver
  // hears nothing but doubles.
  Result<Next> deliver_due(const Webhook& webhook, const std::stop_token& stop = {});

  // Ends what waits for webhooks that are no longer configured; for the start. The number of rows.
  Result<int64_t> give_up_removed(std::span<const Webhook> webhooks);

 private:
  struct Row;
  struct Outcome;
  Result<std::vector<Row>> due_rows(const std::string& webhook, Millis now);
  Outcome attempt(const Webhook& webhook, const Row& row);
  Result<void> write_down(const Webhook& webhook, const Row& row, const Outcome& outcome);
  Result<std::optional<Millis>> next_due(const std::string& webhook);

  Database& database_;
  WebhookSender& sender_;
  const WallClock& clock_;
  Log& log_;
};

// A thread for each webhook, that ends with the object: within what the sender takes for the
// message that is under way.
class DeliveryThreads {
 public:
  DeliveryThreads(Deliveries& deliveries, const WallClock& clock, Log& log,
                  std::vector<Webhook> webhooks);
  ~DeliveryThreads();
  DeliveryThreads(const DeliveryThreads&) = delete;
  DeliveryThreads& operator=(const DeliveryThreads&) = delete;
  // Something was added and is on disk. Safe from several threads.
  void wake();

 private:
  void run(const Webhook& webhook, const std::stop_token& stop);
  // False: it is to end.
  bool wait(const Deliveries::Next& next, uint64_t woken);

  Deliveries& deliveries_;
  const WallClock& clock_;
  Log& log_;
  const std::vector<Webhook> webhooks_;
  Mutex mutex_;
  std::condition_variable_any changed_;
  uint64_t wakes_ GUARDED_BY(mutex_) = 0;
  bool ending_ GUARDED_BY(mutex_) = false;
  std::vector<std::jthread> threads_;
};

}  // namespace atelier::server
