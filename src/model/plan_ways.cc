// SPDX-License-Identifier: Apache-2.0
// Which way each convolution is computed: what was measured, else the rule.
//
// The rule: 3x3 with stride 1 and enough channels goes through Winograd; after an enlargement only
// with many, since the enlargement taken in saves nearly as much; everything else is direct. In
// eight bits with AVX2, what would be direct; with VNNI or AMX everything. In bfloat16 everything,
// with AMX. Winograd is there only
// where its error on the layer's own weights is small (winograd_check.h).
#include <algorithm>

#include "model/plan_conv.h"
#include "model/winograd_check.h"

namespace atelier::model {

namespace k = kernels;

namespace {

// Below this the transforms cost more than the products they save.
constexpr int kWinogradChannels = 12;
constexpr int kWinogradEnlarged = 64;
// Each phase has weights of its own: absurd strides would make millions of them.
constexpr int kMostPhases = 64;

const char* name_of(k::Isa isa) {
  switch (isa) {
    case k::Isa::avx512_amx: return "avx512_amx";
    case k::Isa::avx512_vnni: return "avx512_vnni";
    case k::Isa::avx512: return "avx512";
    case k::Isa::avx2: break;
  }
  return "avx2";
}

}  // namespace

bool winograd_can(const k::ConvShape& s) {
  return !s.transposed && s.kernel_h == 3 && s.kernel_w == 3 && s.stride_h == 1 &&
         s.stride_w == 1 && s.dilation_h == 1 && s.dilation_w == 1 && s.in_channels >= k::kLanes &&
         s.out_channels >= k::kLanes;
}

bool PlanBuilder::own_kernels_can(const Node& conv) const {
  const Tensor* weights = constant(conv, 1);
  if (!weights || conv.attr_int("group", 1) != 1) return false;
  const k::ConvShape s = conv_shape(conv, *weights);
  return !s.transposed || s.stride_h * s.stride_w <= kMostPhases;
}

bool PlanBuilder::could_take(const Node& resize, const Node& conv) const {
  const k::ConvShape s = conv_shape(conv, *constant(conv, 1));
  const auto& scales = constant(resize, 2)->floats;
  return conv.op == "Conv" && conv.attr_int("group", 1) == 1 && scales[2] == scales[3] &&
         scales[2] >= 2 && scales[2] <= 4 && s.stride_h == 1 && s.stride_w == 1 &&
         s.out_channels >= k::kLanes;
}

const Node* PlanBuilder::enlargement_before(const Node& conv) const {
  const auto maker = makers_.find(conv.inputs[0]);
  if (maker == makers_.end() || maker->second->op != "Resize" ||
      !fast_.nodes.contains(maker->second) || only_reader(conv.inputs[0]) != &conv) {
    return nullptr;
  }
  return could_take(*maker->second, conv) ? maker->second : nullptr;
}

// Checked once for these weights, whatever the sizes of frames.
bool PlanBuilder::winograd_admitted(const Node& conv) const {
  const Tensor& weights = *constant(conv, 1);
  const k::ConvShape s = conv_shape(conv, weights);
  if (!winograd_can(s)) return false;
  const std::string key = cache_key(conv, weights, nullptr, 1);
  const auto found = weights_.winograd_admitted.find(key);
  if (found != weights_.winograd_admitted.end()) return found->second;
  const double error =
      winograd_error(options_.isa, weights.floats.data(), s.out_channels, s.in_channels);
  return weights_.winograd_admitted[key] = error <= kMostWinogradError;
}

// All that there are in floats, the one by rule first.
std::vector<std::string> PlanBuilder::float_ways(const Node& conv, const Node* resize) const {
  const k::ConvShape s = conv_shape(conv, *constant(conv, 1));
  const int channels = std::min(s.in_channels, s.out_channels);
  const bool winograd = winograd_admitted(conv);
  if (resize) {
    if (!winograd) return {kWayEnlarged, kWayDirect};
    if (channels < kWinogradEnlarged) return {kWayEnlarged, kWayWinograd};
    return {kWayWinograd, kWayEnlarged};
  }
  if (!winograd) return {kWayDirect};
  if (channels < kWinogradChannels) return {kWayDirect, kWayWinograd};
  return {kWayWinograd, kWayDirect};
}

std::string PlanBuilder::key_of(const Node& conv, const Node* resize, Precision precision,
                                const std::vector<std::string>& ways) const {
  const k::ConvShape s = conv_shape(conv, *constant(conv, 1));
  const PictureShape& in = shape(conv.inputs[0]);
  const PictureShape& out = shape(conv.outputs[0]);
  const Pads pads = pads_of(conv, in);
  const auto maker = makers_.find(resize ? resize->inputs[0] : conv.inputs[0]);
  const Node* reader = only_reader(conv.outputs[0]);
  const std::string before = maker == makers_.end()                ? "input"
                             : fast_.nodes.contains(maker->second) ? maker->second->op
                                                                   : "plain";
  std::vector<std::string> sorted = ways;
  std::sort(sorted.begin(), sorted.end());
  return fmt::format(
      "{} t{} {} {} {}-{} k{}x{} s{}x{} d{}x{} p{},{} e{} {}x{}-{}x{} {}>{} {}",
      name_of(options_.isa), options_.threads, model::name_of(precision), conv.op, s.in_channels,
      s.out_channels, s.kernel_h, s.kernel_w, s.stride_h, s.stride_w, s.dilation_h, s.dilation_w,
      pads.top, pads.left, resize ? constant(*resize, 2)->floats[2] : 1.0F, in.width, in.height,
      out.width, out.height, before, reader ? reader->op : "-", fmt::join(sorted, "|"));
}

// Of the ways, of which the first is by rule.
std::string PlanBuilder::chosen(const Node& conv, const std::string& key,
                                const std::vector<std::string>& ways) const {
  const auto there = [&](const Choices& choices, const std::string& name) {
    const auto found = choices.find(name);
    const bool known =
        found != choices.end() && std::find(ways.begin(), ways.end(), found->second) != ways.end();
    return known ? std::optional(found->second) : std::nullopt;
  };
  if (const auto forced = there(options_.forced, conv.name)) return *forced;
  return there(options_.choices, key).value_or(ways.front());
}

// In eight bits there are two ways: the best in floats, and bytes; likewise in bfloat16. What has
// no range is as wide as it may be.
void PlanBuilder::choose_way(const Node& conv) {
  const Node* resize = enlargement_before(conv);
  PlanLayer layer{conv.name, "", float_ways(conv, resize), ""};
  layer.key = key_of(conv, resize, Precision::f32, layer.ways);
  layer.way = chosen(conv, layer.key, layer.ways);
  const bool narrow = fits_bytes(conv) && !options_.in_f32.contains(conv.name);
  if (narrow && options_.precision == Precision::int8 && quantization_of(conv)) {
    const std::string bytes = resize ? kWayEnlargedInt8 : kWayInt8;
    const bool by_rule = options_.isa >= k::Isa::avx512_vnni || layer.ways.front() != kWayWinograd;
    layer.ways = by_rule ? std::vector{bytes, layer.way} : std::vector{layer.way, bytes};
    layer.key = key_of(conv, resize, Precision::int8, layer.ways);
    layer.way = chosen(conv, layer.key, layer.ways);
  } else if (narrow &&
             (options_.precision == Precision::bf16 || options_.wide == Precision::bf16)) {
    const std::string half = resize ? kWayEnlargedBf16 : kWayBf16;
    const bool by_rule = options_.isa == k::Isa::avx512_amx;
    layer.ways = by_rule ? std::vector{half, layer.way} : std::vector{layer.way, half};
    layer.key = key_of(conv, resize, Precision::bf16, layer.ways);
    layer.way = chosen(conv, layer.key, layer.ways);
  }
  ways_[&conv] = layer.way;
  plan_.layers.push_back(std::move(layer));
}

void PlanBuilder::choose_ways() {
  if (!wanted_.empty()) return;
  for (const Node& node : graph().nodes) {
    const bool convolves = node.op == "Conv" || node.op == "ConvTranspose";
    if (convolves && fast_.nodes.contains(&node) && own_kernels_can(node)) choose_way(node);
  }
}

bool PlanBuilder::takes_resize(const Node& resize, const Node& conv) const {
  if (!could_take(resize, conv)) return false;
  if (const PlanStep* wanted = wanted_step(conv)) {
    return wanted->op.starts_with("Resize+") && wanted->implementation.starts_with(kOwnPrefix);
  }
  return way_of(conv).starts_with("resize+");
}

std::optional<k::Quantization> PlanBuilder::narrow_of(const Node& conv) const {
  if (!fits_bytes(conv)) return std::nullopt;
  const PlanStep* wanted = wanted_.empty() ? nullptr : wanted_step(conv);
  const std::string way = wanted ? wanted->algorithm : wanted_.empty() ? way_of(conv) : "";
  if (way.ends_with(kWayInt8)) return quantization_of(conv);
  return way.ends_with(kWayBf16) ? std::optional(k::kBf16) : std::nullopt;
}

bool PlanBuilder::takes_winograd(const Node& conv) const {
  const PlanStep* wanted = wanted_step(conv);
  if (!wanted) return way_of(conv) == kWayWinograd;
  return winograd_can(conv_shape(conv, *constant(conv, 1))) && wanted->algorithm == kWayWinograd;
}

std::string PlanBuilder::way_of(const Node& conv) const {
  const auto found = ways_.find(&conv);
  return found == ways_.end() ? kWayDirect : found->second;
}

}  // namespace atelier::model
