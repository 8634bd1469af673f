// SPDX-License-Identifier: Apache-2.0
// atelier bench: how long a frame takes here, layer by layer, and how fast the encoder and the
// decoder beside it are.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/psnr.h"
#include "cli/bench_tuning.h"
#include "cli/commands.h"
#include "cli/inputs.h"
#include "cli/model_library.h"
#include "media/frame_reader.h"
#include "media/frame_writer.h"
#include "model/runner.h"

namespace atelier::cli {
namespace {

using nlohmann::json;

constexpr int kMediaFrames = 60;

double seconds_of(const Clock& clock, Clock::Duration begin) {
  return std::chrono::duration<double>(clock.now() - begin).count();
}

// A moving pattern with edges and gradients: neither trivial for a codec nor noise.
FrameBuffer test_frame(int width, int height, int time) {
  ColorSpec color;
  color.matrix = color.primaries = color.transfer = 1;
  color.range = ColorSpec::Range::limited;
  FrameBuffer buffer(width, height, PixelFormat{}, color);
  FrameView& view = buffer.view();
  for (int p = 0; p < 3; ++p) {
    const auto& plane = view.plane[static_cast<size_t>(p)];
    for (int y = 0; y < view.plane_height(p); ++y) {
      auto* row = reinterpret_cast<uint8_t*>(plane.data + y * plane.stride);
      for (int x = 0; x < view.plane_width(p); ++x) {
        const int wave = static_cast<int>(60 * std::sin(0.02 * (x + 3 * time)) *
                                          std::cos(0.03 * (y - 2 * time)));
        const int checks = ((x + time) / 32 + y / 32) % 2 * 20;
        row[x] =
            static_cast<uint8_t>(std::clamp(128 + (p == 0 ? wave + checks : wave / 2), 16, 235));
      }
    }
  }
  return buffer;
}

struct MediaRates {
  double encode_fps = 0;
  double decode_fps = 0;
};

Result<MediaRates> media_rates(model::Size size, int threads, const Clock& clock) {
  media::EncodeSettings settings;
  settings.width = size.width;
  settings.height = size.height;
  settings.color = test_frame(2, 2, 0).view().color;
  MemorySink sink;
  auto writer = TRY(media::FrameWriter::create(settings, sink));
  std::vector<FrameBuffer> frames;
  for (int t = 0; t < 8; ++t) frames.push_back(test_frame(size.width, size.height, t));
  auto begin = clock.now();
  for (int t = 0; t < kMediaFrames; ++t) {
    // There and back, so that the motion has no jump.
    const int i = t % 14 < 8 ? t % 14 : 14 - t % 14;
    TRY(writer->write(frames[static_cast<size_t>(i)].view(), t, 1, nullptr));
  }
  TRY(writer->finish());
  MediaRates rates;
  rates.encode_fps = kMediaFrames / seconds_of(clock, begin);

  MemorySource source(sink.take());
  const auto info = TRY(media::probe(source, "bench.nut"));
  media::ReadRequest request;
  request.stream = info.video_stream;
  request.threads = threads;
  begin = clock.now();
  const auto reader = TRY(media::FrameReader::open(source, info, request));
  while (TRY(reader->next())) {
  }
  rates.decode_fps = kMediaFrames / seconds_of(clock, begin);
  return rates;
}

Result<double> median_score_seconds(model::Runner& runner, model::Size size, int repeats,
                                    const Clock& clock, const std::stop_token& stop) {
  const FrameBuffer in = test_frame(size.width, size.height, 0);
  const model::Size out_size = TRY(runner.output_size(size));
  FrameBuffer out(out_size.width, out_size.height, in.view().format, in.view().color);
  TRY(runner.score(in.view(), out.view()));  // plans, packs weights, touches the arena
  std::vector<double> seconds;
  for (int i = 0; i < repeats; ++i) {
    if (stop.stop_requested()) return make_error(Code::cancelled, "Interrupted.");
    const auto begin = clock.now();
    TRY(runner.score(in.view(), out.view()));
    seconds.push_back(seconds_of(clock, begin));
  }
  std::nth_element(seconds.begin(), seconds.begin() + repeats / 2, seconds.end());
  return seconds[static_cast<size_t>(repeats / 2)];
}

}  // namespace

Result<void> bench_command(const BenchOptions& options, Console& console, std::stop_token stop) {
  const SystemClock clock;
  const WantedSize wanted = TRY(parse_size(options.size));
  if (wanted.width == 0 || wanted.height == 0) {
    return make_error(Code::invalid_argument, "bench needs both sides of --size, not '{}'.",
                      options.size);
  }
  const model::Size size{wanted.width, wanted.height};
  const model::LoadedModel model = TRY(load_model(options.model));
  if (options.tune && options.precision == "bf16") {
    return make_error(Code::invalid_argument,
                      "--tune measures the ways of f32 and int8; where bf16 is used is a rule.");
  }
  if (options.tune) {
    return bench_tuning(options, model, test_frame(size.width, size.height, 0).view(), console,
                        std::move(stop));
  }
  model::RunnerOptions runner_options;
  runner_options.threads = options.threads;
  auto runner = TRY(model::make_onednn_runner(model.graph, model.spec, runner_options));
  double quality = 0;
  const bool narrow = options.precision != "f32";
  if (narrow) {
    const std::unique_ptr<model::Runner> exact = std::move(runner);
    const FrameBuffer frame = test_frame(size.width, size.height, 0);
    const model::Size made = TRY(exact->output_size(size));
    FrameBuffer expected(made.width, made.height, frame.view().format, frame.view().color);
    FrameBuffer got(made.width, made.height, frame.view().format, frame.view().color);
    runner_options.precision = model::precision_named(options.precision).value();
    runner_options.ranges = TRY(exact->observe({&frame.view(), 1}, {&expected.view(), 1}, [] {}));
    runner = TRY(model::make_onednn_runner(model.graph, model.spec, runner_options));
    TRY(runner->score(frame.view(), got.view()));
    quality = squared_error(expected.view(), got.view()).psnr();
  }
  const double seconds = TRY(median_score_seconds(*runner, size, options.repeats, clock, stop));
  const auto layers = TRY(runner->time_layers(size, options.repeats));
  const MediaRates rates = TRY(media_rates(size, options.threads, clock));
  const double gflop = TRY(runner->gflop(size));
  const uint64_t memory = TRY(runner->memory(size));
  const model::Tiling tiling = TRY(runner->tiling(size));

  json rows = json::array();
  console.say(fmt::format("{} at {}x{}, {} repeats, {}:", model.spec.name, size.width, size.height,
                          options.repeats, model::isa_name()));
  console.say("         ms   GFLOP/s  layer");
  for (const auto& layer : layers) {
    rows.push_back({{"node", layer.step.node},
                    {"op", layer.step.op},
                    {"algorithm", layer.step.algorithm},
                    {"implementation", layer.step.implementation},
                    {"seconds", layer.seconds},
                    {"gflop", layer.gflop}});
    console.say(fmt::format("  {:9.3f} {:9.1f}  {} {} [{} {}]", layer.seconds * 1e3,
                            layer.seconds > 0 ? layer.gflop / layer.seconds : 0, layer.step.op,
                            layer.step.node, layer.step.algorithm, layer.step.implementation));
  }
  console.say(fmt::format(
      "score {:.4f} s a frame ({:.2f} fps, {:.1f} GFLOP/s, {} MiB), decode {:.1f} fps, encode "
      "{:.1f} fps",
      seconds, 1 / seconds, gflop / seconds, memory >> 20, rates.decode_fps, rates.encode_fps));
  if (tiling.count > 1) {
    console.say(
        fmt::format("in {} tiles of {}x{}", tiling.count, tiling.size.width, tiling.size.height));
  }
  if (narrow) {
    console.say(
        fmt::format("{} against f32: {:.2f} dB PSNR of this frame", options.precision, quality));
  }
  json result{{"model", model.spec.name},       {"width", size.width},
              {"height", size.height},          {"threads", options.threads},
              {"isa", model::isa_name()},       {"score_seconds_per_frame", seconds},
              {"gflop_per_frame", gflop},       {"memory_bytes", memory},
              {"decode_fps", rates.decode_fps}, {"encode_fps", rates.encode_fps},
              {"precision", options.precision}, {"layers", rows}};
  result["tiles"] = {
      {"count", tiling.count}, {"width", tiling.size.width}, {"height", tiling.size.height}};
  if (narrow) result["psnr_db"] = quality;
  console.object(result.dump(2) + "\n");
  return {};
}

}  // namespace atelier::cli
