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
#include <optional>
#include <set>
#include <utility>

#include "model/frame_geometry.h"
#include "model/kernels/shuffle.h"
#include "model/pixels.h"
#include "model/plan.h"
#include "model/plan_plain.h"
#include "model/range_finder.h"
#include "model/runner.h"
#include "model/specialise.h"

namespace atelier::model {
namespace {

constexpr size_t kCachedPlans = 2;
constexpr int64_t kMostArenaBytes = int64_t{64} << 30;

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

using TypeMap = std::map<std::string, TensorType>;

struct Loaded {
  TypeMap inputs;
  bool image = false;  // of all outputs, only the picture is computed
  bool alone = false;  // one picture, whatever number the file states
  NetPlan plan;
};

// Drops all outputs but one, and what only they need.
void keep_output(Graph& graph, const std::string& name) {
  std::erase_if(graph.outputs, [&](const ValueInfo& output) { return output.name != name; });
  std::set<std::string> needed{name};
  std::vector<Node> kept;
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) {
    const auto is_needed = [&](const std::string& output) { return needed.contains(output); };
    if (std::none_of(node->outputs.begin(), node->outputs.end(), is_needed)) continue;
    needed.insert(node->inputs.begin(), node->inputs.end());
    needed.erase("");
    kept.push_back(std::move(*node));
  }
  std::reverse(kept.begin(), kept.end());
  graph.nodes = std::move(kept);
}

// A picture of a batch may be computed alone, unless the graph asks how many there are.
bool asks_for_shapes(const Graph& graph) {
  return std::any_of(graph.nodes.begin(), graph.nodes.end(),
                     [](const Node& node) { return node.op == "Shape" || node.op == "Size"; });
}

int64_t installed_bytes() {
  return static_cast<int64_t>(::sysconf(_SC_PHYS_PAGES)) *
         static_cast<int64_t>(::sysconf(_SC_PAGESIZE));
}

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
        asks_for_shapes_(asks_for_shapes(graph)),
        threads_(options.threads > 0 ? options.threads : std::max(1, omp_get_num_procs())) {}

  Result<Size> output_size(Size input) override { return TRY(geometry(input)).out; }

  Result<void> score(const FrameView& in, FrameView& out) override {
    const FrameGeometry g = TRY(geometry({in.width, in.height}));
    if (out.width != g.out.width || out.height != g.out.height) {
      return make_error(Code::internal, "The frame for the result is {}x{} instead of {}x{}.",
                        out.width, out.height, g.out.width, g.out.height);
    }
    Loaded* loaded = TRY(load_image(g.fit.net));
    omp_set_num_threads(threads_);
    const StepContext context = TRY(make_context(loaded->plan));
    const ColorSpec color = resolve_color(out.color, in.width, in.height, out.format);
    if (!g.direct || spec_.luma) return score_fitted(in, g, *loaded, context, color, out);
    TRY(frame_to_planes(in, spec_, open_image(*loaded, context)));
    repeat_image(*loaded);
    TRY(execute(loaded->plan, context));
    return planes_to_frame(TRY(made_image(*loaded, context)), spec_, color, out);
  }

  Result<std::map<std::string, Tensor>> run(const std::map<std::string, Tensor>& inputs) override {
    const TypeMap types = TRY(types_of(inputs));
    const int64_t batch = TRY(separable_batch(types));
    TypeMap each = types;
    if (batch > 1) {
      for (auto& [name, type] : each) type.shape[0] = 1;
    }
    Loaded* loaded = TRY(load(each, false, batch > 1));
    omp_set_num_threads(threads_);
    const StepContext context = TRY(make_context(loaded->plan));
    std::map<std::string, Tensor> outputs = loaded->plan.constant_outputs;
    for (int64_t n = 0; n < batch; n++) {
      for (const auto& [name, value] : loaded->plan.inputs) {
        const kernels::TensorView view = context.view(value);
        const int64_t count = int64_t{view.channels} * view.height * view.width;
        tensor_to_picture(inputs.at(name).floats.data() + n * count, view, threads_);
      }
      for (const auto& [name, slot] : loaded->plan.plain_inputs) {
        Tensor& tensor = plain_[static_cast<size_t>(slot)];
        tensor = inputs.at(name);
        tensor.type = each.at(name).type;
      }
      TRY(execute(loaded->plan, context));
      for (const auto& [name, value] : loaded->plan.outputs) {
        read_value(context.view(value), batch, outputs[name]);
      }
      for (const auto& [name, slot] : loaded->plan.plain_outputs) {
        outputs[name] = plain_[static_cast<size_t>(slot)];
      }
    }
    return outputs;
  }

