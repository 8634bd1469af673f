// SPDX-License-Identifier: Apache-2.0
#include "run/report.h"

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

}  // namespace

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
                  {"chunks", manifest.chunks.size()},
                  {"frames", finish.frames},
                  {"frames_expected", finish.frames_expected},
                  {"frames_scored_now", report.frames_now},
                  {"decode_errors", finish.decode_errors},
                  {"retimed_frames", finish.retimed},
                  {"interlaced_frames", finish.interlaced},
                  {"damaged_packets", manifest.damaged_packets},
                  {"copied_streams", manifest.copied.size()},
                  {"copied_packets", finish.copied_packets},
                  {"bytes", finish.bytes},
                  {"shifted_seconds", finish.shifted_seconds},
                  {"wall_seconds", report.wall_seconds},
                  {"node_seconds", report.score_wall_seconds},
                  {"stage_seconds", seconds_json(finish.seconds)},
                  {"fps", fps},
                  {"notes", report.notes}});
}

Result<RunState> read_state(RunFolder& folder) {
  auto manifest = TRY(folder.read_manifest());
  if (!manifest) {
    return make_error(Code::invalid_argument,
                      "There is no run at '{}'; `atelier run` prints where its run is.",
                      folder.url());
  }
  RunState state;
  state.manifest = *std::move(manifest);
  for (const ChunkPlan& chunk : state.manifest.chunks)
    state.commits.push_back(TRY(folder.read_commit(chunk.index)));
  state.published = TRY(folder.read_report()).has_value();
  return state;
}

std::string to_json(const RunState& state) {
  json chunks = json::array();
  uint64_t frames = 0;
  size_t done = 0;
  StageSeconds total;
  for (size_t i = 0; i < state.commits.size(); ++i) {
    const auto& commit = state.commits[i];
    json row = {{"index", i},
                {"state", commit ? "done" : "open"},
                {"frames_expected", state.manifest.chunks[i].frames}};
    if (commit) {
      row["frames"] = commit->frames;
      row["bytes"] = commit->bytes;
      row["decode_errors"] = commit->decode_errors;
      row["seconds"] = seconds_json(commit->seconds);
      frames += commit->frames;
      ++done;
      total.decode += commit->seconds.decode;
      total.score += commit->seconds.score;
      total.encode += commit->seconds.encode;
    }
    chunks.push_back(std::move(row));
  }
  const char* word =
      state.published ? "done" : (done == state.commits.size() ? "scored" : "scoring");
  return text_of({{"state", word},
                  {"run_id", state.manifest.run_id},
                  {"input", state.manifest.input.url},
                  {"model", state.manifest.model.name},
                  {"chunks_done", done},
                  {"frames", frames},
                  {"frames_expected", state.manifest.frames_expected()},
                  {"stage_seconds", seconds_json(total)},
                  {"fps", fps_json(frames, total)},
                  {"chunks", chunks}});
}

}  // namespace atelier::run
