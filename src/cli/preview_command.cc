// SPDX-License-Identifier: Apache-2.0
// atelier preview INPUT OUT.png: three frames, before and after, without scoring the rest.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <system_error>

#include "cli/commands.h"
#include "cli/inputs.h"
#include "cli/model_library.h"
#include "media/frame_reader.h"
#include "media/packet_scan.h"
#include "media/picture.h"
#include "media/sheet.h"
#include "model/runner.h"
#include "run/planner.h"
#include "run/prepare.h"

namespace atelier::cli {
namespace {

constexpr int kRows = 3;

// The middle frames of the first, second and third part of the video (fewer for a video of fewer
// frames).
std::vector<run::ChunkPlan> pick_frames(const media::PacketScan& scan) {
  std::vector<int64_t> times;
  for (const auto& packet : scan.packets) {
    if (!packet.discard) times.push_back(packet.pts);
  }
  std::sort(times.begin(), times.end());
  times.erase(std::unique(times.begin(), times.end()), times.end());
  const size_t rows = std::min<size_t>(kRows, times.size());
  std::vector<run::ChunkPlan> picks;
  for (size_t row = 0; row < rows; ++row) {
    run::ChunkPlan pick;
    pick.first_pts = times[(row + 1) * times.size() / (rows + 1)];
    if (scan.pts_exact) pick.key_dts = run::key_before(scan.packets, pick.first_pts);
    picks.push_back(pick);
  }
  return picks;
}

// Upright, with square pixels, as a player shows the video.
media::SheetLook look_of(const media::VideoFacts& video, const run::SizePlan& size) {
  media::SheetLook look;
  look.quarter_turns = static_cast<int>(std::lround(video.rotation_degrees / 90));
  const Rational aspect = size.sample_aspect_ratio;
  if (aspect.num > 0 && aspect.den > 0) {
    look.pixel_aspect = std::clamp(static_cast<double>(aspect.num) / aspect.den, 0.05, 20.0);
  }
  return look;
}

}  // namespace

Result<void> preview_command(const PreviewOptions& options, Console& console,
                             std::stop_token stop) {
  WantedSize wanted;
  if (!options.size.empty()) wanted = TRY(parse_size(options.size));
  const model::LoadedModel model = TRY(load_model(options.model));
  for (const std::string& guess : model.spec.guessed) console.note(guess);
  const Input input = TRY(open_video(options.input, true));
  const Place output = TRY(open_place(options.output));
  if (output.location.path.extension() != ".png") {
    return make_error(Code::invalid_argument, "A preview is a PNG: '{}' does not end in .png.",
                      options.output);
  }
  if (!options.force && TRY(output.store->head(output.key))) {
    return make_error(Code::invalid_argument,
                      "'{}' exists and was kept; choose another name or use --force.",
                      options.output);
  }
  model::RunnerOptions runner_options;
  runner_options.threads = options.threads;
  const auto runner = TRY(model::make_onednn_runner(model.graph, model.spec, runner_options));
  const auto& stream = input.info.streams[static_cast<size_t>(input.info.video_stream)];
  const run::SizePlan size =
      TRY(run::plan_size(stream.video, wanted.width, wanted.height, *runner));
  const auto scan = TRY(media::scan_packets(*input.source, input.info, {}, stop));

  std::vector<media::DecodedFrame> before;
  std::vector<FrameBuffer> after;
  for (const run::ChunkPlan& pick : pick_frames(scan)) {
    media::ReadRequest request;
    request.stream = input.info.video_stream;
    request.first_pts = pick.first_pts;
    request.key_dts = pick.key_dts;
    request.width = size.scored.width;
    request.height = size.scored.height;
    request.threads = options.threads;
    request.deinterlace = stream.video.interlaced;
    const auto reader = TRY(media::FrameReader::open(*input.source, input.info, request));
    auto frame = TRY(reader->next());
    if (!frame) continue;
    FrameBuffer painted(size.output.width, size.output.height, frame->view.format,
                        frame->view.color);
    painted.view().format.alpha = false;
    TRY(runner->score(frame->view, painted.view()));
    before.push_back(*std::move(frame));
    after.push_back(std::move(painted));
    if (stop.stop_requested())
      return make_error(Code::cancelled, "Interrupted; no picture was written.");
  }
  if (before.empty())
    return make_error(Code::invalid_input, "Not one frame of '{}' could be decoded.",
                      options.input);

  std::vector<media::SheetRow> rows;
  for (size_t i = 0; i < before.size(); ++i) rows.push_back({before[i].view, after[i].view()});
  const FrameBuffer sheet = TRY(media::make_sheet(rows, look_of(stream.video, size)));
  const auto png = TRY(media::encode_png(sheet.view()));
  const auto outcome = TRY(output.store->put(
      output.key, png, options.force ? Condition::always() : Condition::if_absent()));
  if (!outcome.written)
    return make_error(Code::invalid_argument, "'{}' appeared meanwhile and was kept.",
                      options.output);
  console.object(
      nlohmann::json{{"output", output.location.url()}, {"frames", before.size()}}.dump() + "\n");
  console.say(fmt::format("{} frames before and after: {}", before.size(), options.output));
  return {};
}

}  // namespace atelier::cli
