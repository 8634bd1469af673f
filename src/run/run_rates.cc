// SPDX-License-Identifier: Apache-2.0
#include "run/run_rates.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "run/ledger_records.h"

namespace atelier::run {
namespace {

using nlohmann::json;

constexpr std::string_view kChunks = "chunks/";

double seconds_between(WallTime begin, WallTime end) {
  return std::chrono::duration<double>(end - begin).count();
}

double slowest_stage(const ChunkCommit& commit) {
  return std::max({commit.seconds.decode, commit.seconds.score, commit.seconds.encode});
}

struct Committed {
  WallTime when;
  double weight = 0;  // seconds of its slowest stage
};
using Workers = std::map<std::string, std::vector<Committed>>;

Workers by_worker(const RunState& state, const RunTimes& times) {
  Workers workers;
  for (size_t i = 0; i < state.commits.size(); ++i) {
    if (!state.commits[i] || !times.commits[i]) continue;
    workers[state.commits[i]->worker].push_back(
        {*times.commits[i], slowest_stage(*state.commits[i])});
  }
  for (auto& [name, commits] : workers) {
    std::sort(commits.begin(), commits.end(),
              [](const Committed& a, const Committed& b) { return a.when < b.when; });
  }
  return workers;
}

// What a chunk takes by the seconds of its slowest stage.
struct Pace {
  double factor = 1;
  double more = 0;
  double of(double weight) const { return factor * weight + more; }
};

Pace pace_of(const Workers& workers, RunRates& rates) {
  double passed = 0;
  double weights = 0;
  for (const auto& [name, commits] : workers) {
    rates.gaps += commits.size() - 1;
    passed += seconds_between(commits.front().when, commits.back().when);
    for (size_t i = 1; i < commits.size(); ++i) weights += commits[i].weight;
  }
  if (rates.gaps == 0 || passed <= 0) return {};
  // Less than the stage alone only by the rounding of the store's times.
  if (passed < weights) return {passed / weights, 0};
  return {1, (passed - weights) / static_cast<double>(rates.gaps)};
}

}  // namespace

double RunRates::mean_chunk_seconds() const {
  return std::accumulate(chunk_seconds.begin(), chunk_seconds.end(), 0.0) /
         static_cast<double>(std::max<size_t>(1, chunk_seconds.size()));
}

Result<RunRates> measure_rates(const RunState& state, const RunTimes& times,
                               const std::optional<ReportedJob>& job) {
  RunRates rates;
  const Workers workers = by_worker(state, times);
  if (workers.empty()) {
    return make_error(Code::invalid_argument,
                      "No chunk of '{}' is done, so there is nothing to measure; finish the run or "
                      "give --chunk-seconds-of-work.",
                      state.run);
  }
  rates.chunks = state.commits.size();
  rates.workers = workers.size();
  const Pace pace = pace_of(workers, rates);
  double out = 0;
  for (size_t i = 0; i < state.commits.size(); ++i) {
    if (!state.commits[i] || !times.commits[i]) continue;
    rates.chunk_seconds.push_back(pace.of(slowest_stage(*state.commits[i])));
    out += static_cast<double>(state.commits[i]->bytes);
  }
  rates.bytes_out_per_chunk = out / static_cast<double>(rates.chunk_seconds.size());
  rates.bytes_in_per_chunk =
      static_cast<double>(state.manifest.input.size) / static_cast<double>(state.commits.size());
  if (!job || !job->from_nothing || !times.published) return rates;
  double start = seconds_between(times.prepared, *times.published);
  WallTime last = times.prepared;
  for (const auto& [name, commits] : workers) {
    const double first = seconds_between(times.prepared, commits.front().when);
    start = std::min(start, first - pace.of(commits.front().weight));
    last = std::max(last, commits.back().when);
  }
  rates.worker_start_seconds = std::max(0.0, start);
  rates.prepare_seconds =
      std::max(0.0, job->wall_seconds - seconds_between(times.prepared, *times.published));
  rates.finish_seconds = std::max(0.0, seconds_between(last, *times.published));
  return rates;
}

Result<RunRates> read_rates(ObjectStore& store, const std::string& run_id) {
  const RunState state = TRY(read_state(store, run_id));
  RunTimes times;
  times.commits.resize(state.commits.size());
  for (const ObjectInfo& object : TRY(list_all(store, run_id + "/"))) {
    std::string_view name = std::string_view(object.key).substr(run_id.size() + 1);
    if (name == "manifest.json") times.prepared = object.modified;
    if (name == "report.json") times.published = object.modified;
    if (!name.starts_with(kChunks)) continue;
    name.remove_prefix(kChunks.size());
    RecordName record;
    if (!parse_record_name(name, record) || !record.commit) continue;
    const auto chunk = static_cast<size_t>(record.chunk);
    if (chunk < times.commits.size()) times.commits[chunk] = object.modified;
  }
  std::optional<ReportedJob> job;
  if (const auto text = TRY(RunFolder(store, run_id).read_report())) {
    const json report = json::parse(*text, nullptr, false);
    if (!report.is_object()) {
      return make_error(Code::corrupt, "'{}' is damaged; remove it.",
                        store.url(run_id + "/report.json"));
    }
    const auto number = [&](const char* key) {
      return report.contains(key) && report[key].is_number() ? report[key].get<double>() : -1.0;
    };
    job = ReportedJob{number("wall_seconds"),
                      number("frames") > 0 && number("frames") == number("frames_scored_now")};
  }
  return measure_rates(state, times, job);
}

}  // namespace atelier::run
