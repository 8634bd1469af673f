// SPDX-License-Identifier: Apache-2.0
// Pixel-by-pixel steps of the plan: chains of arithmetic and activations become one program (see
// kernels/pointwise.h), after a normalisation or alone, in place where nobody else reads the input.
#include <algorithm>
#include <cmath>

#include "model/plan_build.h"

namespace atelier::model {

namespace k = kernels;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

k::PointOp linear(int64_t channels, float scale, float shift) {
  k::PointOp op;
  const size_t lanes = static_cast<size_t>((channels + k::kLanes - 1) / k::kLanes * k::kLanes);
  op.scale.assign(lanes, scale);
  op.shift.assign(lanes, shift);
  op.low = -kInfinity;
  op.high = kInfinity;
  return op;
}

bool unbounded(const k::PointOp& op) { return op.low == -kInfinity && op.high == kInfinity; }

// min(max(x, low), high) after what the chain does.
void bound(std::vector<k::PointOp>& ops, int64_t channels, float low, float high) {
  if (ops.empty() || ops.back().kind != k::PointOp::Kind::linear) {
    ops.push_back(linear(channels, 1, 0));
  }
  k::PointOp& op = ops.back();
  op.low = std::min(std::max(op.low, low), high);
  op.high = std::min(std::max(op.high, low), high);
}

// The constant as one number a channel; empty if it varies over pixels.
std::vector<float> per_channel(const Tensor& tensor, int64_t channels) {
  const size_t rank = tensor.shape.size();
  for (size_t i = 0; i < rank; i++) {
    const bool is_channel = rank >= 3 && i == rank - 3;
    if (!is_channel && tensor.shape[i] != 1) return {};
  }
  std::vector<float> values(static_cast<size_t>(channels));
  for (size_t c = 0; c < values.size(); c++)
    values[c] = tensor.floats[tensor.floats.size() == 1 ? 0 : c];
  return values;
}

// x * scale + shift after what the chain does; merged into its last operation where that has
// nothing after its own.
void affine(std::vector<k::PointOp>& ops, int64_t channels, const std::vector<float>& scale,
            const std::vector<float>& shift) {
  const bool merges = !ops.empty() && ops.back().kind == k::PointOp::Kind::linear &&
                      ops.back().other < 0 && unbounded(ops.back()) && !ops.back().scale.empty();
  if (!merges) ops.push_back(linear(channels, 1, 0));
  k::PointOp& op = ops.back();
  for (size_t c = 0; c < scale.size(); c++) {
    op.scale[c] *= scale[c];
    op.shift[c] = op.shift[c] * scale[c] + shift[c];
  }
}

}  // namespace

bool PlanBuilder::absorb_binary(Chain& chain, const Node& node) {
  using Kind = k::PointOp::Kind;
  const int64_t channels = shape(node.outputs[0]).channels;
  const bool left = node.inputs[0] == chain.value;  // the chain is the left operand
  const std::string& other = node.inputs[left ? 1 : 0];
  if (const Tensor* fixed = constant(node, left ? 1 : 0)) {
    std::vector<float> values = per_channel(*fixed, channels);
    if (!values.empty()) {
      const std::vector<float> one(values.size(), 1), zero(values.size(), 0);
      if (node.op == "Add") {
        affine(chain.ops, channels, one, values);
      } else if (node.op == "Mul") {
        affine(chain.ops, channels, values, zero);
      } else if (node.op == "Sub") {
        if (left) {
          for (float& v : values) v = -v;
          affine(chain.ops, channels, one, values);
        } else {
          affine(chain.ops, channels, std::vector<float>(values.size(), -1), values);
        }
      } else if (left) {
        for (float& v : values) v = 1 / v;
        affine(chain.ops, channels, values, zero);
      } else {
        k::PointOp op = linear(channels, 1, 0);
        op.kind = Kind::divide_from;
        std::copy(values.begin(), values.end(), op.shift.begin());
        chain.ops.push_back(std::move(op));
      }
      return true;
    }
  }
  if (!computed(other)) return false;
  const int operand = static_cast<int>(chain.others.size());
  const bool adds = !chain.ops.empty() && chain.ops.back().kind == Kind::linear &&
                    chain.ops.back().other < 0 && unbounded(chain.ops.back());
  if (node.op == "Add" && adds) {
    chain.ops.back().other = operand;
  } else {
    k::PointOp op = linear(channels, 1, 0);
    op.other = operand;
    if (node.op == "Sub") op.kind = left ? Kind::subtract : Kind::subtract_from;
    if (node.op == "Mul") op.kind = Kind::multiply;
    if (node.op == "Div") op.kind = left ? Kind::divide : Kind::divide_from;
    chain.ops.push_back(std::move(op));
  }
  chain.others.push_back(value_of(other));
  return true;
}

