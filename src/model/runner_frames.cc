// SPDX-License-Identifier: Apache-2.0
// Frames into a network and its picture out of it.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "model/onednn_runner.h"

namespace atelier::model {
namespace {

const ValueInfo* find(const std::vector<ValueInfo>& values, const std::string& name) {
  const auto it = std::find_if(values.begin(), values.end(),
                               [&](const ValueInfo& v) { return v.name == name; });
  return it == values.end() ? nullptr : &*it;
}

Result<void> check_out(const FrameGeometry& g, const FrameView& out) {
  if (out.width == g.out.width && out.height == g.out.height) return {};
  return make_error(Code::internal, "The frame for the result is {}x{} instead of {}x{}.",
                    out.width, out.height, g.out.width, g.out.height);
}

}  // namespace

Result<Size> OnednnRunner::output_size(Size input) { return TRY(geometry(input)).out; }

Result<void> OnednnRunner::score(const FrameView& in, FrameView& out) {
  const Way& way = *TRY(this->way({in.width, in.height}));
  const FrameGeometry& g = way.geometry;
  TRY(check_out(g, out));
  Loaded* loaded = TRY(load_image(way.planned));
  omp_set_num_threads(team());
  const StepContext context = TRY(make_context(loaded->plan));
  const ColorSpec color = resolve_color(out.color, in.width, in.height, out.format);
  if (!g.direct || spec_.luma) return score_fitted(in, way, *loaded, context, color, out);
  if (way.tiles) return score_tiles(in, way, *loaded, context, color, out);
  return score_direct(in, g, *loaded, context, out);
}

Result<void> OnednnRunner::score_direct(const FrameView& in, const FrameGeometry& g, Loaded& loaded,
                                        const StepContext& context, FrameView& out) {
  TRY(check_out(g, out));
  const ColorSpec color = resolve_color(out.color, in.width, in.height, out.format);
  TRY(run_frame(in, loaded, context));
  return planes_to_frame(TRY(made_image(loaded, context)), spec_, color, out);
}

const std::string& OnednnRunner::input_name() const {
  return spec_.input.empty() ? graph_.inputs[0].name : spec_.input;
}

const std::string& OnednnRunner::output_name() const {
  return spec_.output.empty() ? graph_.outputs[0].name : spec_.output;
}

const std::vector<int64_t>& OnednnRunner::declared() const {
  return find(graph_.inputs, input_name())->shape;
}

int64_t OnednnRunner::declared_batch() const { return std::max<int64_t>(1, declared()[0]); }

TypeMap OnednnRunner::image_types(Size net, int64_t batch) const {
  const int64_t channels = declared()[1] < 1 ? (spec_.luma ? 1 : 3) : declared()[1];
  const ElementType type = find(graph_.inputs, input_name())->type;
  return {{input_name(), {type, {batch, channels, net.height, net.width}}}};
}

Result<void> OnednnRunner::check_image() const {
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

Result<FrameGeometry> OnednnRunner::geometry(Size input) {
  if (geometry_ && geometry_for_ == input) return *geometry_;
  TRY(check_image());
  geometry_ = TRY(frame_geometry(spec_, declared(), input, [&](Size net) -> Result<TensorType> {
    const ConcreteGraph concrete = TRY(specialise(graph_, image_types(net, declared_batch())));
    return concrete.types.at(output_name());
  }));
  geometry_for_ = input;
  return *geometry_;
}

PlanesView OnednnRunner::open_image(Loaded& loaded, const StepContext& context) {
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

namespace {

// The conversion for a network whose first step `entry` is.
ModelSpec with_entry(ModelSpec spec, const Entry& entry) {
  for (size_t c = 0; c < std::min<size_t>(entry.scale.size(), 3); c++) {
    spec.mean[c] -= entry.shift[c] / (spec.scale[c] * entry.scale[c]);
    spec.scale[c] *= entry.scale[c];
  }
  return spec;
}

}  // namespace

Result<void> OnednnRunner::run_frame(const FrameView& in, Loaded& loaded,
                                     const StepContext& context) {
  const auto found = loaded.plan.entries.find(input_name());
  const bool plain = found == loaded.plan.entries.end() ||
                     std::any_of(spec_.scale.begin(), spec_.scale.end(),
                                 [](float scale) { return !std::isnormal(scale); });
  if (plain) {
    TRY(frame_to_planes(in, spec_, open_image(loaded, context)));
    repeat_image(loaded);
    return execute(loaded.plan, context);
  }
  const Entry& entry = found->second;
  const ModelSpec spec = with_entry(spec_, entry);
  const Value& value = loaded.plan.values[static_cast<size_t>(entry.value)];
  if (value.bytes && value.quantization.bf16) {
    const kernels::ByteView v = context.byte_view(entry.value);
    const HalfPlanesView planes{reinterpret_cast<uint16_t*>(v.data),
                                v.channels,
                                v.width,
                                v.height,
                                v.row / 2,
                                1,
                                v.block / 2};
    TRY(frame_to_halves(in, spec, planes));
  } else if (value.bytes) {
    const kernels::ByteView v = context.byte_view(entry.value);
    const BytePlanesView planes{v.data, v.channels, v.width, v.height, v.row, 1, v.block};
    TRY(frame_to_bytes(in, spec, value.quantization, planes));
  } else {
    const kernels::TensorView v = context.view(entry.value);
    TRY(frame_to_planes(in, spec, {v.data, v.channels, v.width, v.height, v.row, v.plane}));
  }
  return execute(loaded.plan, context, entry.step);
}

void OnednnRunner::repeat_image(const Loaded& loaded) {
  const auto slot = loaded.plan.plain_inputs.find(input_name());
  if (slot == loaded.plan.plain_inputs.end()) return;
  Tensor& tensor = plain_[static_cast<size_t>(slot->second)];
  const auto each = static_cast<ptrdiff_t>(tensor.count() / tensor.shape[0]);
  for (int64_t n = 1; n < tensor.shape[0]; n++) {
    std::copy_n(tensor.floats.begin(), each, tensor.floats.begin() + n * each);
  }
}

Result<ConstPlanesView> OnednnRunner::made_image(const Loaded& loaded,
                                                 const StepContext& context) const {
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

// The network over planes that are as large as it takes them; in tiles, where a frame goes in them.
Result<void> OnednnRunner::run_planes(const Way& way, Loaded& loaded, const StepContext& context,
                                      const Planes& in, Planes& out) {
  const TileAxis rows = way.tiles ? way.tiles->y : TileAxis{in.height(), {0}, {0, out.height()}};
  const TileAxis columns = way.tiles ? way.tiles->x : TileAxis{in.width(), {0}, {0, out.width()}};
  const int factor = way.geometry.fit.factor;
  for (size_t j = 0; j < rows.starts.size(); j++) {
    for (size_t i = 0; i < columns.starts.size(); i++) {
      const PlanesView target = open_image(loaded, context);
      for (int c = 0; c < in.channels(); c++)
        for (int y = 0; y < rows.length; y++)
          std::copy_n(in.row(c, rows.starts[j] + y) + columns.starts[i], columns.length,
                      target.data + c * target.plane_stride + y * target.row_stride);
      repeat_image(loaded);
      TRY(execute(loaded.plan, context));
      const ConstPlanesView made = TRY(made_image(loaded, context));
      const int top = factor * rows.starts[j], left = factor * columns.starts[i];
      const int first = columns.cuts[i], count = columns.cuts[i + 1] - first;
      if (made.channels != out.channels() || made.width < columns.cuts[i + 1] - left ||
          made.height < rows.cuts[j + 1] - top) {
        return make_error(Code::internal, "Model '{}' made a picture of another size than planned.",
                          spec_.name);
      }
      for (int c = 0; c < out.channels(); c++)
        for (int y = rows.cuts[j]; y < rows.cuts[j + 1]; y++)
          std::copy_n(
              made.data + c * made.plane_stride + (y - top) * made.row_stride + (first - left),
              count, out.row(c, y) + first);
    }
  }
  return {};
}

// Frames that the network does not take as they are: see frame_fit.h.
Result<void> OnednnRunner::score_fitted(const FrameView& in, const Way& way, Loaded& loaded,
                                        const StepContext& context, const ColorSpec& color,
                                        FrameView& out) {
  const FrameGeometry& g = way.geometry;
  const NetFunction net = [&](const Planes& given, Planes& made) {
    return run_planes(way, loaded, context, given, made);
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

void OnednnRunner::fill_test_image(Loaded& loaded, const StepContext& context) {
  const PlanesView image = open_image(loaded, context);
  for (int c = 0; c < image.channels; c++)
    for (int y = 0; y < image.height; y++)
      for (int x = 0; x < image.width; x++)
        image.data[c * image.plane_stride + y * image.row_stride + x] =
            static_cast<float>((c * 50 + y * 3 + x * 7) % 256);
  repeat_image(loaded);
}

}  // namespace atelier::model
