// SPDX-License-Identifier: Apache-2.0
#include "run/report.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace atelier::run {
namespace {

using nlohmann::json;

double rate(uint64_t frames, double seconds) {
  return seconds > 0 ? static_cast<double>(frames) / seconds : 0;
}

json seconds_json(const StageSeconds& s) {
  return {{"decode", s.decode}, {"score", s.score}, {"encode", s.encode}};
}

json fps_json(uint64_t frames, const StageSeconds& s) {
  return {{"decode", rate(frames, s.decode)},
          {"score", rate(frames, s.score)},
          {"encode", rate(frames, s.encode)}};
}

std::string text_of(const json& j) {
  return j.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

json precision_json(const ChosenPrecision& p) {
  json result = {{"name", model::name_of(p.name)}, {"frames_compared", p.frames}};
  if (p.name != model::Precision::f32) result["sampled_psnr_db"] = p.sampled_psnr;
  return result;
}

json engine_json(const EngineReport& engine) {
  json events = json::array();
  for (const EngineReport::Event& event : engine.events) {
    events.push_back({{"seconds", event.seconds}, {"text", event.text}});
  }
  return {{"name", engine.name},         {"nodes", engine.nodes},
          {"workers", engine.workers},   {"restarts", engine.restarts},
          {"events", std::move(events)}, {"statistics", engine.statistics}};
}

json engine_json(const EngineState& engine) {
  json tasks = json::array();
  for (const EngineTask& task : engine.tasks) {
    tasks.push_back({{"task", task.name},
                     {"state", task.state},
                     {"reason", task.reason},
                     {"nodes", task.nodes},
                     {"restarts", task.restarts}});
  }
  json result = {{"name", engine.record.name},
                 {"job", engine.record.job},
                 {"partition", engine.record.partition},
                 {"tasks", tasks}};
  if (!engine.error.empty()) result["error"] = engine.error;
  return result;
}

}  // namespace

std::string to_json(const EngineRecord& record) {
  return text_of({{"name", record.name}, {"job", record.job}, {"partition", record.partition}});
}

Result<EngineRecord> engine_from_json(std::string_view text) {
  try {
    const json j = json::parse(text);
    return EngineRecord{j.at("name"), j.at("job"), j.at("partition")};
  } catch (const json::exception&) {
    return make_error(Code::corrupt, "The run's engine.json is damaged; remove it.");
  }
}

std::string to_json(const RunReport& report, const Manifest& manifest) {
  const FinishReport& finish = report.finish;
  json fps = fps_json(finish.frames, finish.seconds);
  fps["job"] = rate(report.frames_now, report.wall_seconds);
  return text_of({{"state", "done"},
                  {"run_id", manifest.run_id},
                  {"run", report.run},
                  {"input", manifest.input.url},
                  {"output", report.output},
                  {"model", manifest.model.name},
                  {"width", manifest.encode.width},
                  {"height", manifest.encode.height},
                  {"precision", precision_json(manifest.precision)},
                  {"norm", manifest.shots.empty() ? "frame" : "shot"},
                  {"shots", manifest.shots.size()},
                  {"chunks", manifest.chunks.size()},
                  {"frames", finish.frames},
                  {"frames_expected", finish.frames_expected},
                  {"frames_scored_now", report.frames_now},
                  {"decode_errors", finish.decode_errors},
                  {"retimed_frames", finish.retimed},
                  {"interlaced_frames", finish.interlaced},
                  {"repeated_frames", finish.repeated},
                  {"unpainted_frames", finish.unpainted},
                  {"damaged_packets", manifest.damaged_packets},
                  {"copied_streams", manifest.copied.size()},
                  {"copied_packets", finish.copied_packets},
                  {"bytes", finish.bytes},
                  {"shifted_seconds", finish.shifted_seconds},
                  {"wall_seconds", report.wall_seconds},
                  {"node_seconds", report.score_wall_seconds},
                  {"stage_seconds", seconds_json(finish.seconds)},
                  {"fps", fps},
                  {"engine", engine_json(report.engine)},
                  {"notes", report.notes}});
}

Result<RunState> read_state(ObjectStore& store, const std::string& run_id, WallTime now) {
  RunFolder folder(store, run_id);
  auto manifest = TRY(folder.read_manifest());
  if (!manifest) {
    return make_error(Code::invalid_argument,
                      "There is no run at '{}'; `atelier run` prints where its run is.",
                      folder.url());
  }
  RunState state;
  state.run = folder.url();
  state.manifest = *std::move(manifest);
  // The ledger first: what is committed meanwhile is shown as done.
  state.ledger =
      TRY(read_ledger(store, run_id, static_cast<int>(state.manifest.chunks.size()), now));
  for (const ChunkPlan& chunk : state.manifest.chunks) {
    state.commits.push_back(TRY(folder.read_commit(chunk.index)));
    if (state.commits.back()) {
      state.ledger.chunks[state.commits.size() - 1].state = ChunkView::State::done;
    }
  }
  state.published = TRY(folder.read_report()).has_value();
  return state;
}

const char* state_word(const RunState& state) {
  std::array<size_t, 4> count{};
  for (const ChunkView& chunk : state.ledger.chunks) ++count.at(static_cast<size_t>(chunk.state));
  const auto of = [&](ChunkView::State s) { return count.at(static_cast<size_t>(s)); };
  if (state.published) return "done";
  if (of(ChunkView::State::done) == state.ledger.chunks.size()) return "scored";
  if (state.ledger.cancelled) return "cancelled";
  if (of(ChunkView::State::scoring) > 0) return "scoring";
  return of(ChunkView::State::waiting) > 0 ? "unfinished" : "failed";
}

std::string worker_of(const RunState& state, size_t chunk) {
  const auto& commit = state.commits[chunk];
  return commit ? commit->worker : state.ledger.chunks[chunk].worker;
}

int attempts_of(const RunState& state, size_t chunk) {
  const auto& commit = state.commits[chunk];
  return commit ? commit->attempt : state.ledger.chunks[chunk].attempts;
}

namespace {

json chunk_json(const RunState& state, size_t i) {
  json row = {{"index", i},
              {"state", to_string(state.ledger.chunks[i].state)},
              {"worker", worker_of(state, i)},
              {"attempts", attempts_of(state, i)},
              {"frames_expected", state.manifest.chunks[i].frames}};
  if (const auto& commit = state.commits[i]) {
    row["frames"] = commit->frames;
    row["bytes"] = commit->bytes;
    row["decode_errors"] = commit->decode_errors;
    row["seconds"] = seconds_json(commit->seconds);
    row["fps"] = fps_json(commit->frames, commit->seconds);
  }
  return row;
}

double seconds_since(WallTime then, WallTime now) {
  return std::max(0.0, std::chrono::duration<double>(now - then).count());
}

}  // namespace

std::string to_json(const RunState& state, WallTime now) {
  json chunks = json::array();
  uint64_t frames = 0;
  size_t done = 0;
  StageSeconds total;
  for (size_t i = 0; i < state.commits.size(); ++i) {
    chunks.push_back(chunk_json(state, i));
    const auto& commit = state.commits[i];
    if (!commit) continue;
    frames += commit->frames;
    ++done;
    total.decode += commit->seconds.decode;
    total.score += commit->seconds.score;
    total.encode += commit->seconds.encode;
  }
  json failures = json::array();
  for (const FailedAttempt& failure : state.ledger.failures) {
    failures.push_back({{"chunk", failure.chunk},
                        {"attempt", failure.attempt},
                        {"worker", failure.worker},
                        {"error", failure.error},
                        {"seconds_ago", seconds_since(failure.when, now)}});
  }
  json workers = json::array();
  for (const WorkerView& worker : state.ledger.workers) {
    workers.push_back({{"worker", worker.name},
                       {"left", worker.left},
                       {"frames", worker.frames},
                       {"beat_seconds_ago", seconds_since(worker.beat, now)}});
  }
  json result = {{"state", state_word(state)},
                 {"run_id", state.manifest.run_id},
                 {"run", state.run},
                 {"input", state.manifest.input.url},
                 {"model", state.manifest.model.name},
                 {"chunks_done", done},
                 {"frames", frames},
                 {"frames_expected", state.manifest.frames_expected()},
                 {"stage_seconds", seconds_json(total)},
                 {"fps", fps_json(frames, total)},
                 {"failures", failures},
                 {"chunks", chunks},
                 {"workers", workers}};
  if (state.engine) result["engine"] = engine_json(*state.engine);
  return text_of(result);
}

}  // namespace atelier::run
