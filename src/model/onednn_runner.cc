// SPDX-License-Identifier: Apache-2.0
#include "model/onednn_runner.h"

#include <omp.h>

#include <algorithm>
#include <oneapi/dnnl/dnnl.hpp>

#include "model/processor.h"

namespace atelier::model {
namespace {

// A picture of a batch may be computed alone, unless the graph asks how many there are.
bool asks_for_shapes(const Graph& graph) {
  return std::any_of(graph.nodes.begin(), graph.nodes.end(),
                     [](const Node& node) { return node.op == "Shape" || node.op == "Size"; });
}

}  // namespace

OnednnRunner::OnednnRunner(const Graph& graph, const ModelSpec& spec, const RunnerOptions& options,
                           kernels::Isa isa)
    : graph_(graph),
      spec_(spec),
      options_(options),
      isa_(isa),
      asks_for_shapes_(asks_for_shapes(graph)),
      threads_(options.threads > 0 ? options.threads : std::max(1, omp_get_num_procs())) {}

Result<std::vector<PlanStep>> OnednnRunner::plan(Size input) {
  const Loaded* loaded = TRY(load_image(TRY(way(input))->planned));
  std::vector<PlanStep> steps;
  for (const Step& step : loaded->plan.steps) steps.push_back(step.label);
  return steps;
}

Result<std::vector<LayerTime>> OnednnRunner::time_layers(Size input, int repeats) {
  const Way way = *TRY(this->way(input));
  Loaded* loaded = TRY(load_image(way.planned));
  omp_set_num_threads(threads_);
  const StepContext context = TRY(make_context(loaded->plan));
  fill_test_image(*loaded, context);
  std::vector<std::vector<double>> times(loaded->plan.steps.size());
  TRY(execute(loaded->plan, context));  // the first run touches the memory
  for (int i = 0; i < std::max(1, repeats); i++) {
    fill_test_image(*loaded, context);  // a step may have freed it
    TRY(execute(loaded->plan, context, -1, &times));
  }
  std::vector<LayerTime> layers;
  for (size_t i = 0; i < times.size(); i++) {
    std::sort(times[i].begin(), times[i].end());
    const Step& step = loaded->plan.steps[i];
    const double seconds = times[i][times[i].size() / 2];
    layers.push_back({step.label, seconds * way.parts(), step.gflop * way.share()});
  }
  return layers;
}

Result<Ranges> OnednnRunner::observe(std::span<const FrameView> in, std::span<FrameView> out,
                                     const std::function<void()>& scored_one) {
  Observation seen;
  observing_ = &seen;
  const Result<void> scored = observe_all(in, out, scored_one, seen);
  observing_ = nullptr;
  // Whoever asks scores with another runner next: two arenas need not stand at once.
  rest();
  TRY(scored);
  Ranges ranges;
  for (const auto& [node, finder] : seen.finders) ranges[node] = finder.range();
  return ranges;
}

void OnednnRunner::rest() {
  memory_.reset();
  capacity_ = 0;
  lanes_.clear();
  lane_capacity_ = 0;
}

Result<void> OnednnRunner::observe_all(std::span<const FrameView> in, std::span<FrameView> out,
                                       const std::function<void()>& scored_one, Observation& seen) {
  for (size_t i = 0; i < in.size(); i++) {
    TRY(score(in[i], out[i]));
    scored_one();
  }
  if (in.empty()) return {};
  seen.first_only = true;
  FrameBuffer made(out[0].width, out[0].height, out[0].format, out[0].color);
  for (const int level : {0, 255}) {
    FrameBuffer even(in[0].width, in[0].height, {PixelFormat::Family::gray, 8, 0, 0, false}, {});
    const FrameView::Plane& plane = even.view().plane[0];
    for (int y = 0; y < in[0].height; y++) {
      std::fill_n(plane.data + y * plane.stride, in[0].width, static_cast<std::byte>(level));
    }
    TRY(score(even.view(), made.view()));
    scored_one();
  }
  return {};
}

Result<Statistics> OnednnRunner::measure(std::span<const FrameView> in,
                                         const std::function<void()>& scored_one) {
  StatisticsTaker taker;
  measuring_ = &taker;
  const Result<void> scored = measure_all(in, scored_one);
  measuring_ = nullptr;
  TRY(scored);
  return taker.result();
}

Result<void> OnednnRunner::measure_all(std::span<const FrameView> in,
                                       const std::function<void()>& scored_one) {
  for (const FrameView& frame : in) {
    const Size size = TRY(output_size({frame.width, frame.height}));
    FrameBuffer made(size.width, size.height, frame.format, frame.color);
    TRY(score(frame, made.view()));
    scored_one();
  }
  return {};
}

Result<double> OnednnRunner::gflop(Size input) {
  const Way way = *TRY(this->way(input));
  const Loaded* loaded = TRY(load_image(way.planned));
  double sum = 0;
  for (const Step& step : loaded->plan.steps) sum += step.gflop;
  return sum * way.share();
}

Result<uint64_t> OnednnRunner::memory(Size input) {
  const Way way = *TRY(this->way(input));
  const FrameGeometry& g = way.geometry;
  const Loaded* loaded = TRY(load_image(way.planned));
  const auto pixels = [](Size size) { return int64_t{size.width} * size.height; };
  int64_t floats =
      loaded->plan.arena_floats + loaded->plan.scratch_floats(threads_) + weights_.floats();
  if (!g.direct || spec_.luma) {
    // Planes: the frame and the network's, in and out; beside luma, colours in and out.
    const int64_t in = pixels(input) + pixels(g.fit.net);
    floats += 3 * (in + pixels(g.out)) + g.channels * g.fit.factor * g.fit.factor * in;
    if (spec_.luma) floats += 4 * pixels(input) + 3 * pixels(g.out);
  } else if (const int lanes = TRY(most_at_once(input)); lanes > 1) {
    floats += lanes * lane_floats(loaded->plan);
  } else if (way.tiles) {
    // What a tile makes, as coded samples: at most three of two bytes a pixel.
    floats += 3 * pixels(way.planned) * g.fit.factor * g.fit.factor / 2;
  }
  return static_cast<uint64_t>(floats) * sizeof(float) +
         static_cast<uint64_t>(loaded->plan.plain_bytes);
}

Result<Tiling> OnednnRunner::tiling(Size input) {
  const Way& way = *TRY(this->way(input));
  return Tiling{way.planned, way.tiles ? static_cast<int>(way.tiles->count()) : 1};
}

Result<std::unique_ptr<Runner>> make_onednn_runner(const Graph& graph, const ModelSpec& spec,
                                                   const RunnerOptions& options) {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    return make_error(Code::invalid_argument,
                      "This processor has no AVX2, which scoring needs; use a newer machine.");
  }
  if (graph.inputs.empty() || graph.outputs.empty()) {
    return make_error(Code::invalid_argument, "Model '{}' has no input or no output.", spec.name);
  }
  return std::unique_ptr<Runner>(std::make_unique<OnednnRunner>(graph, spec, options, own_isa()));
}

std::map<std::string, std::string> library_versions() {
  const dnnl_version_t* v = dnnl_version();
  return {{"onednn", fmt::format("{}.{}.{}", v->major, v->minor, v->patch)}};
}

}  // namespace atelier::model
