// SPDX-License-Identifier: Apache-2.0
// Convolutions in eight bits (kernels/gemm_int8.h) or in bfloat16 (kernels/gemm_bf16.h), and who
// makes the bytes that they read.
//
// The rule (plan_ways.cc): with AVX2, bytes go through twice as fast as floats, so what would be
// direct in floats is in bytes; 3x3 stays with Winograd in floats, which needs a quarter of the
// multiplications and so half the time of bytes. With VNNI bytes are four times as fast and all of
// them are in bytes. bfloat16 is for AMX alone, and gains everywhere there.
// Sums leave a convolution as floats: statistics and additions lose nothing. The step that makes
// its input (a normalisation with its ReLU, say) writes bytes itself: a quarter of the memory.
#include <algorithm>
#include <cmath>

#include "model/plan_conv.h"

namespace atelier::model {

namespace k = kernels;

namespace {

// Products an output below which making the bytes costs more than they save.
constexpr int64_t kLeastProducts = 64;

}  // namespace

bool PlanBuilder::fits_bytes(const Node& conv) const {
  if (!own_kernels_can(conv)) return false;
  const k::ConvShape s = conv_shape(conv, *constant(conv, 1));
  // A picture to a picture: unfolded, its segments are a pixel of one to eight bytes. Whether there
  // is anything to gain was never measured.
  if (s.in_channels < k::kLanes && s.out_channels < k::kLanes) return false;
  // Whole groups of channels and whole fours of taps are multiplied.
  const int64_t channels = (s.in_channels + k::kLanes - 1) / k::kLanes * k::kLanes;
  const int64_t most = channels * s.kernel_h * ((s.kernel_w + 3) / 4 * 4);
  return most <= k::kMostInt8Products &&
         static_cast<int64_t>(s.in_channels) * s.kernel_h * s.kernel_w >= kLeastProducts;
}

// Zero is one of the values: it is what lies around a picture. Where nothing but zeros was seen,
// bytes could hold nothing else.
std::optional<k::Quantization> PlanBuilder::quantization_of(const Node& conv) const {
  const auto found = options_.ranges.find(conv.name);
  if (found == options_.ranges.end()) return std::nullopt;
  const Range& range = found->second;
  const float low = std::min(range.low, 0.0f), high = std::max(range.high, 0.0f);
  const float scale = (high - low) / 255;
  if (!std::isfinite(scale) || scale < std::numeric_limits<float>::min()) return std::nullopt;
  return k::Quantization{scale, std::clamp(static_cast<int>(std::nearbyint(-low / scale)), 0, 255)};
}

std::optional<k::Quantization> PlanBuilder::wanted_in_bytes(const std::string& value) const {
  const Node* next = only_reader(value);
  if (next && next->op == "Resize") {
    const Node* resize = next;
    next = only_reader(resize->outputs[0]);
    if (!next || next->op != "Conv" || !takes_resize(*resize, *next)) return std::nullopt;
  }
  if (!next || (next->op != "Conv" && next->op != "ConvTranspose")) return std::nullopt;
  return narrow_of(*next);
}

std::optional<k::Quantization> PlanBuilder::wanted_behind_pad(const std::string& value) const {
  const Node* pad = only_reader(value);
  if (!pad || pad->op != "Pad" || pad->attr_string("mode", "constant") == "constant") {
    return std::nullopt;
  }
  return wanted_in_bytes(pad->outputs[0]);
}

std::optional<k::Quantization> PlanBuilder::wanted_beside(const std::string& value) const {
  const auto readers = readers_.find(value);
  if (readers == readers_.end() || only_reader(value)) return std::nullopt;
  for (const Node* reader : readers->second) {
    const bool convolves = reader->op == "Conv" || reader->op == "ConvTranspose";
    if (!convolves || !fast_.nodes.contains(reader) || reader->inputs[0] != value) continue;
    if (const auto narrow = narrow_of(*reader)) return narrow;
  }
  return std::nullopt;
}

void PlanBuilder::make_bytes(int value, const k::Quantization& quantization) {
  Value& v = plan_.values[static_cast<size_t>(value)];
  v.bytes = true;
  v.quantization = quantization;
  v.block = k::byte_block(static_cast<int>(v.shape.channels)) * quantization.bytes();
}

int PlanBuilder::add_bytes(const std::string& name, const PictureShape& shape,
                           const k::Quantization& quantization) {
  const int index = add_value(name, shape);
  make_bytes(index, quantization);
  return index;
}

// The value in bytes: its maker made them (finish_chain), or a step of their own does.
int PlanBuilder::in_bytes(const std::string& value, const k::Quantization& quantization) {
  const int made = value_of(value);
  const Value source = plan_.values[static_cast<size_t>(made)];
  if (source.bytes) return made;
  const auto beside = beside_.find(made);
  if (beside != beside_.end() &&
      plan_.values[static_cast<size_t>(beside->second)].quantization == quantization) {
    return beside->second;
  }
  const int to = add_made(source.name + "/bytes", source.shape);
  make_bytes(to, quantization);
  Step step;
  step.label = {source.name + "/bytes", "Quantize", "own", kOwnKernel};
  step.reads = {made};
  step.writes = to;
  step.run = [=](const StepContext& c) -> Result<void> {
    k::run_program({}, {}, c.view(made), {c.byte_view(to), quantization}, c.threads);
    return {};
  };
  note_entry(value, to, {});
  add_step(std::move(step));
  return to;
}

Result<void> PlanBuilder::lower_narrow(const ConvJob& job, const k::Quantization& quantization) {
  auto& packed = weights_.narrow[fmt::format("{} {} {} {}", direct_key(job), quantization.scale,
                                             quantization.zero_point, quantization.bytes())];
  if (!packed) {
    packed = std::make_shared<const k::NarrowWeights>(
        k::narrow_direct(options_.isa, pack(job, k::byte_block), quantization));
  }
  const PictureShape& in_shape = shape(job.in);
  const k::Halo halo = halo_of(packed->layout, in_shape, job.out_shape);
  const int in = with_halo(in_bytes(job.in, quantization), halo);
  Step step = conv_step(job.node, job.label, *job.weights, in_shape, shape(job.node.outputs[0]));
  step.label.algorithm = quantization.bf16 ? kBf16Algorithm : kInt8Algorithm;
  const int channels = packed->layout.shape.in_channels;
  step.label.implementation = quantization.bf16                      ? kBf16Kernel
                              : channels > 1 && channels < k::kLanes ? kInt8PictureKernel
                                                                     : kInt8Kernel;
  add_direct(job, packed->layout, in, std::move(step),
             [=, packed = packed](const StepContext& c, const k::ConvEpilogue& epilogue,
                                  const k::TensorView& out) {
               k::conv_direct(c.isa, c.byte_view(in), *packed, epilogue, c.scratch, out, c.threads);
             });
  return {};
}

}  // namespace atelier::model
