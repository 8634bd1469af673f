// SPDX-License-Identifier: Apache-2.0
// Runs plans: one arena, the steps in order, frames in and out. What to run is decided in
// plan_build.cc; how fast it is, in kernels/.
#include <omp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <list>
#include <oneapi/dnnl/dnnl.hpp>

#include "model/kernels/shuffle.h"
#include "model/pixels.h"
#include "model/plan.h"
#include "model/runner.h"

namespace atelier::model {
namespace {

constexpr size_t kCachedPlans = 2;
constexpr int64_t kMostArenaBytes = int64_t{64} << 30;
constexpr int kNominalSide = 256;  // at which a network shows by how much it enlarges

struct Free {
  void operator()(float* p) const { std::free(p); }
};
using Floats = std::unique_ptr<float, Free>;

Floats allocate(int64_t floats) {
  constexpr size_t kHuge = size_t{2} << 20;
  const size_t bytes = (static_cast<size_t>(floats) * sizeof(float) + kHuge - 1) / kHuge * kHuge;
  Floats memory(static_cast<float*>(std::aligned_alloc(kHuge, bytes)));
  // A megapixel is read in strides of pages: large ones save a tenth of the time. Only a hint.
  if (memory) ::madvise(memory.get(), bytes, MADV_HUGEPAGE);
  return memory;
}

struct Loaded {
  ShapeMap inputs;
  NetPlan plan;
};

// What a frame becomes on its way.
struct Geometry {
  Size net;  // what the network gets: padded to the spec's multiple
  Size out;  // the frame that comes out
};

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class OnednnRunner final : public Runner {
 public:
  OnednnRunner(const Graph& graph, const ModelSpec& spec, const RunnerOptions& options,
               kernels::Isa isa)
      : graph_(graph),
        spec_(spec),
        options_(options),
        isa_(isa),
        threads_(options.threads > 0 ? options.threads : std::max(1, omp_get_num_procs())) {}

  Result<Size> output_size(Size input) override { return TRY(geometry(input)).out; }

  Result<void> score(const FrameView& in, FrameView& out) override {
    const Size size{in.width, in.height};
    const Geometry g = TRY(geometry(size));
    if (out.width != g.out.width || out.height != g.out.height) {
      return make_error(Code::internal, "The frame for the result is {}x{} instead of {}x{}.",
                        out.width, out.height, g.out.width, g.out.height);
    }
    Loaded* loaded = TRY(load(image_input(g.net)));
    omp_set_num_threads(threads_);
    const StepContext context = TRY(make_context(loaded->plan));
    const int source = loaded->plan.inputs.at(input_name());
    const kernels::TensorView planes = context.view(source);
    TRY(frame_to_planes(
        in, spec_,
        {planes.data, planes.channels, planes.width, planes.height, planes.row, planes.plane}));
    TRY(execute(loaded->plan, context));
    const kernels::TensorView made = context.view(loaded->plan.outputs.at(output_name()));
    const ConstPlanesView result(made.data, made.channels, made.width, made.height, made.row,
                                 made.plane);
    return planes_to_frame(result, spec_, resolve_color(out.color, in.width, in.height, out.format),
                           out);
  }

  Result<std::map<std::string, Tensor>> run(const std::map<std::string, Tensor>& inputs) override {
    ShapeMap shapes;
    int64_t batch = 0;
    for (const ValueInfo& value : graph_.inputs) {
      const auto it = inputs.find(value.name);
      if (it == inputs.end() || it->second.shape.size() != 4 ||
          it->second.count() != static_cast<int64_t>(it->second.floats.size()) ||
          it->second.floats.empty() || (batch != 0 && it->second.shape[0] != batch)) {
        return make_error(Code::invalid_argument,
                          "Input '{}' is missing or not N, C, H, W float32 samples.", value.name);
      }
      const auto& shape = it->second.shape;
      batch = shape[0];
      shapes[value.name] = {shape[1], shape[2], shape[3]};
    }
    Loaded* loaded = TRY(load(shapes));
    omp_set_num_threads(threads_);
    const StepContext context = TRY(make_context(loaded->plan));
    std::map<std::string, Tensor> outputs;
    for (int64_t n = 0; n < batch; n++) {
      for (const auto& [name, value] : loaded->plan.inputs) {
        const int64_t each = shapes.at(name).count();
        write_value(context.view(value), inputs.at(name).floats.data() + n * each);
      }
      TRY(execute(loaded->plan, context));
      for (const auto& [name, value] : loaded->plan.outputs) {
        read_value(context.view(value), batch, outputs[name]);
      }
    }
    return outputs;
  }

  Result<std::vector<PlanStep>> plan(Size input) override {
    const Loaded* loaded = TRY(load(image_input(TRY(geometry(input)).net)));
    std::vector<PlanStep> steps;
    for (const Step& step : loaded->plan.steps) steps.push_back(step.label);
    return steps;
  }

  Result<std::vector<LayerTime>> time_layers(Size input, int repeats) override {
    Loaded* loaded = TRY(load(image_input(TRY(geometry(input)).net)));
    omp_set_num_threads(threads_);
    const StepContext context = TRY(make_context(loaded->plan));
    const kernels::TensorView image = context.view(loaded->plan.inputs.at(input_name()));
    for (int c = 0; c < image.channels; c++)
      for (int y = 0; y < image.height; y++)
        for (int x = 0; x < image.width; x++)
          *image.at(c, y, x) = static_cast<float>((c * 50 + y * 3 + x * 7) % 256);
    std::vector<std::vector<double>> times(loaded->plan.steps.size());
    TRY(execute(loaded->plan, context));  // the first run touches the memory
    for (int i = 0; i < std::max(1, repeats); i++) TRY(execute(loaded->plan, context, &times));
    std::vector<LayerTime> layers;
    for (size_t i = 0; i < times.size(); i++) {
      std::sort(times[i].begin(), times[i].end());
      const Step& step = loaded->plan.steps[i];
      layers.push_back({step.label, times[i][times[i].size() / 2], step.gflop});
    }
    return layers;
  }

  Result<double> gflop(Size input) override {
    const Loaded* loaded = TRY(load(image_input(TRY(geometry(input)).net)));
    double sum = 0;
    for (const Step& step : loaded->plan.steps) sum += step.gflop;
    return sum;
  }

  Result<uint64_t> memory(Size input) override {
    const Loaded* loaded = TRY(load(image_input(TRY(geometry(input)).net)));
    const int64_t floats =
        loaded->plan.arena_floats + loaded->plan.scratch_floats(threads_) + weights_.floats();
    return static_cast<uint64_t>(floats) * sizeof(float);
  }

 private:
  const std::string& input_name() const {
    return spec_.input.empty() ? graph_.inputs[0].name : spec_.input;
  }
  const std::string& output_name() const {
    return spec_.output.empty() ? graph_.outputs[0].name : spec_.output;
  }
  ShapeMap image_input(Size net) const {
    const auto& shape = find(graph_.inputs, input_name())->shape;
    return {{input_name(), {shape[1] < 1 ? 3 : shape[1], net.height, net.width}}};
  }
  static const ValueInfo* find(const std::vector<ValueInfo>& values, const std::string& name) {
    const auto it = std::find_if(values.begin(), values.end(),
                                 [&](const ValueInfo& v) { return v.name == name; });
    return it == values.end() ? nullptr : &*it;
  }

  Result<void> check_image() const {
    const ValueInfo* in = find(graph_.inputs, input_name());
    if (spec_.kind != ModelSpec::Kind::image || !in || !find(graph_.outputs, output_name()) ||
        graph_.inputs.size() != 1 || in->shape.size() != 4 ||
        (in->shape[1] != 3 && in->shape[1] != 1 && in->shape[1] != -1)) {
      return make_error(Code::invalid_argument,
                        "Model '{}' does not make one picture of one picture; frames need a model "
                        "with one input and an output of 1 or 3 channels.",
                        spec_.name);
    }
    return {};
  }

  Result<Geometry> geometry(Size input) const {
    TRY(check_image());
    if (input.width < 1 || input.height < 1 || input.width > 1 << 16 || input.height > 1 << 16) {
      return make_error(Code::invalid_argument, "Frames of {}x{} cannot be scored.", input.width,
                        input.height);
    }
    const auto& fixed = find(graph_.inputs, input_name())->shape;
    const int multiple = std::max(1, spec_.size_multiple);
    const auto up = [&](int size) { return (size + multiple - 1) / multiple * multiple; };
    const Size net{up(input.width), up(input.height)};
    if ((fixed[2] > 0 && fixed[2] != net.height) || (fixed[3] > 0 && fixed[3] != net.width)) {
      return make_error(Code::invalid_argument,
                        "Model '{}' takes only frames of {}x{}, not {}x{}; add --size {}x{}.",
                        spec_.name, fixed[3] > 0 ? fixed[3] : net.width,
                        fixed[2] > 0 ? fixed[2] : net.height, input.width, input.height,
                        fixed[3] > 0 ? fixed[3] : net.width, fixed[2] > 0 ? fixed[2] : net.height);
    }
    const PictureShape made = TRY(output_shape(net));
    if (made.channels != 3 && made.channels != 1) {
      return make_error(Code::invalid_argument,
                        "Model '{}' gives {} channels, which is no picture.", spec_.name,
                        made.channels);
    }
    // By how much it enlarges shows at a size where a few extra rows do not matter.
    PictureShape nominal = made;
    Size seen = net;
    if (fixed[2] < 1 && fixed[3] < 1) {
      const Size square{up(kNominalSide), up(kNominalSide)};
      if (auto shape = output_shape(square); shape.ok()) {
        nominal = *shape;
        seen = square;
      }
    }
    const int64_t factor = std::max<int64_t>(1, nominal.height / seen.height);
    if (factor != std::max<int64_t>(1, nominal.width / seen.width) ||
        made.height < factor * input.height || made.width < factor * input.width) {
      return make_error(Code::invalid_argument,
                        "Model '{}' makes {}x{} of {}x{}, which is neither its size nor a multiple "
                        "of it; use another --size.",
                        spec_.name, made.width, made.height, net.width, net.height);
    }
    return Geometry{
        net, {static_cast<int>(factor) * input.width, static_cast<int>(factor) * input.height}};
  }

  Result<PictureShape> output_shape(Size net) const {
    return TRY(infer_shapes(graph_, image_input(net))).at(output_name());
  }

  // The plan for these inputs: cached, or made, checked against the memory of the machine.
  Result<Loaded*> load(const ShapeMap& inputs) {
    for (auto it = loaded_.begin(); it != loaded_.end(); ++it) {
      if (it->inputs != inputs) continue;
      loaded_.splice(loaded_.begin(), loaded_, it);
      return &loaded_.front();
    }
    NetPlan made = TRY(build_plan(graph_, inputs, options_.plan, weights_));
    const int64_t bytes =
        (made.arena_floats + made.scratch_floats(threads_)) * static_cast<int64_t>(sizeof(float));
    const int64_t installed = static_cast<int64_t>(::sysconf(_SC_PHYS_PAGES)) *
                              static_cast<int64_t>(::sysconf(_SC_PAGESIZE));
    if (bytes > kMostArenaBytes || bytes > installed) {
      const PictureShape& shape = inputs.begin()->second;
      return make_error(Code::invalid_argument,
                        "Model '{}' needs {:.1f} GiB for frames of {}x{}, more than this machine "
                        "has; make them smaller with --size.",
                        spec_.name, static_cast<double>(bytes) / (1 << 30), shape.width,
                        shape.height);
    }
    loaded_.push_front({inputs, std::move(made)});
    if (loaded_.size() > kCachedPlans) loaded_.pop_back();
    return &loaded_.front();
  }

  Result<StepContext> make_context(const NetPlan& plan) {
    const int64_t floats = plan.arena_floats + plan.scratch_floats(threads_);
    if (floats > capacity_) {
      memory_.reset();
      memory_ = allocate(floats);
      capacity_ = memory_ ? floats : 0;
    }
    if (!memory_) {
      return make_error(Code::internal, "No memory for the {} MiB of a frame's activations.",
                        floats >> 18);
    }
    return StepContext{isa_, threads_, memory_.get(), memory_.get() + plan.arena_floats,
                       plan.values};
  }

  static void clear_halo(const NetPlan& plan, const StepContext& context, int value) {
    kernels::zero_halo(context.view(value), plan.values[static_cast<size_t>(value)].halo);
  }

  Result<void> execute(const NetPlan& plan, const StepContext& context,
                       std::vector<std::vector<double>>* times = nullptr) const {
    for (const auto& [name, value] : plan.inputs) clear_halo(plan, context, value);
    for (size_t i = 0; i < plan.steps.size(); i++) {
      const Step& step = plan.steps[i];
      const double start = seconds_now();
      TRY(step.run(context));
      if (!step.in_place) clear_halo(plan, context, step.writes);
      if (times) (*times)[i].push_back(seconds_now() - start);
    }
    return {};
  }

  static void write_value(const kernels::TensorView& view, const float* samples) {
    for (int c = 0; c < view.groups() * view.block; c++) {
      for (int y = 0; y < view.height; y++) {
        float* to = view.row_at(c / view.block, y) + c % view.block;
        for (int x = 0; x < view.width; x++)
          to[x * view.block] = c < view.channels ? *samples++ : 0.0f;
      }
    }
  }

  static void read_value(const kernels::TensorView& view, int64_t batch, Tensor& tensor) {
    tensor.shape = {batch, view.channels, view.height, view.width};
    tensor.floats.reserve(static_cast<size_t>(tensor.count()));
    for (int c = 0; c < view.channels; c++) {
      for (int y = 0; y < view.height; y++) {
        const float* from = view.row_at(c / view.block, y) + c % view.block;
        for (int x = 0; x < view.width; x++) tensor.floats.push_back(from[x * view.block]);
      }
    }
  }

  const Graph graph_;
  const ModelSpec spec_;
  const RunnerOptions options_;
  const kernels::Isa isa_;
  const int threads_;
  WeightCache weights_;
  std::list<Loaded> loaded_;  // the one used last first
  Floats memory_;
  int64_t capacity_ = 0;
};

bool has_avx512() {
  return dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx512_core &&
         __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
}

}  // namespace

Result<std::unique_ptr<Runner>> make_onednn_runner(const Graph& graph, const ModelSpec& spec,
                                                   const RunnerOptions& options) {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    return make_error(Code::invalid_argument,
                      "This processor has no AVX2, which scoring needs; use a newer machine.");
  }
  if (graph.inputs.empty() || graph.outputs.empty()) {
    return make_error(Code::invalid_argument, "Model '{}' has no input or no output.", spec.name);
  }
  for (const ValueInfo& input : graph.inputs) {
    if (input.shape.size() == 4) continue;
    return make_error(Code::invalid_argument,
                      "Model '{}': input '{}' has {} dimensions instead of N, C, H, W.", spec.name,
                      input.name, input.shape.size());
  }
  return std::unique_ptr<Runner>(std::make_unique<OnednnRunner>(
      graph, spec, options, has_avx512() ? kernels::Isa::avx512 : kernels::Isa::avx2));
}

std::map<std::string, std::string> library_versions() {
  const dnnl_version_t* v = dnnl_version();
  return {{"onednn", fmt::format("{}.{}.{}", v->major, v->minor, v->patch)}};
}

std::string isa_name() { return has_avx512() ? "avx512_core" : "avx2"; }

}  // namespace atelier::model
