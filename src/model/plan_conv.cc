// SPDX-License-Identifier: Apache-2.0
// Convolutions of the plan: what is fused, where the padding comes from. Which way one in one group
// is computed by our kernels is decided in plan_ways.cc; groups are oneDNN's. A plan to obey may
// name either.
#include "model/plan_conv.h"

#include <algorithm>
#include <bit>

#include "model/dnnl_conv.h"

namespace atelier::model {

namespace k = kernels;

namespace {

double gflop_of(const Node& node, const Tensor& weights, const PictureShape& in,
                const PictureShape& out) {
  const PictureShape& each = node.op == "Conv" ? out : in;
  return 2e-9 * static_cast<double>(weights.count()) *
         static_cast<double>(each.height * each.width);
}

}  // namespace

k::ConvShape conv_shape(const Node& node, const Tensor& weights) {
  k::ConvShape s;
  s.transposed = node.op == "ConvTranspose";
  s.out_channels = static_cast<int>(weights.shape[s.transposed ? 1 : 0]);
  s.in_channels = static_cast<int>(weights.shape[s.transposed ? 0 : 1]);
  s.kernel_h = static_cast<int>(weights.shape[2]);
  s.kernel_w = static_cast<int>(weights.shape[3]);
  const auto strides = node.attr_ints("strides", {1, 1});
  const auto dilations = node.attr_ints("dilations", {1, 1});
  s.stride_h = static_cast<int>(strides[0]);
  s.stride_w = static_cast<int>(strides[1]);
  s.dilation_h = static_cast<int>(dilations[0]);
  s.dilation_w = static_cast<int>(dilations[1]);
  return s;
}

std::string cache_key(const Node& node, const Tensor& weights, const Tensor* bias, int enlarge) {
  uint64_t hash = 0xcbf29ce484222325U;  // FNV-1a
  const auto add = [&](const Tensor& tensor) {
    for (const float v : tensor.floats) {
      hash = (hash ^ std::bit_cast<uint32_t>(v)) * 0x100000001b3U;
    }
  };
  add(weights);
  if (bias != nullptr) add(*bias);
  return fmt::format("{} {:016x} {} x{}", node.name, hash, fmt::join(weights.shape, ","), enlarge);
}

Step conv_step(const Node& node, const std::string& label, const Tensor& weights,
               const PictureShape& in, const PictureShape& out) {
  Step step;
  step.label = {node.name, label, "direct", kOwnKernel};
  step.gflop = gflop_of(node, weights, in, out);
  return step;
}

std::string PlanBuilder::direct_key(const ConvJob& job) {
  return fmt::format("{} {} {}", cache_key(job.node, *job.weights, job.bias, job.enlarge),
                     job.pads.top, job.pads.left);
}

k::Halo halo_of(const k::DirectWeights& weights, const PictureShape& in, const PictureShape& out) {
  return k::direct_halo(weights, static_cast<int>(in.height), static_cast<int>(in.width),
                        static_cast<int>(out.height), static_cast<int>(out.width));
}

// A crop of a transposed convolution is more padding: what is cut off is never computed.
void PlanBuilder::absorb_crop(ConvJob& job) {
  while (job.node.op == "ConvTranspose") {
    const Node* next = only_reader(job.out);
    if (!next || next->op != "Slice") return;
    const SliceRange c = slice_range(graph(), *next, 1, job.out_shape.channels);
    const SliceRange y = slice_range(graph(), *next, 2, job.out_shape.height);
    const SliceRange x = slice_range(graph(), *next, 3, job.out_shape.width);
    if (c.count != job.out_shape.channels || y.step != 1 || x.step != 1) return;
    job.pads.top += y.start;
    job.pads.left += x.start;
    job.out_shape.height = y.count;
    job.out_shape.width = x.count;
    job.out = next->outputs[0];
    job.label += "+Slice";
    done(*next);
  }
}

void PlanBuilder::absorb_epilogue(ConvJob& job) {
  const Node* next = only_reader(job.out);
  if (next && next->op == "Add" && job.out_shape.channels >= k::kLanes) {
    const std::string& other = next->inputs[next->inputs[0] == job.out ? 1 : 0];
    if (other != job.out && computed(other)) {
      job.add = value_of(other);
      job.out = next->outputs[0];
      job.label += "+Add";
      done(*next);
      next = only_reader(job.out);
    }
  }
  if (next && (next->op == "Relu" || next->op == "Clip")) {
    if (next->op == "Relu") {
      job.low = 0;
    } else {
      if (const Tensor* low = constant(*next, 1)) job.low = low->floats[0];
      if (const Tensor* high = constant(*next, 2)) job.high = high->floats[0];
    }
    job.out = next->outputs[0];
    job.label += "+" + next->op;
    done(*next);
  }
}

Result<void> PlanBuilder::lower_conv(const Node& node, const Node* resize) {
  ConvJob job{node,
              resize ? resize->inputs[0] : node.inputs[0],
              node.outputs[0],
              resize ? "Resize+" + node.op : node.op,
              pads_of(node, shape(node.inputs[0])),
              shape(node.outputs[0]),
              constant(node, 1),
              constant(node, 2)};
  if (resize) job.enlarge = static_cast<int>(constant(*resize, 2)->floats[2]);
  const PlanStep* wanted = wanted_step(node);
  const bool own = !wanted || wanted->implementation.starts_with(kOwnPrefix);
  if (!own || !own_kernels_can(node)) {
    return lower_dnnl_conv(job, wanted ? wanted->implementation : "");
  }
  absorb_crop(job);
  absorb_epilogue(job);
  if (const auto narrow = narrow_of(node)) return lower_narrow(job, *narrow);
  return !resize && takes_winograd(node) ? lower_winograd(job) : lower_direct(job);
}

Result<void> PlanBuilder::lower_winograd(const ConvJob& job) {
  const k::ConvShape s = conv_shape(job.node, *job.weights);
  const PictureShape& in_shape = shape(job.in);
  const int pad_top = static_cast<int>(job.pads.top), pad_left = static_cast<int>(job.pads.left);
  auto& packed = weights_.winograd[cache_key(job.node, *job.weights, job.bias, job.enlarge)];
  if (!packed) {
    packed = std::make_shared<const k::WinogradWeights>(
        k::pack_winograd(job.weights->floats.data(), job.bias ? job.bias->floats.data() : nullptr,
                         s.out_channels, s.in_channels));
  }
  const k::Halo halo{pad_top, pad_left,
                     k::winograd_overhang(static_cast<int>(job.out_shape.height),
                                          static_cast<int>(in_shape.height), pad_top),
                     k::winograd_overhang(static_cast<int>(job.out_shape.width),
                                          static_cast<int>(in_shape.width), pad_left)};
  Step step = conv_step(job.node, job.label, *job.weights, in_shape, shape(job.node.outputs[0]));
  step.label.algorithm = kWayWinograd;
  const int in = with_halo(value_of(job.in), halo);
  const int out = add_value(job.out, job.out_shape);
  step.scratch_each = k::winograd_scratch(*packed);
  step.reads = {in};
  step.writes = out;
  const int sets = k::winograd_blocks(*packed, static_cast<int>(job.out_shape.height),
                                      static_cast<int>(job.out_shape.width));
  const int moments = add_moments(job.out, out, sets, step);
  step.observed = fits_bytes(job.node) ? in : -1;
  const int add = job.add;
  if (add >= 0) step.reads.push_back(add);
  step.run = [=, low = job.low, high = job.high,
              packed = packed](const StepContext& c) -> Result<void> {
    const k::TensorView other = add < 0 ? k::TensorView() : c.view(add);
    float* sets_of_out = moments < 0 ? nullptr : c.view(moments).data;
    k::conv_winograd(c.isa, c.view(in), pad_top, pad_left, *packed,
                     {add < 0 ? nullptr : &other, low, high, sets_of_out}, c.scratch, c.view(out),
                     c.threads);
    return {};
  };
  add_step(std::move(step));
  return {};
}

// What only a convolution in bytes reads is made in bytes alone; what others read, too, in both.
PlanBuilder::ConvOutput PlanBuilder::add_output(const ConvJob& job, const k::DirectWeights& weights,
                                                Step& step) {
  ConvOutput out;
  auto alone = wanted_in_bytes(job.out);
  if (!alone) alone = wanted_behind_pad(job.out);
  const auto wanted = alone ? alone : wanted_beside(job.out);
  const bool blocked = job.out_shape.channels >= k::kLanes;
  if (wanted && blocked) {
    out.quantization = *wanted;
    step.label.op += "+Quantize";
  }
  if (alone && blocked) {
    out.bytes = add_bytes(job.out, job.out_shape, *alone);
    step.writes = out.bytes;
  } else {
    out.floats = step.writes = add_value(job.out, job.out_shape);
    if (wanted && blocked) {
      out.bytes = beside_[out.floats] = step.writes_bytes =
          add_made(job.out + "/bytes", job.out_shape);
      make_bytes(out.bytes, *wanted);
    }
  }
  step.scratch_each =
      k::direct_scratch(weights, out.floats < 0 ? static_cast<int>(job.out_shape.width) : 0);
  return out;
}

// Without data if there are no floats.
k::TensorView PlanBuilder::float_view(const StepContext& c, const ConvOutput& out) {
  if (out.floats >= 0) return c.view(out.floats);
  k::TensorView view = c.view(out.bytes);
  view.data = nullptr;
  view.block = k::kLanes;
  return view;
}

// What a direct convolution does beside its products, in floats and in bytes: `convolve` is given
// the rest.
void PlanBuilder::add_direct(const ConvJob& job, const k::DirectWeights& layout, int in, Step step,
                             Convolve convolve) {
  const ConvOutput out = add_output(job, layout, step);
  step.reads = {in};
  const int moments =
      add_moments(job.out, step.writes, static_cast<int>(job.out_shape.height), step);
  const int add = job.add;
  if (add >= 0) step.reads.push_back(add);
  step.run = [=, low = job.low, high = job.high,
              convolve = std::move(convolve)](const StepContext& c) -> Result<void> {
    const k::TensorView other = add < 0 ? k::TensorView() : c.view(add);
    const k::ByteView bytes = out.bytes < 0 ? k::ByteView() : c.byte_view(out.bytes);
    convolve(c,
             {add < 0 ? nullptr : &other, low, high, moments < 0 ? nullptr : c.view(moments).data,
              out.bytes < 0 ? nullptr : &bytes, out.quantization},
             float_view(c, out));
    return {};
  };
  add_step(std::move(step));
}

Result<void> PlanBuilder::lower_direct(const ConvJob& job) {
  const std::shared_ptr<const k::DirectWeights> packed = direct_weights(job);
  const PictureShape& in_shape = shape(job.in);
  Step step = conv_step(job.node, job.label, *job.weights, in_shape, shape(job.node.outputs[0]));
  const int in = with_halo(value_of(job.in), halo_of(*packed, in_shape, job.out_shape));
  step.observed = fits_bytes(job.node) ? in : -1;
  add_direct(job, *packed, in, std::move(step),
             [=](const StepContext& c, const k::ConvEpilogue& epilogue, const k::TensorView& out) {
               k::conv_direct(c.isa, c.view(in), *packed, epilogue, c.scratch, out, c.threads);
             });
  return {};
}

// A convolution takes the moments of what it makes for the normalisation that alone reads it. They
// live from its step to that one's. The number of the value; -1: nobody wants them.
int PlanBuilder::add_moments(const std::string& name, int made, int sets, Step& step) {
  const Node* next = only_reader(name);
  const PictureShape& out = plan_.values[static_cast<size_t>(made)].shape;
  if (!next || next->op != "InstanceNormalization" || out.channels < k::kLanes) return -1;
  const int64_t floats = k::moments_floats(static_cast<int>(out.channels), k::kLanes, sets);
  const int moments = add_made(name + "/moments", {k::kLanes, floats / k::kLanes, 1});
  moments_[made] = {moments, sets};
  step.reads.push_back(moments);
  return moments;
}

k::DirectWeights PlanBuilder::pack(const ConvJob& job, int (*block)(int channels)) {
  k::ConvShape s = conv_shape(job.node, *job.weights);
  s.enlarge = job.enlarge;
  return k::pack_direct(s, job.weights->floats.data(), job.bias ? job.bias->floats.data() : nullptr,
                        static_cast<int>(job.pads.top), static_cast<int>(job.pads.left),
                        block(s.in_channels));
}

// Packed for this padding; kept for other sizes of frame.
std::shared_ptr<const k::DirectWeights> PlanBuilder::direct_weights(const ConvJob& job) {
  auto& packed = weights_.direct[direct_key(job)];
  if (!packed) {
    packed = std::make_shared<const k::DirectWeights>(pack(job, k::float_block));
  }
  return packed;
}

// oneDNN takes and gives dense pictures: the input is copied if it may have a halo, and so is the
// output.
Result<void> PlanBuilder::lower_dnnl_conv(const ConvJob& job, const std::string& implementation) {
  const DnnlConvSpec spec{&job.node, job.weights, job.bias, shape(job.in), job.out_shape, job.pads};
  std::shared_ptr<DnnlConv> layer = TRY(make_dnnl_conv(spec, implementation));
  const int in = copy_of(value_of(job.in), "/" + job.node.name + "/in");
  const int dense = add_made(job.out + "/dense", job.out_shape);
  Step step = conv_step(job.node, job.label, *job.weights, shape(job.in), job.out_shape);
  step.label.implementation = layer->implementation();
  step.reads = {in};
  step.writes = dense;
  step.scratch_shared = layer->scratch_floats();
  step.run = [=](const StepContext& c) -> Result<void> {
    return layer->run(c.view(in).data, c.view(dense).data, c.scratch);
  };
  add_step(std::move(step));
  const int out = copy_of(dense, "/out");
  by_name_[job.out] = out;
  return {};
}

}  // namespace atelier::model