  Result<std::vector<PlanStep>> plan(Size input) override {
    const Loaded* loaded = TRY(load_image(TRY(geometry(input)).fit.net));
    std::vector<PlanStep> steps;
    for (const Step& step : loaded->plan.steps) steps.push_back(step.label);
    return steps;
  }

  Result<std::vector<LayerTime>> time_layers(Size input, int repeats) override {
    Loaded* loaded = TRY(load_image(TRY(geometry(input)).fit.net));
    omp_set_num_threads(threads_);
    const StepContext context = TRY(make_context(loaded->plan));
    fill_test_image(*loaded, context);
    std::vector<std::vector<double>> times(loaded->plan.steps.size());
    TRY(execute(loaded->plan, context));  // the first run touches the memory
    for (int i = 0; i < std::max(1, repeats); i++) {
      fill_test_image(*loaded, context);  // a step may have freed it
      TRY(execute(loaded->plan, context, &times));
    }
    std::vector<LayerTime> layers;
    for (size_t i = 0; i < times.size(); i++) {
      std::sort(times[i].begin(), times[i].end());
      const Step& step = loaded->plan.steps[i];
      layers.push_back({step.label, times[i][times[i].size() / 2], step.gflop});
    }
    return layers;
  }

  Result<Ranges> observe(std::span<const FrameView> in, std::span<FrameView> out,
                         const std::function<void()>& scored_one) override {
    Observation seen;
    observing_ = &seen;
    const Result<void> scored = observe_all(in, out, scored_one, seen);
    observing_ = nullptr;
    // Whoever asks scores with another runner next: two arenas need not stand at once.
    memory_.reset();
    capacity_ = 0;
    TRY(scored);
    Ranges ranges;
    for (const auto& [node, finder] : seen.finders) ranges[node] = finder.range();
    return ranges;
  }

  Result<double> gflop(Size input) override {
    const Loaded* loaded = TRY(load_image(TRY(geometry(input)).fit.net));
    double sum = 0;
    for (const Step& step : loaded->plan.steps) sum += step.gflop;
    return sum;
  }

  Result<uint64_t> memory(Size input) override {
    const Loaded* loaded = TRY(load_image(TRY(geometry(input)).fit.net));
    const int64_t floats =
        loaded->plan.arena_floats + loaded->plan.scratch_floats(threads_) + weights_.floats();
    return static_cast<uint64_t>(floats) * sizeof(float) +
           static_cast<uint64_t>(loaded->plan.plain_bytes);
  }

 private:
  struct Observation {
    std::map<std::string, RangeFinder> finders;
    bool first_only = false;
  };

