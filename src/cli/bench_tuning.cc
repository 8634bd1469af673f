// SPDX-License-Identifier: Apache-2.0
#include "cli/bench_tuning.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "cli/kept_choices.h"
#include "model/runner.h"

namespace atelier::cli {
namespace {

using nlohmann::json;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

json say_layers(const std::vector<model::TunedLayer>& layers, Console& console) {
  json rows = json::array();
  console.say("    rule ms   other ms  layers  choice");
  for (const model::TunedLayer& layer : layers) {
    rows.push_back({{"key", layer.key},
                    {"nodes", layer.nodes},
                    {"rule", layer.rule},
                    {"way", layer.way},
                    {"seconds", layer.seconds}});
    double other = 0;
    for (const auto& [way, seconds] : layer.seconds) {
      if (way != layer.rule) other = seconds;
    }
    console.say(fmt::format("  {:9.3f}  {:9.3f}  {:6}  {}{} [{}]",
                            layer.seconds.at(layer.rule) * 1e3, other * 1e3, layer.nodes.size(),
                            layer.way, layer.way == layer.rule ? "" : ", not by rule", layer.key));
  }
  return rows;
}

using MakeRunner = std::function<Result<std::unique_ptr<model::Runner>>(const model::Choices&)>;

struct InTurn {
  std::vector<double> rule, chosen;  // seconds of frames
};

// One after the other, so that what disturbs one disturbs the other. Whose memory was had first is
// a twentieth faster here (large pages run out), so this is done twice: once each is made first.
Result<void> score_in_turn(const MakeRunner& make, const model::Choices& choices, bool rule_first,
                           const FrameView& in, int repeats, const std::stop_token& stop,
                           InTurn& seconds) {
  const SystemClock clock;
  const auto first = TRY(make(rule_first ? model::Choices() : choices));
  const auto second = TRY(make(rule_first ? choices : model::Choices()));
  const model::Size size = TRY(first->output_size({in.width, in.height}));
  FrameBuffer out(size.width, size.height, in.format, in.color);
  for (int i = 0; i <= repeats; i++) {
    for (model::Runner* runner : {first.get(), second.get()}) {
      if (stop.stop_requested()) return make_error(Code::cancelled, "Interrupted.");
      const auto begin = clock.now();
      TRY(runner->score(in, out.view()));
      if (i == 0) continue;  // plans and touches memory
      const bool is_rule = (runner == first.get()) == rule_first;
      (is_rule ? seconds.rule : seconds.chosen)
          .push_back(std::chrono::duration<double>(clock.now() - begin).count());
    }
  }
  return {};
}

}  // namespace

Result<void> bench_tuning(const BenchOptions& options, const model::LoadedModel& model,
                          const FrameView& in, Console& console, std::stop_token stop) {
  model::RunnerOptions runner_options;
  runner_options.threads = options.threads;
  const MakeRunner make = [&](const model::Choices& choices) {
    runner_options.choices = choices;
    return model::make_onednn_runner(model.graph, model.spec, runner_options);
  };
  const bool int8 = options.precision == "int8";
  auto exact = TRY(make({}));
  int frames = 0;
  const SystemClock clock;
  const auto begin = clock.now();
  const auto layers = TRY(exact->tune({in.width, in.height}, int8, [&] { frames++; }));
  const double spent = std::chrono::duration<double>(clock.now() - begin).count();
  console.say(fmt::format("{} at {}x{}, {}, {}:", model.spec.name, in.width, in.height,
                          options.precision, model::tuning_machine()));
  const json rows = say_layers(layers, console);
  if (int8) {
    const model::Size size = TRY(exact->output_size({in.width, in.height}));
    FrameBuffer made(size.width, size.height, in.format, in.color);
    runner_options.precision = model::Precision::int8;
    runner_options.ranges = TRY(exact->observe({&in, 1}, {&made.view(), 1}, [] {}));
  }
  exact.reset();
  model::Choices choices;
  for (const model::TunedLayer& layer : layers) choices[layer.key] = layer.way;
  InTurn seconds;
  for (const bool rule_first : {true, false}) {
    TRY(score_in_turn(make, choices, rule_first, in, options.repeats, stop, seconds));
  }
  if (const auto kept = keep_choices(choices); !kept.ok()) {
    console.note("What was measured is not kept for runs: " + kept.error().message);
  }
  const double rule = median(seconds.rule), chosen = median(seconds.chosen);
  console.say(
      fmt::format("a frame takes {:.4f} s by rule, {:.4f} s as chosen; measuring took {} frames "
                  "and {:.2f} s",
                  rule, chosen, frames, spent));
  console.object(json{{"model", model.spec.name},
                      {"width", in.width},
                      {"height", in.height},
                      {"precision", options.precision},
                      {"machine", model::tuning_machine()},
                      {"isa", model::isa_name()},
                      {"layers", rows},
                      {"rule_seconds_per_frame", rule},
                      {"chosen_seconds_per_frame", chosen},
                      {"tuning_seconds", spent},
                      {"tuning_frames", frames}}
                     .dump(2) +
                 "\n");
  return {};
}

}  // namespace atelier::cli
