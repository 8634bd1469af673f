// SPDX-License-Identifier: Apache-2.0
#include "server/runs.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "server/outputs.h"

namespace atelier::server {
namespace {

using nlohmann::json;

constexpr std::array<std::pair<RunState, std::string_view>, 6> kStates = {{
    {RunState::queued, "queued"},
    {RunState::running, "running"},
    {RunState::finished, "finished"},
    {RunState::failed, "failed"},
    {RunState::cancelled, "cancelled"},
    {RunState::set_aside, "set_aside"},
}};

// In the order of read_row().
constexpr std::string_view kColumns =
    "seq, id, pipeline, version, sha256, parameters, labels, owner, pool, priority, state, reason, "
    "exit_code, attempts, step, cancel_asked, not_before, created_at, started_at, ended_at, input, "
    "output, bytes, replace_output, run_urls, rerun_of, trigger_name, max_cost, max_seconds, "
    "busy_ms, cost, frames, prefixes, troubles, replace_own, repeats";
constexpr int kColumnCount = 36;

std::optional<int64_t> optional_integer(const Rows& rows, int column) {
  if (rows.is_null(column)) return std::nullopt;
  return rows.integer(column);
}
std::optional<double> optional_real(const Rows& rows, int column) {
  if (rows.is_null(column)) return std::nullopt;
  return rows.real(column);
}
std::optional<std::string> optional_text(const Rows& rows, int column) {
  if (rows.is_null(column)) return std::nullopt;
  return rows.text(column);
}

template <class T>
Value value_of(const std::optional<T>& value) {
  if (value) return *value;
  return nullptr;
}

std::vector<std::string> texts_of(const std::string& text) {
  std::vector<std::string> found;
  for (const json& value : json::parse(text, nullptr, false)) {
    if (value.is_string()) found.push_back(value.get<std::string>());
  }
  return found;
}

RunRow read_row(const Rows& rows) {
  RunRow run;
  int c = 0;
  run.seq = rows.integer(c++);
  run.id = rows.text(c++);
  run.pipeline = rows.text(c++);
  run.version = rows.integer(c++);
  run.sha256 = rows.text(c++);
  run.parameters = rows.text(c++);
  run.labels = rows.text(c++);
  run.owner = rows.text(c++);
  run.pool = rows.text(c++);
  run.priority = rows.integer(c++);
  run.state = run_state_from(rows.text(c++)).value_or(RunState::failed);
  run.reason = rows.text(c++);
  run.exit_code = optional_integer(rows, c++);
  run.attempts = rows.integer(c++);
  run.step = rows.integer(c++);
  run.cancel_asked = rows.integer(c++) != 0;
  run.not_before = rows.integer(c++);
  run.created_at = rows.integer(c++);
  run.started_at = optional_integer(rows, c++);
  run.ended_at = optional_integer(rows, c++);
  run.input = rows.text(c++);
  run.output = rows.text(c++);
  run.bytes = rows.integer(c++);
  run.replace_output = rows.integer(c++) != 0;
  run.run_urls = texts_of(rows.text(c++));
  run.rerun_of = optional_text(rows, c++);
  run.trigger = optional_text(rows, c++);
  run.max_cost = optional_real(rows, c++);
  run.max_seconds = optional_real(rows, c++);
  run.busy_ms = rows.integer(c++);
  run.cost = rows.real(c++);
  run.frames = rows.integer(c++);
  run.prefixes = texts_of(rows.text(c++));
  run.troubles = rows.integer(c++);
  run.replace_own = rows.integer(c++) != 0;
  run.repeats = optional_text(rows, c);
  return run;
}

Result<void> check_room(Connection& connection, const NewRun& run, const QueueLimits& limits) {
  const auto full = [](std::string text) {
    Error error{Code::unavailable, std::move(text), std::chrono::seconds(10)};
    return error;
  };
  // To wait for room would be in vain.
  if (run.bytes > limits.max_queued_bytes_of_owner) {
    return make_error(Code::invalid_argument,
                      "The input has {} bytes; '{}' may have {} in the queue altogether.",
                      run.bytes, run.owner, limits.max_queued_bytes_of_owner);
  }
  Rows rows = TRY(connection.query(
      "SELECT owner, sum(runs), sum(bytes) FROM run_counts WHERE state = 'queued' GROUP BY owner"));
  int64_t all = 0;
  while (TRY(rows.next())) {
    all += rows.integer(1);
    if (rows.text(0) != run.owner) continue;
    if (rows.integer(1) >= limits.max_queued_of_owner) {
      return full(
          fmt::format("'{}' has {} runs in the queue, which is the most that it may have; "
                      "submit again when some are done.",
                      run.owner, rows.integer(1)));
    }
    if (run.bytes > limits.max_queued_bytes_of_owner - rows.integer(2)) {
      return full(
          fmt::format("'{}' has {} bytes of input in the queue, and {} more than it may; "
                      "submit again when some are done.",
                      run.owner, rows.integer(2), run.bytes));
    }
  }
  if (all < limits.max_queued) return {};
  return full(fmt::format("The queue is full ({} runs); submit again when some are done.", all));
}

// What an attempt does to the number of troubles: 1 adds, 0 ends the row of them, 2 leaves it.
int64_t trouble_of(const AttemptEnd& end) {
  if (end.was_trouble) return 1;
  return end.counts || end.exit_code == 0 ? 0 : 2;
}

// The bound that nothing is left of; null where something is.
const char* spent_bound(const RunRow& run) {
  if (run.max_cost && run.cost >= *run.max_cost) return "max_cost";
  if (run.max_seconds && static_cast<double>(run.busy_ms) / 1000 >= *run.max_seconds) {
    return "max_seconds";
  }
  return nullptr;
}

std::string detail_of(const std::string& reason) {
  return reason.empty()
             ? "{}"
             : json{{"reason", reason}}.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace

std::string_view to_string(RunState state) {
  for (const auto& [value, text] : kStates) {
    if (value == state) return text;
  }
  return "failed";
}

std::optional<RunState> run_state_from(std::string_view text) {
  for (const auto& [value, name] : kStates) {
    if (name == text) return value;
  }
  return std::nullopt;
}

bool is_over(RunState state) { return state != RunState::queued && state != RunState::running; }

Result<std::string> make_run_name(Millis now) {
  constexpr std::string_view kDigits = "0123456789abcdefghjkmnpqrstvwxyz";  // without i, l, o, u
  // One call for all; a std::random_device costs a tenth of what a submission takes of the writer.
  std::array<unsigned char, 16> random{};
  if (::getentropy(random.data(), random.size()) != 0) {
    return Error{Code::internal, "The kernel gives no random numbers; report it."};
  }
  std::string name = "run-";
  for (int shift = 45; shift >= 0; shift -= 5) name += kDigits[(now >> shift) & 31];
  for (const unsigned char bits : random) name += kDigits[bits & 31U];
  return name;
}

Result<std::string> add_run(Connection& connection, const NewRun& run, const QueueLimits& limits,
                            Millis now) {
  TRY(check_room(connection, run, limits));
  const std::string id = TRY(make_run_name(now));
  TRY(connection.run(
      "INSERT INTO runs (id, pipeline, version, sha256, parameters, labels, owner, pool, priority, "
      "state, created_at, input, output, bytes, replace_output, rerun_of, trigger_name, max_cost, "
      "max_seconds, prefixes, replace_own, repeats) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      {id,
       run.pipeline,
       run.version,
       run.sha256,
       run.parameters,
       run.labels,
       run.owner,
       run.pool,
       run.priority,
       now,
       run.input,
       run.output,
       run.bytes,
       int64_t{run.replace_output ? 1 : 0},
       value_of(run.rerun_of),
       value_of(run.trigger),
       value_of(run.max_cost),
       value_of(run.max_seconds),
       json(run.prefixes).dump(),
       int64_t{run.replace_own ? 1 : 0},
       value_of(run.repeats)}));
  TRY(add_event(connection, id, "queued", "{}", now));
  return id;
}

Result<Added> add_run_once(Connection& connection, const NewRun& run, const std::string& key,
                           const std::string& request_sha256, const QueueLimits& limits,
                           Millis now) {
  {
    Rows rows = TRY(connection.query(
        "SELECT run_id, request_sha256 FROM idempotency WHERE owner = ? AND key = ?",
        {run.owner, key}));
    if (TRY(rows.next())) {
      if (rows.text(1) != request_sha256) {
        return make_error(Code::conflict,
                          "The Idempotency-Key '{}' was used for another request; a new request "
                          "needs a new key.",
                          key);
      }
      return Added{rows.text(0), false};
    }
  }
  Added added{TRY(add_run(connection, run, limits, now)), true};
  TRY(
      connection.run("INSERT INTO idempotency (owner, key, request_sha256, run_id, created_at) "
                     "VALUES (?, ?, ?, ?, ?)",
                     {run.owner, key, request_sha256, added.id, now}));
  return added;
}

Result<std::optional<RunRow>> find_run(Connection& connection, const std::string& id) {
  Rows rows = TRY(
      connection.query(fmt::format("SELECT {}, report FROM runs WHERE id = ?", kColumns), {id}));
  if (!TRY(rows.next())) return std::optional<RunRow>();
  RunRow run = read_row(rows);
  run.report = optional_text(rows, kColumnCount);
  return std::optional<RunRow>(std::move(run));
}

Result<std::vector<RunRow>> list_runs(Connection& connection, const RunFilter& filter) {
  std::string sql = fmt::format("SELECT {} FROM runs WHERE seq < ?", kColumns);
  std::vector<Value> values = {filter.before};
  const auto where = [&](const char* condition, Value value) {
    sql += condition;
    values.push_back(std::move(value));
  };
  if (filter.state) where(" AND state = ?", std::string(to_string(*filter.state)));
  if (!filter.pipeline.empty()) where(" AND pipeline = ?", filter.pipeline);
  if (!filter.owner.empty()) where(" AND owner = ?", filter.owner);
  if (!filter.input.empty()) where(" AND input = ?", filter.input);
  if (!filter.output.empty()) where(" AND output = ?", filter.output);
  if (!filter.trigger.empty()) where(" AND trigger_name = ?", filter.trigger);
  if (!filter.label_name.empty()) {
    sql += " AND EXISTS (SELECT 1 FROM json_each(labels) WHERE key = ? AND value = ?)";
    values.emplace_back(filter.label_name);
    values.emplace_back(filter.label_value);
  }
  if (filter.since) where(" AND created_at >= ?", *filter.since);
  if (filter.until) where(" AND created_at < ?", *filter.until);
  if (!filter.pipelines.empty()) {
    sql += " AND pipeline IN (SELECT value FROM json_each(?))";
    values.emplace_back(json(filter.pipelines).dump());
  }
  sql += " ORDER BY seq DESC LIMIT ?";
  values.emplace_back(filter.limit);
  Rows rows = TRY(connection.query(sql, values));
  std::vector<RunRow> found;
  while (TRY(rows.next())) found.push_back(read_row(rows));
  return found;
}

Result<bool> ask_to_cancel(Connection& connection, const std::string& id, Millis now) {
  const int64_t queued = TRY(connection.run(
      "UPDATE runs SET state = 'cancelled', reason = 'Cancelled before it began.', ended_at = ? "
      "WHERE id = ? AND state = 'queued'",
      {now, id}));
  if (queued > 0) {
    TRY(forget_outputs(connection, id));
    TRY(add_event(connection, id, "cancelled", "{}", now));
    return true;
  }
  const int64_t running = TRY(connection.run(
      "UPDATE runs SET cancel_asked = 1 WHERE id = ? AND state = 'running' AND cancel_asked = 0",
      {id}));
  if (running > 0) TRY(add_event(connection, id, "cancel_asked", "{}", now));
  return running > 0;
}

Result<bool> retry_run(Connection& connection, const std::string& id, const QueueLimits& limits,
                       Millis now) {
  const auto run = TRY(find_run(connection, id));
  if (!run || !is_over(run->state) || run->state == RunState::finished) return false;
  if (const char* spent = spent_bound(*run)) {
    return make_error(Code::conflict,
                      "'{}' has used up its {}, which a retry does not give it again; `atelier "
                      "rerun` makes a new run of it.",
                      id, spent);
  }
  TRY(check_room(connection, *run, limits));
  TRY(connection.run(
      "UPDATE runs SET state = 'queued', reason = '', exit_code = NULL, attempts = 0, troubles = "
      "0, cancel_asked = 0, not_before = 0, ended_at = NULL, step = 0, run_urls = '[]' WHERE id = "
      "?",
      {id}));
  TRY(add_event(connection, id, "retried", "{}", now));
  return true;
}

Result<void> note_bytes(Connection& connection, const std::string& id, int64_t bytes) {
  TRY(connection.run("UPDATE runs SET bytes = ? WHERE id = ?", {bytes, id}));
  return {};
}

Result<bool> delete_run(Connection& connection, const std::string& id) {
  const int64_t changed = TRY(
      connection.run("DELETE FROM runs WHERE id = ? AND state NOT IN ('queued', 'running')", {id}));
  if (changed == 0) return false;
  TRY(connection.run("DELETE FROM events WHERE run_id = ?", {id}));
  TRY(connection.run("DELETE FROM idempotency WHERE run_id = ?", {id}));
  return true;
}

Result<bool> begin_attempt(Connection& connection, const std::string& id, Millis now) {
  const int64_t changed =
      TRY(connection.run("UPDATE runs SET state = 'running', attempts = attempts + 1, reason = '', "
                         "started_at = coalesce(started_at, ?) WHERE id = ? AND state = 'queued'",
                         {now, id}));
  if (changed > 0) TRY(add_event(connection, id, "running", "{}", now));
  return changed > 0;
}

Result<bool> is_cancelled(Connection& connection, const std::string& id) {
  return TRY(connection.integer("SELECT cancel_asked FROM runs WHERE id = ? AND state = 'running'",
                                {id})) == 1;
}

Result<bool> end_attempt(Connection& connection, const std::string& id, const AttemptEnd& end,
                         Millis now) {
  std::optional<Millis> ended;
  if (is_over(end.state)) ended = now;
  const int64_t changed = TRY(connection.run(
      "UPDATE runs SET state = ?, reason = ?, exit_code = ?, step = ?, not_before = ?, "
      "ended_at = ?, attempts = attempts - ?, troubles = CASE ? WHEN 0 THEN 0 WHEN 1 THEN troubles "
      "+ 1 ELSE troubles END, busy_ms = busy_ms + ?, cost = cost + ?, "
      "frames = frames + ?, report = coalesce(?, report) WHERE id = ? AND state = 'running'",
      {std::string(to_string(end.state)), end.reason, value_of(end.exit_code), end.step,
       end.not_before, value_of(ended), int64_t{end.counts ? 0 : 1}, trouble_of(end), end.busy_ms,
       end.cost, end.frames, value_of(end.report), id}));
  if (changed > 0) {
    if (end.state == RunState::finished || end.may_have_written) {
      TRY(keep_outputs(connection, id, end.state == RunState::finished));
    }
    if (is_over(end.state)) TRY(forget_outputs(connection, id));
    TRY(add_event(connection, id, to_string(end.state), detail_of(end.reason), now));
  }
  return changed > 0;
}

Result<void> note_run_url(Connection& connection, const std::string& id, int64_t step,
                          const std::string& url) {
  TRY(
      connection.run("UPDATE runs SET run_urls = json_set(run_urls, '$[' || ? || ']', ?) "
                     "WHERE id = ?",
                     {step, url, id}));
  return {};
}

Result<int64_t> add_event(Connection& connection, const std::string& run_id, std::string_view kind,
                          const std::string& detail, Millis now) {
  TRY(connection.run("INSERT INTO events (run_id, at, kind, detail) VALUES (?, ?, ?, ?)",
                     {run_id, now, std::string(kind), detail}));
  return connection.last_row();
}

Result<std::vector<EventRow>> list_events(Connection& connection, const std::string& run_id,
                                          int64_t after, int64_t limit) {
  const bool all = run_id.empty();
  std::vector<Value> values = {after};
  if (!all) values.emplace_back(run_id);
  values.emplace_back(limit);
  Rows rows = TRY(connection.query(
      fmt::format("SELECT seq, run_id, at, kind, detail FROM events WHERE seq > ?{} "
                  "ORDER BY seq LIMIT ?",
                  all ? "" : " AND run_id = ?"),
      values));
  std::vector<EventRow> found;
  while (TRY(rows.next())) {
    found.push_back({rows.integer(0), rows.text(1), rows.integer(2), rows.text(3), rows.text(4)});
  }
  return found;
}

}  // namespace atelier::server