bool PlanBuilder::absorb_point(Chain& chain, const Node& node) {
  const int64_t channels = shape(node.outputs[0]).channels;
  if (node.op == "Relu") {
    bound(chain.ops, channels, 0, kInfinity);
  } else if (node.op == "Clip") {
    const Tensor* low = constant(node, 1);
    const Tensor* high = constant(node, 2);
    bound(chain.ops, channels, low ? low->floats[0] : -kInfinity,
          high ? high->floats[0] : kInfinity);
  } else if (node.op == "Tanh") {
    k::PointOp op;
    op.kind = k::PointOp::Kind::tanh;
    chain.ops.push_back(std::move(op));
  } else if (node.op == "Add" || node.op == "Sub" || node.op == "Mul" || node.op == "Div") {
    if (!absorb_binary(chain, node)) return false;
  } else {
    return false;
  }
  chain.value = node.outputs[0];
  chain.label += (chain.label.empty() ? "" : "+") + node.op;
  done(node);
  return true;
}

void PlanBuilder::absorb_all(Chain& chain) {
  while (const Node* next = only_reader(chain.value)) {
    if (!absorb_point(chain, *next)) return;
  }
}

// As far as one value is enough.
void PlanBuilder::absorb_alone(Chain& chain) {
  while (const Node* next = only_reader(chain.value)) {
    const bool binary =
        next->op == "Add" || next->op == "Sub" || next->op == "Mul" || next->op == "Div";
    const Tensor* fixed =
        binary ? constant(*next, next->inputs[0] == chain.value ? 1 : 0) : nullptr;
    if (binary && (!fixed || per_channel(*fixed, shape(next->outputs[0]).channels).empty())) return;
    if (!absorb_point(chain, *next)) return;
  }
}

void PlanBuilder::note_entry(const std::string& input, int value,
                             const std::vector<k::PointOp>& ops) {
  const auto found = plan_.inputs.find(input);
  if (found == plan_.inputs.end() || !only_reader(input) || ops.size() > 1) return;
  Entry entry{static_cast<int>(plan_.steps.size()), value, {}, {}};
  if (!ops.empty()) {
    const k::PointOp& op = ops[0];
    if (op.kind != k::PointOp::Kind::linear || !unbounded(op)) return;
    const auto channels = static_cast<ptrdiff_t>(shape(input).channels);
    entry.scale.assign(op.scale.begin(), op.scale.begin() + channels);
    entry.shift.assign(op.shift.begin(), op.shift.begin() + channels);
    const auto usual = [](float v) { return std::isnormal(v) && std::abs(v) < 1e6F; };
    const auto finite = [](float v) { return std::abs(v) < 1e6F; };
    if (!std::all_of(entry.scale.begin(), entry.scale.end(), usual) ||
        !std::all_of(entry.shift.begin(), entry.shift.end(), finite)) {
      return;
    }
  }
  plan_.entries[input] = std::move(entry);
}

Result<void> PlanBuilder::lower_point(const Node& node) {
  Chain chain;
  const bool left = !graph().initializers.contains(node.inputs[0]);
  chain.value = node.inputs[left ? 0 : 1];
  // A constant that varies over pixels becomes a value of its own: of this chain alone, because
  // other chains may spread it over other channels.
  std::vector<std::string> spread;
  for (size_t i = 0; i < node.inputs.size() && i < 2 && node.op != "Clip"; i++) {
    if (!constant(node, i)) continue;
    const std::shared_ptr<const Tensor> fixed = kept_constant(node.inputs[i]);
    const PictureShape out = shape(node.outputs[0]);
    if (!per_channel(*fixed, out.channels).empty()) continue;
    const std::string name = node.name + "/constant";
    const int to = add_made(name, out);
    by_name_[node.inputs[i]] = to;
    spread.push_back(node.inputs[i]);
    Step step;
    step.label = {name, "Constant", "own", kOwnKernel};
    step.writes = to;
    step.run = [to, fixed](const StepContext& c) -> Result<void> {
      const k::TensorView view = c.view(to);
      int64_t full[4] = {1, 1, 1, 1};
      const size_t rank = fixed->shape.size();
      for (size_t d = 0; d < rank; d++) full[4 - rank + d] = fixed->shape[d];
      for (int ch = 0; ch < view.groups() * view.block; ch++) {
        for (int y = 0; y < view.height; y++) {
          for (int x = 0; x < view.width; x++) {
            const int64_t at =
                ((full[1] == 1 ? 0 : ch) * full[2] + (full[2] == 1 ? 0 : y)) * full[3] +
                (full[3] == 1 ? 0 : x);
            view.at(ch / view.block, y, x)[ch % view.block] =
                ch < view.channels ? fixed->floats[static_cast<size_t>(at)] : 0.0f;
          }
        }
      }
      return {};
    };
    add_step(std::move(step));
  }
  if (!absorb_point(chain, node)) {
    return make_error(Code::internal, "No kernel for {}.", describe(node));
  }
  absorb_all(chain);
  for (const std::string& constant : spread) by_name_.erase(constant);
  return finish_chain(node, std::move(chain), nullptr);
}