  Result<void> observe_all(std::span<const FrameView> in, std::span<FrameView> out,
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

  const std::string& input_name() const {
    return spec_.input.empty() ? graph_.inputs[0].name : spec_.input;
  }
  const std::string& output_name() const {
    return spec_.output.empty() ? graph_.outputs[0].name : spec_.output;
  }
  const std::vector<int64_t>& declared() const { return find(graph_.inputs, input_name())->shape; }
  TypeMap image_types(Size net, int64_t batch) const {
    const int64_t channels = declared()[1] < 1 ? (spec_.luma ? 1 : 3) : declared()[1];
    const ElementType type = find(graph_.inputs, input_name())->type;
    return {{input_name(), {type, {batch, channels, net.height, net.width}}}};
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

  // Asked for every frame, so the last answer is kept.
  Result<FrameGeometry> geometry(Size input) {
    if (geometry_ && geometry_for_ == input) return *geometry_;
    TRY(check_image());
    geometry_ = TRY(frame_geometry(spec_, declared(), input, [&](Size net) -> Result<TensorType> {
      const ConcreteGraph concrete = TRY(specialise(graph_, image_types(net, declared_batch())));
      return concrete.types.at(output_name());
    }));
    geometry_for_ = input;
    return *geometry_;
  }

  int64_t declared_batch() const { return std::max<int64_t>(1, declared()[0]); }

  // A network for several pictures computes one, if that is possible; else it gets the same one
  // several times.
  Result<Loaded*> load_image(Size net) {
    const int64_t batch = declared_batch();
    if (batch > 1 && !asks_for_shapes_) {
      auto one = load(image_types(net, 1), true, true);
      if (one.ok() && (*one)->plan.plain.empty()) return *one;
    }
    return load(image_types(net, batch), true, false);
  }

  // The plan for these inputs: cached, or made, checked against the memory of the machine.
  // `alone`: one picture of a batch; only a plan without plain steps is one of the same network.
  Result<Loaded*> load(const TypeMap& inputs, bool image, bool alone) {
    for (auto it = loaded_.begin(); it != loaded_.end(); ++it) {
      if (it->inputs != inputs || it->image != image || it->alone != alone) continue;
      loaded_.splice(loaded_.begin(), loaded_, it);
      return &loaded_.front();
    }
    ConcreteGraph concrete =
        alone ? TRY(specialise_batch(inputs)) : TRY(specialise(graph_, inputs));
    if (image && concrete.graph.outputs.size() > 1) keep_output(concrete.graph, output_name());
    const PlanOptions choice{options_.plan, options_.precision, options_.ranges, isa_};
    NetPlan made = TRY(build_plan(std::move(concrete), choice, weights_));
    const int64_t bytes =
        (made.arena_floats + made.scratch_floats(threads_)) * static_cast<int64_t>(sizeof(float)) +
        made.plain_bytes;
    if (bytes > kMostArenaBytes || bytes > installed_bytes()) {
      return make_error(Code::invalid_argument,
                        "Model '{}' needs {:.1f} GiB for inputs of {}, more than this machine "
                        "has; make them smaller with --size.",
                        spec_.name, static_cast<double>(bytes) / (1 << 30),
                        fmt::join(inputs.begin()->second.shape, "x"));
    }
    loaded_.push_front({inputs, image, alone, std::move(made)});
    if (loaded_.size() > kCachedPlans) loaded_.pop_back();
    return &loaded_.front();
  }

  // For as many pictures as these inputs have, whatever number the file states.
  Result<ConcreteGraph> specialise_batch(const TypeMap& inputs) const {
    Graph graph = graph_;
    for (ValueInfo& input : graph.inputs) {
      if (!input.shape.empty()) input.shape[0] = inputs.at(input.name).shape[0];
    }
    return specialise(std::move(graph), inputs);
  }

  Result<TypeMap> types_of(const std::map<std::string, Tensor>& inputs) const {
    TypeMap types;
    for (const ValueInfo& value : graph_.inputs) {
      const auto it = inputs.find(value.name);
      const auto samples = [&] {
        return static_cast<int64_t>(it->second.is_int() ? it->second.ints.size()
                                                        : it->second.floats.size());
      };
      if (it == inputs.end() || samples() == 0 || it->second.count() != samples()) {
        return make_error(Code::invalid_argument,
                          "Input '{}' is missing, empty or not of the shape that it says.",
                          value.name);
      }
      // Samples are floats whatever the width that the file states.
      const ElementType given = it->second.type;
      types[value.name] = {is_float(given) && is_float(value.type) ? value.type : given,
                           it->second.shape};
    }
    return types;
  }

  // The number of pictures if each can be computed alone by the fast kernels, else 1.
  Result<int64_t> separable_batch(const TypeMap& types) {
    int64_t batch = 0;
    TypeMap each = types;
    for (auto& [name, type] : each) {
      if (!is_float(type.type) || type.shape.size() != 4) return 1;
      if (batch != 0 && type.shape[0] != batch) return 1;
      batch = std::exchange(type.shape[0], 1);
    }
    if (batch <= 1 || asks_for_shapes_) return 1;
    const auto one = load(each, false, true);
    const bool fast =
        one.ok() && (*one)->plan.plain.empty() && (*one)->plan.constant_outputs.empty();
    if (!fast) return 1;
    if (!separable_ || separable_->first != types) {
      separable_ = {types, every_value_has_all_pictures(types, each, batch)};
    }
    return separable_->second ? batch : 1;
  }

  // False where a node picks some pictures, as x[:1] does: alone, each would seem to be the first.
  bool every_value_has_all_pictures(const TypeMap& types, const TypeMap& each,
                                    int64_t batch) const {
    const auto whole = specialise_batch(types), one = specialise_batch(each);
    if (!whole.ok() || !one.ok() || whole->graph.nodes.size() != one->graph.nodes.size()) {
      return false;
    }
    const auto all_there = [&](const std::string& value) {
      const auto made = whole->types.find(value), alone = one->types.find(value);
      if (made == whole->types.end() || alone == one->types.end()) return false;
      TensorType expected = alone->second;
      if (expected.shape.empty() || expected.shape[0] != 1) return false;
      expected.shape[0] = batch;
      return made->second == expected;
    };
    return std::all_of(whole->graph.nodes.begin(), whole->graph.nodes.end(), [&](const Node& node) {
      return std::all_of(node.outputs.begin(), node.outputs.end(), all_there);
    });
  }

  // Where the frame goes; in a batch, the first picture.
  PlanesView open_image(Loaded& loaded, const StepContext& context) {
    const NetPlan& plan = loaded.plan;
    if (const auto blocked = plan.inputs.find(input_name()); blocked != plan.inputs.end()) {
      const kernels::TensorView v = context.view(blocked->second);
      return {v.data, v.channels, v.width, v.height, v.row, v.plane};
    }
    const size_t slot = static_cast<size_t>(plan.plain_inputs.at(input_name()));
    Tensor& tensor = plain_[slot];
    tensor.type = plan.plain[slot].type.type;
    tensor.shape = plan.plain[slot].type.shape;
    tensor.floats.resize(static_cast<size_t>(tensor.count()));
    const auto& s = tensor.shape;
    return {tensor.floats.data(),         static_cast<int>(s[1]),
            static_cast<int>(s[3]),       static_cast<int>(s[2]),
            static_cast<ptrdiff_t>(s[3]), static_cast<ptrdiff_t>(s[2] * s[3])};
  }

  void repeat_image(const Loaded& loaded) {
    const auto slot = loaded.plan.plain_inputs.find(input_name());
    if (slot == loaded.plan.plain_inputs.end()) return;
    Tensor& tensor = plain_[static_cast<size_t>(slot->second)];
    const auto each = static_cast<ptrdiff_t>(tensor.count() / tensor.shape[0]);
    for (int64_t n = 1; n < tensor.shape[0]; n++) {
      std::copy_n(tensor.floats.begin(), each, tensor.floats.begin() + n * each);
    }
  }

  Result<ConstPlanesView> made_image(const Loaded& loaded, const StepContext& context) const {
    const NetPlan& plan = loaded.plan;
    if (const auto blocked = plan.outputs.find(output_name()); blocked != plan.outputs.end()) {
      const kernels::TensorView v = context.view(blocked->second);
      return ConstPlanesView(v.data, v.channels, v.width, v.height, v.row, v.plane);
    }
    const auto constant = plan.constant_outputs.find(output_name());
    const Tensor& tensor = constant != plan.constant_outputs.end()
                               ? constant->second
                               : plain_[static_cast<size_t>(plan.plain_outputs.at(output_name()))];
    if (tensor.shape.size() != 4 || tensor.is_int() || tensor.count() < 1) {
      return make_error(Code::invalid_argument, "Model '{}' gives no picture.", spec_.name);
    }
    const auto& s = tensor.shape;
    return ConstPlanesView(tensor.floats.data(), static_cast<int>(s[1]), static_cast<int>(s[3]),
                           static_cast<int>(s[2]), static_cast<ptrdiff_t>(s[3]),
                           static_cast<ptrdiff_t>(s[2] * s[3]));
  }

  // Frames that the network does not take as they are: see frame_fit.h.
  Result<void> score_fitted(const FrameView& in, const FrameGeometry& g, Loaded& loaded,
                            const StepContext& context, const ColorSpec& color, FrameView& out) {
    const NetFunction net = [&](const Planes& given, Planes& made) -> Result<void> {
      const PlanesView target = open_image(loaded, context);
      for (int c = 0; c < given.channels(); c++) {
        for (int y = 0; y < given.height(); y++) {
          std::copy_n(given.row(c, y), given.width(),
                      target.data + c * target.plane_stride + y * target.row_stride);
        }
      }
      repeat_image(loaded);
      TRY(execute(loaded.plan, context));
      const ConstPlanesView result = TRY(made_image(loaded, context));
      if (result.channels != made.channels() || result.width < made.width() ||
          result.height < made.height()) {
        return make_error(Code::internal, "Model '{}' made a picture of another size than planned.",
                          spec_.name);
      }
      for (int c = 0; c < made.channels(); c++) {
        for (int y = 0; y < made.height(); y++) {
          std::copy_n(result.data + c * result.plane_stride + y * result.row_stride, made.width(),
                      made.row(c, y));
        }
      }
      return {};
    };
    const int channels = static_cast<int>(loaded.inputs.at(input_name()).shape[1]);
    Planes whole(channels, in.width, in.height);
    TRY(frame_to_planes(in, spec_, whole.view()));
    Planes made = TRY(fit_planes(g.fit, whole, g.channels, net));
    if (!spec_.luma) return planes_to_frame(std::as_const(made).view(), spec_, color, out);

    ModelSpec neutral;  // 0..1, out-of-gamut colours kept
    neutral.range = neutral.output_range = {0, 1};
    Planes rgb(3, in.width, in.height), luma(1, in.width, in.height);
    TRY(frame_to_planes(in, neutral, rgb.view()));
    TRY(frame_to_planes(in, neutral, luma.view()));
    const float black = spec_.output_range[0];
    const float span = spec_.output_range[1] - black;
    for (int y = 0; y < made.height(); y++) {
      for (float* v = made.row(0, y); v != made.row(0, y) + made.width(); v++) {
        *v = (*v - black) / span;
        if (spec_.clamp) *v = std::clamp(*v, 0.0f, 1.0f);
      }
    }
    const Planes colored = with_luma(rgb, luma, made);
    return planes_to_frame(colored.view(), neutral, color, out);
  }

  void fill_test_image(Loaded& loaded, const StepContext& context) {
    const PlanesView image = open_image(loaded, context);
    for (int c = 0; c < image.channels; c++)
      for (int y = 0; y < image.height; y++)
        for (int x = 0; x < image.width; x++)
          image.data[c * image.plane_stride + y * image.row_stride + x] =
              static_cast<float>((c * 50 + y * 3 + x * 7) % 256);
    repeat_image(loaded);
  }

  Result<StepContext> make_context(const NetPlan& plan) {
    // At least something, for plans whose steps are all plain.
    const int64_t floats = std::max<int64_t>(1, plan.arena_floats + plan.scratch_floats(threads_));
    if (floats > capacity_) {
      memory_.reset();
      memory_ = allocate(floats);
      capacity_ = memory_ ? floats : 0;
    }
    if (!memory_) {
      return make_error(Code::internal, "No memory for the {} MiB of a frame's activations.",
                        floats >> 18);
    }
    plain_.assign(plan.plain.size(), Tensor());
    return StepContext{isa_,        threads_, memory_.get(), memory_.get() + plan.arena_floats,
                       plan.values, plain_};
  }

  static void clear_halo(const NetPlan& plan, const StepContext& context, int value) {
    const Value& v = plan.values[static_cast<size_t>(value)];
    if (v.bytes) {
      kernels::fill_halo(context.byte_view(value), v.halo,
                         static_cast<uint8_t>(v.quantization.zero_point));
    } else {
      kernels::zero_halo(context.view(value), v.halo);
    }
  }

  Result<void> execute(const NetPlan& plan, const StepContext& context,
                       std::vector<std::vector<double>>* times = nullptr) const {
    for (const auto& [name, value] : plan.inputs) clear_halo(plan, context, value);
    for (size_t i = 0; i < plan.steps.size(); i++) {
      const Step& step = plan.steps[i];
      if (observing_ && step.observed >= 0 && (step.first || !observing_->first_only)) {
        observing_->finders[step.label.node].see(context.view(step.observed));
      }
      const double start = seconds_now();
      TRY(step.run(context));
      if (!step.in_place && step.writes >= 0) clear_halo(plan, context, step.writes);
      for (const int slot : step.frees) context.plain[static_cast<size_t>(slot)] = Tensor();
      if (times) (*times)[i].push_back(seconds_now() - start);
    }
    return {};
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
  const bool asks_for_shapes_;
  const int threads_;
  WeightCache weights_;
  std::list<Loaded> loaded_;                           // the one used last first
  std::optional<std::pair<TypeMap, bool>> separable_;  // the last answer
  std::vector<Tensor> plain_;
  std::optional<FrameGeometry> geometry_;
  Size geometry_for_;
  Floats memory_;
  int64_t capacity_ = 0;
  Observation* observing_ = nullptr;  // while observe() scores
};

bool has_avx512() {
  return dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx512_core &&
         __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
}

bool has_vnni() {
  return has_avx512() && dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx512_core_vnni &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni");
}

kernels::Isa own_isa() {
  return has_vnni()     ? kernels::Isa::avx512_vnni
         : has_avx512() ? kernels::Isa::avx512
                        : kernels::Isa::avx2;
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
  return std::unique_ptr<Runner>(std::make_unique<OnednnRunner>(graph, spec, options, own_isa()));
}

std::map<std::string, std::string> library_versions() {
  const dnnl_version_t* v = dnnl_version();
  return {{"onednn", fmt::format("{}.{}.{}", v->major, v->minor, v->patch)}};
}

std::string isa_name() { return has_avx512() ? "avx512_core" : "avx2"; }

}  // namespace atelier::model
