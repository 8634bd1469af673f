// SPDX-License-Identifier: Apache-2.0
// The table of runs: what was submitted, what goes on, what was. Every function works inside the
// caller's transaction (database.h) and adds an event for what it changed, so that a stream or a
// webhook tells exactly what the table says.
//
//   queued -> running -> finished | failed | cancelled | set_aside;   running -> queued (another
//   attempt);   failed, cancelled, set_aside -> queued (retry)
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/database.h"
#include "server/wall_clock.h"

namespace atelier::server {

enum class RunState { queued, running, finished, failed, cancelled, set_aside };
std::string_view to_string(RunState state);
std::optional<RunState> run_state_from(std::string_view text);
bool is_over(RunState state);

// A run that was checked and may go into the queue.
struct NewRun {
  std::string pipeline;
  int64_t version = 0;
  std::string sha256;      // of the pipeline's version
  std::string parameters;  // JSON, complete
  std::string labels = "{}";
  std::string owner;
  std::string pool;
  int64_t priority = 0;  // higher goes first
  std::string input;     // URLs
  std::string output;
  int64_t bytes = 0;            // of the input, where known
  bool replace_output = false;  // what is at the output already, whatever it is
  bool replace_own = false;     // the same, if an earlier run made it from this input
  std::optional<std::string> rerun_of;
  // The name of the run folder of that one's first step, which has a hash of all that is read: one
  // that would have another is not what was to be repeated.
  std::optional<std::string> repeats;
  std::optional<std::string> trigger;
  std::optional<double> max_cost;     // in the unit of the pool's price
  std::optional<double> max_seconds;  // of working, all attempts together
  std::vector<std::string> prefixes;  // of who asked (Principal): places are checked at each start
};

struct RunRow : NewRun {
  int64_t seq = 0;
  std::string id;
  RunState state = RunState::queued;
  std::string reason;  // a sentence: why it failed, waits or was set aside
  std::optional<int64_t> exit_code;
  int64_t attempts = 0;  // begun
  int64_t troubles = 0;  // attempts in a row that ended by no fault of the run's
  int64_t step = 0;      // of the pipeline's scoring steps, that is next or goes on
  bool cancel_asked = false;
  Millis not_before = 0;
  Millis created_at = 0;
  std::optional<Millis> started_at;  // first
  std::optional<Millis> ended_at;
  std::vector<std::string> run_urls;  // run folders of the scoring steps that began, by step
  int64_t busy_ms = 0;
  double cost = 0;
  int64_t frames = 0;
  std::optional<std::string> report;  // JSON
};

struct QueueLimits {
  int64_t max_queued = 10000;
  int64_t max_queued_of_owner = 10000;
  int64_t max_queued_bytes_of_owner = INT64_MAX;
};

// A name for a run: 80 random bits and the time before them, so that names sort by time. Errors:
// internal (the kernel gives no random numbers).
Result<std::string> make_run_name(Millis now);

// Adds it as queued. Errors: unavailable with retry_after (the queue, or its owner's share of it,
// is full); invalid_argument (it would not fit into an empty one).
Result<std::string> add_run(Connection& connection, const NewRun& run, const QueueLimits& limits,
                            Millis now);

// With a key that a client chose for this request: the run of the first one if there was one with
// the same content. Errors: conflict (the key stood for another content), those of add_run.
struct Added {
  std::string id;
  bool is_new = true;
};
Result<Added> add_run_once(Connection& connection, const NewRun& run, const std::string& key,
                           const std::string& request_sha256, const QueueLimits& limits,
                           Millis now);

Result<std::optional<RunRow>> find_run(Connection& connection, const std::string& id);

struct RunFilter {
  std::optional<RunState> state;
  std::string pipeline;                // empty: any
  std::vector<std::string> pipelines;  // that the caller may see; empty: all
  std::string owner, input, output, trigger;
  std::string label_name, label_value;  // the name empty: any labels
  std::optional<Millis> since, until;   // created in [since, until)
  int64_t before = INT64_MAX;           // seq: the newest come first
  int64_t limit = 50;
};
// At most `limit` runs; the next page is asked for by the last one's seq. Without reports.
Result<std::vector<RunRow>> list_runs(Connection& connection, const RunFilter& filter);

// All changes below give false where the run is not there or not in a state for it.
// A queued run is cancelled at once, a running one when its processes have left.
Result<bool> ask_to_cancel(Connection& connection, const std::string& id, Millis now);
// A run that is over and not finished goes into the queue again, with all its attempts, from its
// first step: what was scored is in the run folders. What it has spent of its bounds stays spent.
// Errors: those of add_run; conflict (nothing is left of max_cost or max_seconds).
Result<bool> retry_run(Connection& connection, const std::string& id, const QueueLimits& limits,
                       Millis now);
// How large its input is was found out.
Result<void> note_bytes(Connection& connection, const std::string& id, int64_t bytes);
// A run that is over: row, events and idempotency key.
Result<bool> delete_run(Connection& connection, const std::string& id);

// queued -> running; an attempt more. What it writes is for note_outputs() (outputs.h).
Result<bool> begin_attempt(Connection& connection, const std::string& id, Millis now);

// What an attempt came to.
struct AttemptEnd {
  RunState state = RunState::queued;  // queued: another attempt, or the next step
  std::string reason;
  std::optional<int64_t> exit_code;
  int64_t step = 0;
  Millis not_before = 0;          // with queued
  bool counts = true;             // false: nobody's fault (the service stopped)
  bool was_trouble = false;       // not the run's, but its surroundings' (a store, a disk)
  bool may_have_written = false;  // how far it came is not known
  int64_t busy_ms = 0;            // of this attempt
  double cost = 0;
  int64_t frames = 0;  // done by it
  std::optional<std::string> report;
};
// Whether a cancel was asked for of a run that goes on.
Result<bool> is_cancelled(Connection& connection, const std::string& id);
// running -> the end's state.
Result<bool> end_attempt(Connection& connection, const std::string& id, const AttemptEnd& end,
                         Millis now);

// A scoring step's run folder is known; it may be another one than at an earlier attempt.
Result<void> note_run_url(Connection& connection, const std::string& id, int64_t step,
                          const std::string& url);

struct EventRow {
  int64_t seq = 0;
  std::string run_id;
  Millis at = 0;
  std::string kind;    // the state it went to, or "retried", "cancel_asked"
  std::string detail;  // JSON
};
Result<int64_t> add_event(Connection& connection, const std::string& run_id, std::string_view kind,
                          const std::string& detail, Millis now);
// After `after`, oldest first; of one run, or of all where `run_id` is empty.
Result<std::vector<EventRow>> list_events(Connection& connection, const std::string& run_id,
                                          int64_t after, int64_t limit);

}  // namespace atelier::server
