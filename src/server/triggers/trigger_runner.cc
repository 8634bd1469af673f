// SPDX-License-Identifier: Apache-2.0
#include "server/triggers/trigger_runner.h"

#include <algorithm>

namespace atelier::server {
namespace {

constexpr Clock::Duration kFirstWait = std::chrono::seconds(1);
constexpr Clock::Duration kLongestWait = std::chrono::minutes(5);
// Whether the queue has room again costs one look into the database.
constexpr Clock::Duration kLongestWaitToStart = std::chrono::seconds(10);
constexpr int kMostDoublings = 10;

}  // namespace

void TriggerRunner::failed(Attempts& attempts, const Error& error) {
  const int doublings = std::min(attempts.failures, kMostDoublings);
  const Clock::Duration most = &attempts == &starting_ ? kLongestWaitToStart : kLongestWait;
  const Clock::Duration wait = std::min(kFirstWait * (1 << doublings), most);
  ++attempts.failures;
  attempts.next = clock_.now() + std::max<Clock::Duration>(wait, error.retry_after);
  attempts.error = error.message;
  attempts.error_at = wall_clock_.now();
}

void TriggerRunner::worked(Attempts& attempts, Clock::Duration next) {
  attempts = Attempts{};
  attempts.next = next;
}

Result<ObjectStore*> TriggerRunner::store() {
  MutexLock lock(mutex_);
  if (!store_) store_ = TRY(open_(trigger_.location));
  return store_.get();
}

void TriggerRunner::step(const std::function<bool()>& go_on) {
  if (trigger_.kind == Trigger::Kind::watch) watch();
  if (const Result<void> found = find(news_, go_on); found.ok()) {
    news_ = FolderNews{};
  } else if (found.error().code != Code::cancelled) {
    // The next scan sees whatever this look did not.
    failed(scanning_, found.error());
    news_ = FolderNews{};
  }
  start(go_on);
  show_state();
}

// Without a watch, files are found by listing: that it cannot be had is said and no more.
void TriggerRunner::watch() {
  if (!watch_) {
    if (clock_.now() < watching_.next) return;
    auto opened = FolderWatch::open(trigger_.location.path);
    if (!opened.ok()) return failed(watching_, opened.error());
    watch_ = std::move(opened).value();
    worked(watching_, TriggerRunner::kNever);
    news_.lost = true;  // whatever came before
  }
  Result<FolderNews> news = watch_->read();
  if (!news.ok()) {
    watch_.reset();
    return failed(watching_, news.error());
  }
  news_.whole.merge(news->whole);
  news_.maybe.merge(news->maybe);
  news_.lost = news_.lost || news->lost;
}

Result<void> TriggerRunner::find(const FolderNews& news, const std::function<bool()>& go_on) {
  if (!scan_) {
    const bool listens = trigger_.kind == Trigger::Kind::event && trigger_.every.count() == 0;
    if (listens) scanning_.next = kNever;
    if (clock_.now() < scanning_.next) return {};
    ObjectStore* store = TRY(this->store());
    scan_ = std::make_unique<TriggerScan>(trigger_, *store, receipts_, clock_);
  }
  TRY(look(news));
  // A place that failed a moment ago is not asked again for every file that the kernel names.
  const bool lost = news.lost && scanning_.failures == 0;
  if (lost || clock_.now() >= scanning_.next) return scan(go_on);
  const auto settled = scan_->next_settled();
  if (!settled || clock_.now() < *settled || scanning_.failures > 0) return {};
  // One list instead of many single questions, where each takes its time.
  if (!trigger_.location.is_file()) return scan(go_on);
  count(TRY(scan_->look_at_settled()));
  return {};
}

// First what is known to be whole: a list would let it settle.
Result<void> TriggerRunner::look(const FolderNews& news) {
  if (!news.whole.empty()) count(TRY(scan_->look(news.whole, true)));
  if (!news.maybe.empty()) count(TRY(scan_->look(news.maybe, false)));
  return {};
}

Result<void> TriggerRunner::scan(const std::function<bool()>& go_on) {
  if (watch_) watch_->refresh();
  count(TRY(scan_->scan(go_on)));
  if (!go_on()) return Error{Code::cancelled, "The scan was ended."};
  last_scan_ = wall_clock_.now();
  worked(scanning_, trigger_.every.count() == 0 ? kNever : clock_.now() + trigger_.every);
  return {};
}

void TriggerRunner::count(int64_t recorded) {
  if (recorded > 0) start_wanted_ = true;
}

void TriggerRunner::start(const std::function<bool()>& go_on) {
  if (!go_on()) return;
  const bool again = starting_.failures > 0 && clock_.now() >= starting_.next;
  // While the queue is full, what is new waits with the others.
  const bool wanted = starting_.failures == 0 && start_wanted_.exchange(false);
  if (!again && !wanted) return;
  const Result<Started> started = receipts_.start_due(trigger_, go_on);
  if (!started.ok()) return failed(starting_, started.error());
  if (started->submitted > 0) starting_.failures = 0;
  if (started->waits) return failed(starting_, *started->waits);
  worked(starting_, kNever);
}

Clock::Duration TriggerRunner::next_due() const {
  Clock::Duration due = scanning_.next;
  if (trigger_.kind == Trigger::Kind::watch && !watch_) due = std::min(due, watching_.next);
  if (starting_.failures > 0) due = std::min(due, starting_.next);
  if (starting_.failures == 0 && start_wanted_) due = clock_.now();
  if (scan_ && scanning_.failures == 0) due = std::min(due, scan_->next_settled().value_or(kNever));
  return due;
}

void TriggerRunner::show_state() {
  TriggerState state;
  state.last_scan = last_scan_;
  for (const Attempts* attempts : {&scanning_, &watching_, &starting_}) {
    if (attempts->error.empty() || !state.last_error.empty()) continue;
    state.last_error = attempts->error;
    state.last_error_at = attempts->error_at;
  }
  if (state.last_error.empty() && watch_ && watch_->trouble()) {
    state.last_error = *watch_->trouble();
    state.last_error_at = last_scan_;
  }
  if (scan_) {
    state.listed = scan_->listed();
    state.settling = static_cast<int64_t>(scan_->settling());
  }
  MutexLock lock(mutex_);
  state_ = std::move(state);
}

TriggerState TriggerRunner::state() const {
  MutexLock lock(mutex_);
  return state_;
}

}  // namespace atelier::server
