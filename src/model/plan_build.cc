// SPDX-License-Identifier: Apache-2.0
// Walks the graph once, in its order. Each node that no earlier step took in becomes a step, which
// takes in what follows it as far as it can (bias, additions, ReLU, cropping). All rules look at
// the graph, the sizes and the instruction set alone; what was measured on a machine comes in as
// PlanOptions::choices.
#include "model/plan_build.h"

#include <algorithm>

#include "model/kernels/shuffle.h"

namespace atelier::model {

namespace k = kernels;

Result<NetPlan> PlanBuilder::build() {
  for (const Node& node : graph().nodes) {
    for (const std::string& input : node.inputs) readers_[input].push_back(&node);
    for (const std::string& output : node.outputs) makers_[output] = &node;
  }
  for (const ValueInfo& output : graph().outputs) outputs_.insert(output.name);
  add_inputs();
  choose_ways();
  for (const Node& node : graph().nodes) {
    if (!done_.contains(&node)) TRY(lower(node));
  }
  set_outputs();
  TRY(check_wanted());
  mark_first();
  set_lifetimes();
  set_plain_lifetimes();
  place_values(plan_);
  return std::move(plan_);
}

void PlanBuilder::add_inputs() {
  for (const ValueInfo& input : graph().inputs) {
    const auto picture = fast_.shapes.find(input.name);
    if (picture != fast_.shapes.end()) {
      plan_.inputs[input.name] = add_value(input.name, picture->second);
    } else {
      plan_.plain_inputs[input.name] = add_plain(input.name);
    }
  }
}

void PlanBuilder::set_outputs() {
  for (const ValueInfo& output : graph().outputs) {
    const std::string& name = output.name;
    if (const auto constant = graph().initializers.find(name);
        constant != graph().initializers.end()) {
      plan_.constant_outputs[name] = constant->second;
    } else if (by_name_.contains(name)) {
      plan_.outputs[name] = by_name_.at(name);
    } else {
      plan_.plain_outputs[name] = plain_by_name_.at(name);
    }
  }
}

Result<void> PlanBuilder::lower(const Node& node) {
  if (!fast_.nodes.contains(&node)) return lower_plain(node);
  if (node.op == "Conv" || node.op == "ConvTranspose") return lower_conv(node);
  if (node.op == "InstanceNormalization") return lower_norm(node);
  if (node.op == "Pad") return lower_pad(node);
  if (node.op == "Slice") return lower_slice(node);
  if (node.op == "Resize") return lower_resize(node);
  if (node.op == "DepthToSpace") return lower_depth_to_space(node);
  return lower_point(node);
}

namespace {

Step own_step(const Node& node, std::vector<int> reads, int writes) {
  Step step;
  step.label = {node.name, node.op, "own", kOwnKernel};
  step.reads = std::move(reads);
  step.writes = writes;
  return step;
}

// A step that moves whole pixels by coordinate tables.
Step gather_step(const Node& node, int in, int out, std::vector<int> y, std::vector<int> x,
                 float value) {
  Step step = own_step(node, {in}, out);
  step.run = [=, y = std::move(y), x = std::move(x)](const StepContext& c) -> Result<void> {
    k::gather(c.view(in), y, x, value, c.view(out), c.threads);
    return {};
  };
  return step;
}

// From where each row and column comes.
struct PadPlan {
  int top, left;
  std::vector<int> y, x;
};

PadPlan pad_plan(const Node& node, const PictureShape& in, const Tensor& pads) {
  const std::string name = node.attr_string("mode", "constant");
  const k::PadMode mode = name == "reflect" ? k::PadMode::reflect
                          : name == "edge"  ? k::PadMode::edge
                                            : k::PadMode::constant;
  const auto axis = [&](int64_t size, size_t i) {
    return k::pad_axis(static_cast<int>(size), static_cast<int>(pads.ints[i]),
                       static_cast<int>(pads.ints[4 + i]), mode);
  };
  return {static_cast<int>(pads.ints[2]), static_cast<int>(pads.ints[3]), axis(in.height, 2),
          axis(in.width, 3)};
}

}  // namespace

Result<void> PlanBuilder::lower_pad(const Node& node) {
  const PadPlan p = pad_plan(node, shape(node.inputs[0]), *constant(node, 1));
  const Tensor* value = constant(node, 2);
  const int from = value_of(node.inputs[0]);
  if (plan_.values[static_cast<size_t>(from)].bytes) return pad_bytes(node, from);
  const int to = add_value(node.outputs[0], shape(node.outputs[0]));
  const float constant_value = value ? value->floats[0] : 0.0f;
  if (!only_reader(node.inputs[0]) || !lay_within(from, to, p.top, p.left)) {
    add_step(gather_step(node, from, to, p.y, p.x, constant_value));
    return {};
  }
  Step step = own_step(node, {from}, to);
  step.run = [=](const StepContext& c) -> Result<void> {
    k::gather_around(c.view(from), p.top, p.left, p.y, p.x, constant_value, c.view(to), c.threads);
    return {};
  };
  add_step(std::move(step));
  return {};
}

// Its input was made in bytes because of this node alone.
Result<void> PlanBuilder::pad_bytes(const Node& node, int from) {
  const PadPlan p = pad_plan(node, shape(node.inputs[0]), *constant(node, 1));
  const k::Quantization quantization = plan_.values[static_cast<size_t>(from)].quantization;
  const int to = add_bytes(node.outputs[0], shape(node.outputs[0]), quantization);
  const bool within = lay_within(from, to, p.top, p.left);
  const auto zero = static_cast<uint8_t>(quantization.zero_point);
  Step step = own_step(node, {from}, to);
  step.run = [=](const StepContext& c) -> Result<void> {
    if (within) {
      k::gather_around(c.byte_view(from), p.top, p.left, p.y, p.x, zero, c.byte_view(to),
                       c.threads);
    } else {
      k::gather(c.byte_view(from), p.y, p.x, zero, c.byte_view(to), c.threads);
    }
    return {};
  };
  add_step(std::move(step));
  return {};
}

// From now on `value`, and whatever it was made from in place, is the part of `outer` that starts
// at (top, left): its maker writes it there. False, and nothing is changed, where somebody counts
// on its own memory. Nobody but the maker of `outer` may read it afterwards.
bool PlanBuilder::lay_within(int value, int outer, int64_t top, int64_t left) {
  const Value inner = plan_.values[static_cast<size_t>(value)];
  const k::Halo& halo = plan_.values[static_cast<size_t>(inner.root)].halo;
  if (inner.block != plan_.values[static_cast<size_t>(outer)].block ||
      halo.top + halo.left + halo.bottom + halo.right != 0) {
    return false;
  }
  const auto alike = [&](const Value& v) {
    return v.root != inner.root || (!v.view && v.bytes == inner.bytes && v.shape == inner.shape);
  };
  if (!std::all_of(plan_.values.begin(), plan_.values.end(), alike)) return false;
  for (Value& v : plan_.values) {
    if (v.root != inner.root) continue;
    v.root = outer;
    v.y = top;
    v.x = left;
    v.view = true;
  }
  return true;
}

// A crop is a view; only steps over pixels and odd cuts through channels copy.
Result<void> PlanBuilder::lower_slice(const Node& node) {
  const PictureShape& in = shape(node.inputs[0]);
  const PictureShape& out = shape(node.outputs[0]);
  const SliceRange c = slice_range(graph(), node, 1, in.channels);
  const SliceRange y = slice_range(graph(), node, 2, in.height);
  const SliceRange x = slice_range(graph(), node, 3, in.width);
  int from = value_of(node.inputs[0]);
  const int block = plan_.values[static_cast<size_t>(from)].block;
  const bool whole_groups = c.step == 1 && c.start % block == 0 &&
                            (out.channels < k::kLanes ? 1 : k::kLanes) == block &&
                            (c.start + out.channels == in.channels || out.channels % block == 0);
  if (whole_groups && y.step == 1 && x.step == 1) {
    add_view(node.outputs[0], out, from, c.start / block, y.start, x.start);
    return {};
  }
  const PictureShape cut{out.channels, in.height, in.width};
  if (c.count != in.channels || c.step != 1) {
    const int target = y.count == in.height && x.count == in.width
                           ? add_value(node.outputs[0], out)
                           : add_made(node.outputs[0] + "/channels", cut);
    Step step = own_step(node, {from}, target);
    step.run = [=, first = static_cast<int>(c.start),
                stride = static_cast<int>(c.step)](const StepContext& ctx) -> Result<void> {
      k::take_channels(ctx.view(from), first, stride, ctx.view(target), ctx.threads);
      return {};
    };
    add_step(std::move(step));
    if (computed(node.outputs[0])) return {};
    from = target;
  }
  const auto axis = [](const SliceRange& r) {
    return k::slice_axis(static_cast<int>(r.start), static_cast<int>(r.step),
                         static_cast<int>(r.count));
  };
  add_step(gather_step(node, from, add_value(node.outputs[0], out), axis(y), axis(x), 0));
  return {};
}

Result<void> PlanBuilder::lower_resize(const Node& node) {
  const Node* next = only_reader(node.outputs[0]);
  if (next && next->op == "Conv" && takes_resize(node, *next)) {
    done(*next);
    return lower_conv(*next, &node);
  }
  const PictureShape& in = shape(node.inputs[0]);
  const auto& scales = constant(node, 2)->floats;
  const int from = value_of(node.inputs[0]);
  const int to = add_value(node.outputs[0], shape(node.outputs[0]));
  const auto axis = [](int64_t size, float scale) {
    return k::enlarge_axis(static_cast<int>(size), static_cast<int>(scale));
  };
  add_step(gather_step(node, from, to, axis(in.height, scales[2]), axis(in.width, scales[3]), 0));
  return {};
}

// Crops after it, as networks have that pad their input: what is cut off is never moved.
void PlanBuilder::crop_depth_to_space(Chain& chain, k::DepthToSpace& how) {
  for (;;) {
    const Node* next = only_reader(chain.value);
    if (!next || next->op != "Slice") return;
    const PictureShape& whole = shape(chain.value);
    const SliceRange c = slice_range(graph(), *next, 1, whole.channels);
    const SliceRange y = slice_range(graph(), *next, 2, whole.height);
    const SliceRange x = slice_range(graph(), *next, 3, whole.width);
    if (c.count != whole.channels || c.step != 1 || y.step != 1 || x.step != 1 ||
        x.start % how.factor != 0) {
      return;
    }
    how.top += static_cast<int>(y.start);
    how.left += static_cast<int>(x.start);
    chain.value = next->outputs[0];
    chain.label += "+Slice";
    done(*next);
  }
}

Result<void> PlanBuilder::lower_depth_to_space(const Node& node) {
  const int from = value_of(node.inputs[0]);
  k::DepthToSpace how;
  how.factor = static_cast<int>(node.attr_int("blocksize", 1));
  how.crd = node.attr_string("mode", "DCR") == "CRD";
  Chain chain;
  chain.value = node.outputs[0];
  chain.label = node.op;
  crop_depth_to_space(chain, how);
  absorb_alone(chain);
  const int to = add_value(chain.value, shape(chain.value));
  Step step = own_step(node, {from}, to);
  step.label.op = chain.label;
  step.run = [=, ops = std::move(chain.ops)](const StepContext& c) -> Result<void> {
    k::depth_to_space(c.view(from), how, ops, c.view(to), c.threads);
    return {};
  };
  add_step(std::move(step));
  return {};
}

Result<void> PlanBuilder::check_wanted() const {
  if (wanted_.empty()) return {};
  if (wanted_.size() != plan_.steps.size()) {
    return make_error(Code::invalid_argument,
                      "The plan to obey has {} steps and this program makes {} of this model; use "
                      "the version that made the plan.",
                      wanted_.size(), plan_.steps.size());
  }
  for (size_t i = 0; i < wanted_.size(); i++) {
    if (wanted_[i] == plan_.steps[i].label) continue;
    return make_error(Code::invalid_argument,
                      "The plan to obey wants '{}' by '{}' ({}) for {}, which this processor or "
                      "version does not have; use a worker like the one that made the plan.",
                      wanted_[i].op, wanted_[i].implementation, wanted_[i].algorithm,
                      wanted_[i].node);
  }
  return {};
}

void PlanBuilder::mark_first() {
  std::set<std::string> convolved, first;
  for (const Node& node : graph().nodes) {
    const bool after = std::any_of(node.inputs.begin(), node.inputs.end(),
                                   [&](const auto& input) { return convolved.contains(input); });
    const bool convolves = node.op == "Conv" || node.op == "ConvTranspose";
    if (convolves && !after) first.insert(node.name);
    if (convolves || after) convolved.insert(node.outputs.begin(), node.outputs.end());
  }
  for (Step& step : plan_.steps) step.first = first.contains(step.label.node);
}

// Inputs live from before the first step, outputs until after the last.
void PlanBuilder::set_lifetimes() {
  const auto root = [&](int value) -> Value& {
    return plan_.values[static_cast<size_t>(plan_.values[static_cast<size_t>(value)].root)];
  };
  const int end = static_cast<int>(plan_.steps.size());
  for (Value& v : plan_.values) {
    v.first = end;
    v.last = -1;
  }
  const auto touch = [&](int value, int step) {
    Value& v = root(value);
    v.first = std::min(v.first, step);
    v.last = std::max(v.last, step);
  };
  for (const auto& [name, value] : plan_.inputs) touch(value, -1);
  for (const auto& [name, entry] : plan_.entries) touch(entry.value, -1);
  for (const auto& [name, value] : plan_.outputs) touch(value, end);
  for (int i = 0; i < end; i++) {
    const Step& step = plan_.steps[static_cast<size_t>(i)];
    if (step.writes >= 0) touch(step.writes, i);
    if (step.writes_bytes >= 0) touch(step.writes_bytes, i);
    for (int value : step.reads) touch(value, i);
  }
}

const Tensor* PlanBuilder::constant(const Node& node, size_t input) const {
  if (input >= node.inputs.size() || node.inputs[input].empty()) return nullptr;
  const auto it = graph().initializers.find(node.inputs[input]);
  return it == graph().initializers.end() ? nullptr : &it->second;
}

const Node* PlanBuilder::only_reader(const std::string& name) const {
  const auto it = readers_.find(name);
  if (it == readers_.end() || it->second.size() != 1 || outputs_.contains(name)) return nullptr;
  return fast_.nodes.contains(it->second[0]) ? it->second[0] : nullptr;
}

int PlanBuilder::add_value(const std::string& name, const PictureShape& shape) {
  return by_name_[name] = add_made(name, shape);
}

int PlanBuilder::add_made(const std::string& name, const PictureShape& shape) {
  const int index = static_cast<int>(plan_.values.size());
  Value value;
  value.name = name;
  value.shape = shape;
  value.block = shape.channels < k::kLanes ? 1 : k::kLanes;
  value.root = index;
  plan_.values.push_back(std::move(value));
  return index;
}

int PlanBuilder::add_alias(const std::string& name, const PictureShape& shape, int of) {
  const int index = add_value(name, shape);
  plan_.values[static_cast<size_t>(index)].root = plan_.values[static_cast<size_t>(of)].root;
  return index;
}

int PlanBuilder::add_view(const std::string& name, const PictureShape& shape, int of, int64_t group,
                          int64_t y, int64_t x) {
  const int index = add_alias(name, shape, of);
  const Value& parent = plan_.values[static_cast<size_t>(of)];
  Value& value = plan_.values[static_cast<size_t>(index)];
  value.block = parent.block;
  value.group = parent.group + group;
  value.y = parent.y + y;
  value.x = parent.x + x;
  value.view = true;
  // Whoever wrote the parent in place must not do so once a view shares its memory: see
  // finish_chain, which works in place only on values with one reader, and a view is a reader.
  return index;
}

int PlanBuilder::copy_of(int value, const std::string& why) {
  const Value source = plan_.values[static_cast<size_t>(value)];
  const int to = add_made(source.name + why, source.shape);
  Node node;
  node.name = source.name + why;
  node.op = "Copy";
  const auto axis = [](int64_t size) { return k::slice_axis(0, 1, static_cast<int>(size)); };
  add_step(gather_step(node, value, to, axis(source.shape.height), axis(source.shape.width), 0));
  return to;
}

int PlanBuilder::with_halo(int value, const k::Halo& halo) {
  if (halo.top + halo.left + halo.bottom + halo.right == 0) return value;
  if (plan_.values[static_cast<size_t>(value)].view) value = copy_of(value, "/copy");
  const int root = plan_.values[static_cast<size_t>(value)].root;
  k::Halo& h = plan_.values[static_cast<size_t>(root)].halo;
  h.top = std::max(h.top, halo.top);
  h.left = std::max(h.left, halo.left);
  h.bottom = std::max(h.bottom, halo.bottom);
  h.right = std::max(h.right, halo.right);
  return value;
}

const PlanStep* PlanBuilder::wanted_step(const Node& node) const {
  for (const PlanStep& step : wanted_)
    // A step that moves data has a made name, which a node may have too.
    if (step.node == node.name && step.op.find(node.op) != std::string::npos) return &step;
  return nullptr;
}

void PlanBuilder::add_step(Step step) { plan_.steps.push_back(std::move(step)); }

Result<NetPlan> build_plan(ConcreteGraph graph, const PlanOptions& options, WeightCache& weights) {
  PlanBuilder builder(find_fast(std::move(graph)), options, weights);
  return builder.build();
}

}  // namespace atelier::model
