// SPDX-License-Identifier: Apache-2.0
#include "server/webhooks.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/hash.h"
#include "server/call.h"
#include "server/redact.h"

namespace atelier::server {
namespace {

using nlohmann::json;

constexpr Millis kFirstDelay = 5'000, kLongestDelay = 3'600'000, kLongest = 24 * kLongestDelay;
constexpr Millis kPause = 5'000, kLongestWait = 60'000;
// The longest wait that this code writes down, jitter and Retry-After included. More means that the
// machine's clock was set back.
constexpr Millis kFarthest = 2 * kLongestDelay;
constexpr int64_t kBatch = 100;
constexpr size_t kMostError = 500, kMostDetail = size_t{16} << 10;

// RFC 3339, as "2026-11-30T08:49:37.123Z".
std::string time_text(Millis at) {
  const time_t seconds = static_cast<time_t>(at / 1000);
  tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, at % 1000);
}

Result<std::string> body_of(const RunEvent& event) {
  auto detail = redacted_json(event.detail);
  if (!detail) {
    return make_error(Code::internal, "The detail of event {} is no JSON; report it.", event.seq);
  }
  if (detail->size() > kMostDetail) detail = std::string("{}");
  const json body = {{"type", "run." + event.kind},
                     {"timestamp", time_text(event.at)},
                     {"data",
                      {{"run", event.run_id},
                       {"event", event.seq},
                       {"detail", json::parse(*detail, nullptr, false)}}}};
  return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

// The same for the same event, another one for every other, also if a database was restored from
// a backup and counts its events anew.
std::string message_id(const std::string& webhook, int64_t event, const std::string& body) {
  const std::string whole = fmt::format("{}\n{}\n{}", webhook, event, body);
  return "msg_" + sha256_hex(as_bytes(whole)).substr(0, 32);
}

// In [0, 1), by chance and yet the same for the same attempt.
double unit_of(const std::string& id, int attempts) {
  const std::string hash = sha256_hex(as_bytes(fmt::format("{} {}", id, attempts)));
  uint32_t bits = 0;
  std::from_chars(hash.data(), hash.data() + 8, bits, 16);
  return bits * 0x1p-32;
}

std::string cut(std::string text) {
  if (text.size() > kMostError) text.resize(kMostError);
  return text;
}

}  // namespace

struct Deliveries::Row {
  int64_t seq = 0;
  std::string run_id;
  std::string id, body;
  int attempts = 0;  // before this one
  Millis created_at = 0;
};

struct Deliveries::Outcome {
  bool delivered = false, for_good = false;
  bool go_on = false;  // the receiver takes others
  std::string error;
  Millis retry_after = 0;
};

Result<void> queue_deliveries(Connection& connection, std::span<const Webhook> webhooks,
                              const RunEvent& event, const WallClock& clock) {
  const auto wants = [&](const Webhook& webhook) {
    return std::ranges::find(webhook.kinds, event.kind) != webhook.kinds.end();
  };
  if (std::ranges::none_of(webhooks, wants)) return {};
  const std::string body = TRY(body_of(event));
  const Millis now = clock.now();
  for (const Webhook& webhook : webhooks) {
    if (!wants(webhook)) continue;
    TRY(
        connection.run("INSERT INTO deliveries (webhook, run_id, event_seq, body, state, next_at, "
                       "created_at) VALUES (?, ?, ?, ?, 'waiting', ?, ?) "
                       "ON CONFLICT (webhook, event_seq) DO NOTHING",
                       {webhook.name, event.run_id, event.seq, body, now, now}));
  }
  return {};
}

Result<std::vector<DeliveryRow>> list_deliveries(Connection& connection,
                                                 const DeliveryFilter& filter) {
  std::string sql =
      "SELECT seq, webhook, run_id, event_seq, state, attempts, last_error, next_at, created_at "
      "FROM deliveries WHERE seq < ?";
  std::vector<Value> values = {filter.before};
  const auto where = [&](const char* condition, Value value) {
    sql += condition;
    values.push_back(std::move(value));
  };
  if (filter.seq) where(" AND seq = ?", *filter.seq);
  if (!filter.webhook.empty()) where(" AND webhook = ?", filter.webhook);
  if (!filter.state.empty()) where(" AND state = ?", filter.state);
  if (!filter.run_id.empty()) where(" AND run_id = ?", filter.run_id);
  sql += " ORDER BY seq DESC LIMIT ?";
  values.emplace_back(filter.limit);
  Rows rows = TRY(connection.query(sql, values));
  std::vector<DeliveryRow> found;
  while (TRY(rows.next())) {
    found.push_back({rows.integer(0), rows.text(1), rows.text(2), rows.integer(3), rows.text(4),
                     rows.integer(5), rows.text(6), rows.integer(7), rows.integer(8)});
  }
  return found;
}

Result<void> deliver_again(Connection& connection, int64_t seq, Millis now) {
  TRY(
      connection.run("UPDATE deliveries SET state = 'waiting', attempts = 0, last_error = '', "
                     "next_at = ?, created_at = ? WHERE seq = ?",
                     {now, now, seq}));
  return {};
}

Millis retry_delay(int attempts, double unit) {
  const int doublings = std::clamp(attempts - 1, 0, 20);
  const Millis delay = std::min(kFirstDelay << doublings, kLongestDelay);
  return delay + std::llround(0.25 * static_cast<double>(delay) * std::clamp(unit, 0.0, 1.0));
}

Deliveries::Deliveries(Database& database, WebhookSender& sender, const WallClock& clock, Log& log)
    : database_(database), sender_(sender), clock_(clock), log_(log) {}

Result<std::vector<Deliveries::Row>> Deliveries::due_rows(const std::string& webhook, Millis now) {
  std::vector<Row> due;
  TRY(database_.read([&](Connection& connection) -> Result<void> {
    due.clear();
    Rows rows = TRY(connection.query(
        "SELECT seq, run_id, event_seq, body, attempts, created_at FROM deliveries "
        "WHERE webhook = ? AND state = 'waiting' AND (next_at <= ? OR next_at > ?) "
        "ORDER BY next_at, seq LIMIT ?",
        {webhook, now, now + kFarthest, kBatch}));
    while (TRY(rows.next())) {
      Row row{rows.integer(0), rows.text(1), "", rows.text(3), 0, rows.integer(5)};
      row.attempts = static_cast<int>(rows.integer(4));
      row.id = message_id(webhook, rows.integer(2), row.body);
      due.push_back(std::move(row));
    }
    return {};
  }));
  return due;
}

Deliveries::Outcome Deliveries::attempt(const Webhook& webhook, const Row& row) {
  const WebhookMessage message{row.id, clock_.now() / 1000, row.body};
  const auto answer = sender_.send(webhook, message, row.attempts);
  Outcome outcome;
  if (!answer) {
    outcome.error = cut(redacted(answer.error().message));
    return outcome;
  }
  outcome.delivered = answer->status >= 200 && answer->status < 300;
  outcome.for_good = answer->status == 410;
  const bool overloaded = answer->status == 429 || (answer->status > 501 && answer->status < 505);
  outcome.go_on = !overloaded;
  outcome.retry_after = std::clamp<Millis>(answer->retry_after.count(), 0, kLongestDelay);
  if (!outcome.delivered) {
    outcome.error =
        fmt::format("The receiver answered {} {}.", answer->status, phrase_of(answer->status));
  }
  return outcome;
}

// Nothing, if it was told to be delivered again meanwhile.
Result<void> Deliveries::write_down(const Webhook& webhook, const Row& row,
                                    const Outcome& outcome) {
  const Millis now = clock_.now(), end = row.created_at + kLongest;
  const int attempts = row.attempts + 1;
  const bool given_up = !outcome.delivered && (outcome.for_good || now >= end);
  const std::string state = outcome.delivered ? "delivered" : given_up ? "given_up" : "waiting";
  const Millis delay =
      std::max(retry_delay(attempts, unit_of(row.id, attempts)), outcome.retry_after);
  // The last attempt is made when the day is over, not an hour before.
  const Millis next_at = outcome.delivered || given_up ? now : std::min(now + delay, end);
  int64_t changed = 0;
  TRY(database_.write([&](Connection& connection) -> Result<void> {
    changed = TRY(connection.run(
        "UPDATE deliveries SET state = ?, attempts = ?, next_at = ?, last_error = ? "
        "WHERE seq = ? AND state = 'waiting' AND created_at = ?",
        {state, int64_t{attempts}, next_at, outcome.error, row.seq, row.created_at}));
    return {};
  }));
  if (given_up && changed > 0) {
    log_.line(LogLevel::warning,
              fmt::format("The webhook '{}' was not told of run {}, after {} attempts: {}",
                          webhook.name, row.run_id, attempts, outcome.error));
  }
  return {};
}

Result<std::optional<Millis>> Deliveries::next_due(const std::string& webhook) {
  std::optional<Millis> due;
  TRY(database_.read([&](Connection& connection) -> Result<void> {
    due =
        TRY(connection.integer("SELECT next_at FROM deliveries WHERE webhook = ? AND "
                               "state = 'waiting' ORDER BY next_at LIMIT 1",
                               {webhook}));
    return {};
  }));
  return due;
}

Result<Deliveries::Next> Deliveries::deliver_due(const Webhook& webhook,
                                                 const std::stop_token& stop) {
  Next next;
  const auto rows = TRY(due_rows(webhook.name, clock_.now()));
  for (const Row& row : rows) {
    if (stop.stop_requested()) break;
    const Outcome outcome = attempt(webhook, row);
    TRY(write_down(webhook, row, outcome));
    next.pause = !outcome.go_on;
    if (next.pause) break;
  }
  next.due = TRY(next_due(webhook.name));
  // What was added meanwhile is due, too, but not yet.
  if (next.pause) next.due = clock_.now() + kPause;
  return next;
}

Result<int64_t> Deliveries::give_up_removed(std::span<const Webhook> webhooks) {
  json names = json::array();
  for (const Webhook& webhook : webhooks) names.push_back(webhook.name);
  const std::string list = names.dump(-1, ' ', false, json::error_handler_t::replace);
  int64_t count = 0;
  TRY(database_.write([&](Connection& connection) -> Result<void> {
    count = TRY(connection.run(
        "UPDATE deliveries SET state = 'given_up', last_error = 'There is no such webhook any "
        "more.' WHERE state = 'waiting' AND webhook NOT IN (SELECT value FROM json_each(?))",
        {list}));
    return {};
  }));
  return count;
}

DeliveryThreads::DeliveryThreads(Deliveries& deliveries, const WallClock& clock, Log& log,
                                 std::vector<Webhook> webhooks)
    : deliveries_(deliveries), clock_(clock), log_(log), webhooks_(std::move(webhooks)) {
  for (const Webhook& webhook : webhooks_) {
    threads_.emplace_back([this, &webhook](const std::stop_token& stop) { run(webhook, stop); });
  }
}

DeliveryThreads::~DeliveryThreads() {
  for (std::jthread& thread : threads_) thread.request_stop();
  {
    MutexLock lock(mutex_);
    ending_ = true;
    changed_.notify_all();
  }
  for (std::jthread& thread : threads_) thread.join();
}

void DeliveryThreads::wake() {
  MutexLock lock(mutex_);
  ++wakes_;
  changed_.notify_all();
}

void DeliveryThreads::run(const Webhook& webhook, const std::stop_token& stop) {
  for (;;) {
    uint64_t woken = 0;
    {
      MutexLock lock(mutex_);
      woken = wakes_;
    }
    const auto next = deliveries_.deliver_due(webhook, stop);
    if (!next) {
      log_.line(LogLevel::warning, fmt::format("The webhook '{}' has to wait: {}", webhook.name,
                                               next.error().message));
    }
    const Deliveries::Next later{clock_.now() + kPause, true};
    if (!wait(next ? *next : later, woken)) return;
  }
}

bool DeliveryThreads::wait(const Deliveries::Next& next, uint64_t woken) {
  // By the machine's own clock: where the time of day jumps, the wait is too short, or a minute.
  const Millis left = next.due ? *next.due - clock_.now() : kLongestWait;
  const auto until = std::chrono::steady_clock::now() +
                     std::chrono::milliseconds(std::clamp<Millis>(left, 0, kLongestWait));
  MutexLock lock(mutex_);
  while (!ending_ && (next.pause || wakes_ == woken) && std::chrono::steady_clock::now() < until) {
    changed_.wait_until(mutex_, until);
  }
  return !ending_;
}

}  // namespace atelier::server