Result<void> PlanBuilder::lower_norm(const Node& node) {
  auto norm = std::make_shared<k::Norm>();
  norm->gamma = constant(node, 1)->floats;
  norm->beta = constant(node, 2)->floats;
  norm->epsilon = node.attr_float("epsilon", 1e-5f);
  Chain chain;
  chain.value = node.outputs[0];
  chain.label = node.op;
  k::PointOp first = linear(shape(node.inputs[0]).channels, 1, 0);
  first.scale.clear();
  first.shift.clear();
  chain.ops.push_back(std::move(first));
  done(node);
  absorb_all(chain);
  return finish_chain(node, std::move(chain), norm);
}

Result<void> PlanBuilder::finish_chain(const Node& node, Chain chain,
                                       std::shared_ptr<const k::Norm> norm) {
  const bool left = !graph().initializers.contains(node.inputs[0]);
  const std::string& in_name = node.inputs[norm || left ? 0 : 1];
  const int in = value_of(in_name);
  const Value source = plan_.values[static_cast<size_t>(in)];
  bool in_place = !source.view && only_reader(in_name) && !plan_.inputs.contains(in_name);
  for (int other : chain.others)
    in_place = in_place && plan_.values[static_cast<size_t>(other)].root != source.root;
  const PictureShape out_shape = shape(chain.value);
  auto alone = wanted_in_bytes(chain.value);
  // Before it is enlarged: a quarter of the memory to fill and to pad.
  if (!alone && !norm) alone = wanted_behind_pad(chain.value);
  const auto bytes = alone ? alone : wanted_beside(chain.value);
  if (bytes) chain.label += "+Quantize";
  in_place = in_place && !alone;
  const int out = alone      ? add_bytes(chain.value, out_shape, *alone)
                  : in_place ? add_alias(chain.value, out_shape, source.root)
                             : add_value(chain.value, out_shape);
  int beside = -1;
  if (bytes && !alone) {
    beside = beside_[out] = add_made(chain.value + "/bytes", out_shape);
    make_bytes(beside, *bytes);
  }
  Step step;
  step.label = {node.name, chain.label, "own", kOwnKernel};
  step.reads = chain.others;
  step.reads.push_back(in);
  const auto taken = moments_.find(in);
  const bool given = norm && taken != moments_.end();
  const int moments = given ? taken->second.value : -1, sets = given ? taken->second.sets : 0;
  if (moments >= 0) step.reads.push_back(moments);
  step.writes = out;
  step.writes_bytes = beside;
  step.in_place = in_place;
  step.gflop = 1e-9 * static_cast<double>(out_shape.count()) *
               static_cast<double>(2 * chain.ops.size() + (norm ? 4 : 0));
  if (norm) {
    step.normalised = in;
    step.scratch_shared = k::norm_scratch(static_cast<int>(out_shape.channels), source.block,
                                          static_cast<int>(out_shape.height));
  }
  if (!norm && chain.others.empty() && beside < 0) note_entry(in_name, out, chain.ops);
  step.run = [=, ops = std::move(chain.ops),
              others = std::move(chain.others)](const StepContext& c) -> Result<void> {
    std::vector<k::TensorView> views;
    for (int other : others) views.push_back(c.view(other));
    const k::PointOutput to = alone   ? k::PointOutput(c.byte_view(out), *bytes)
                              : bytes ? k::PointOutput(c.view(out), c.byte_view(beside), *bytes)
                                      : k::PointOutput(c.view(out));
    const k::MomentsView statistics{moments < 0 ? nullptr : c.view(moments).data, sets};
    if (norm) {
      k::run_norm(*norm, ops, views, c.view(in), statistics, c.scratch, to, c.threads);
    } else {
      k::run_program(ops, views, c.view(in), to, c.threads);
    }
    return {};
  };
  add_step(std::move(step));
  return {};
}

}  // namespace atelier::model
