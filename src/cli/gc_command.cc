// SPDX-License-Identifier: Apache-2.0
// atelier gc: removes runs by age and by size; a run in use is kept.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/inputs.h"
#include "run/clean_up.h"

namespace atelier::cli {
namespace {

using nlohmann::json;
using run::RunFacts;
using std::chrono::duration_cast;
using std::chrono::seconds;

Result<run::CleanUpPolicy> policy_of(const GcOptions& options) {
  constexpr std::array<Unit, 3> kTimes = {{{'d', 86400}, {'h', 3600}, {'m', 60}}};
  // Ages are counted in nanoseconds of 64 bits.
  constexpr uint64_t kLongestAge = uint64_t{86400} * 36500;
  run::CleanUpPolicy policy;
  if (!options.older_than.empty()) {
    const auto age = parse_with_unit(options.older_than, kTimes);
    if (!age || *age > kLongestAge) {
      return make_error(Code::invalid_argument,
                        "--older-than takes days, hours or minutes like 7d, 12h or 30m, not '{}'.",
                        options.older_than);
    }
    policy.older_than = seconds(*age);
  }
  if (!options.larger_than.empty()) {
    policy.larger_than = parse_bytes(options.larger_than);
    if (!policy.larger_than) {
      return make_error(Code::invalid_argument,
                        "--larger-than takes a size like 500M, 10G or 2T, not '{}'.",
                        options.larger_than);
    }
  }
  if (!policy.older_than && !policy.larger_than) {
    return make_error(Code::invalid_argument,
                      "gc needs --older-than or --larger-than to know which runs to remove.");
  }
  return policy;
}

struct Sums {
  size_t removed = 0;
  uint64_t removed_bytes = 0;
  size_t kept = 0;
  uint64_t kept_bytes = 0;
};

// Watches those that may be alive on another machine; false if interrupted.
bool wait_for_silent(const std::vector<RunFacts>& runs,
                     const std::vector<run::CleanUpChoice>& choices, Console& console, Clock& clock,
                     const std::stop_token& stop) {
  size_t silent = 0;
  for (size_t i = 0; i < runs.size(); ++i) {
    silent += choices[i].remove && runs[i].silent_workers ? 1 : 0;
  }
  if (silent == 0) return true;
  console.say(
      fmt::format("Waiting {} s to see whether a worker elsewhere still uses one of {} runs.",
                  run::kSilence.count(), silent));
  const auto end = clock.now() + run::kSilence;
  while (clock.now() < end && !stop.stop_requested()) {
    clock.sleep_for(std::chrono::milliseconds(100));
  }
  return !stop.stop_requested();
}

Result<void> remove_chosen(ObjectStore& store, const std::vector<RunFacts>& runs,
                           std::vector<run::CleanUpChoice>& choices, run::WallTime now,
                           const std::stop_token& stop) {
  size_t removed = 0;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (!choices[i].remove) continue;
    if (stop.stop_requested()) {
      return make_error(Code::cancelled, "Interrupted; {} of the runs were removed.", removed);
    }
    const auto kept = run::remove_run(store, runs[i], now);
    if (!kept.ok()) {
      return make_error(kept.error().code, "Run {} could not be removed: {} Removed before it: {}.",
                        runs[i].run_id, kept.error().message, removed);
    }
    if (*kept) choices[i] = {false, **kept};
    removed += *kept ? 0 : 1;
  }
  return {};
}

json row_of(const ObjectStore& store, const RunFacts& facts, const run::CleanUpChoice& choice,
            run::WallTime now, bool dry_run) {
  const auto number = [](const std::optional<uint64_t>& n) { return n ? json(*n) : json(nullptr); };
  return {
      {"run_id", facts.run_id},
      {"run", store.url(facts.run_id)},
      {"state", facts.in_use.empty() ? to_string(facts.state) : "in use"},
      {"age_seconds", std::max<int64_t>(0, duration_cast<seconds>(now - facts.changed).count())},
      {"bytes", facts.bytes},
      {"frames", number(facts.frames)},
      {"frames_expected", number(facts.frames_expected)},
      {"action", !choice.remove ? "kept" : (dry_run ? "would be removed" : "removed")},
      {"why", choice.why}};
}

void say_row(Console& console, const json& row) {
  const auto count = [&](const char* name) {
    return row[name].is_null() ? std::string("?") : std::to_string(row[name].get<uint64_t>());
  };
  console.say(fmt::format(
      "  {:16}  {:>7}  {:>10}  {:>15}  {:10}  {}: {}", row["run_id"].get<std::string>(),
      age_text(seconds(row["age_seconds"].get<int64_t>())), size_text(row["bytes"].get<uint64_t>()),
      count("frames") + "/" + count("frames_expected"), row["state"].get<std::string>(),
      row["action"].get<std::string>(), row["why"].get<std::string>()));
}

// A number for the result; what cannot be looked for is said and ends nothing.
size_t sweep(const GcOptions& options, Console& console) {
  const auto place = location_of_runs(options.runs);
  if (!place.ok()) return 0;
  const auto swept = sweep_uploads(*place, options.dry_run);
  if (!swept.ok()) {
    console.note(
        fmt::format("Uploads that never ended could not be removed: {}", swept.error().message));
    return 0;
  }
  const size_t count = options.dry_run ? swept->found : swept->removed;
  if (count > 0) {
    console.say(fmt::format("{}: {} uploads that were begun more than a day ago and never ended.",
                            options.dry_run ? "Would be removed" : "Removed", count));
  }
  return count;
}

}  // namespace

Result<void> gc_command(const GcOptions& options, Console& console, const std::stop_token& stop) {
  const run::CleanUpPolicy policy = TRY(policy_of(options));
  const auto opened = TRY(open_runs(options.runs));
  ObjectStore& store = *opened;
  SystemClock clock;
  const run::WallTime now = std::chrono::system_clock::now();
  const auto runs = TRY(run::look_at_runs(store, now));
  auto choices = run::choose_runs_to_remove(runs, policy, now);
  if (!options.dry_run) {
    if (!wait_for_silent(runs, choices, console, clock, stop)) {
      return make_error(Code::cancelled, "Interrupted; no run was removed.");
    }
    TRY(remove_chosen(store, runs, choices, now, stop));
  }
  Sums sums;
  json rows = json::array();
  if (!runs.empty()) {
    console.say("  run                   age        size           frames  state");
  }
  for (size_t i = 0; i < runs.size(); ++i) {
    rows.push_back(row_of(store, runs[i], choices[i], now, options.dry_run));
    say_row(console, rows.back());
    (choices[i].remove ? sums.removed : sums.kept) += 1;
    (choices[i].remove ? sums.removed_bytes : sums.kept_bytes) += runs[i].bytes;
  }
  console.say(fmt::format("{}: {} of {} runs, {}; kept: {}, {}.",
                          options.dry_run ? "Would be removed" : "Removed", sums.removed,
                          runs.size(), size_text(sums.removed_bytes), sums.kept,
                          size_text(sums.kept_bytes)));
  const size_t uploads = sweep(options, console);
  const json object = {{"dry_run", options.dry_run},
                       {"removed", sums.removed},
                       {"removed_bytes", sums.removed_bytes},
                       {"kept", sums.kept},
                       {"kept_bytes", sums.kept_bytes},
                       {"uploads_removed", uploads},
                       {"runs", rows}};
  console.object(object.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
  return {};
}

}  // namespace atelier::cli
