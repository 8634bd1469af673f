// SPDX-License-Identifier: Apache-2.0
// Plain steps of the plan: nodes that are not in fast form, on dense tensors through evaluate(),
// and the conversions between those and the blocked values of the arena.
#include "model/plan_plain.h"

#include <algorithm>

#include "model/ops/evaluate.h"
#include "model/plan_build.h"

namespace atelier::model {

namespace {

constexpr const char* kPlainAlgorithm = "plain";
constexpr const char* kPlainImplementation = "atelier:plain";

// 0 where a shape is known only while running.
int64_t known_count(const TensorType& type) {
  int64_t count = 1;
  for (const int64_t d : type.shape) count *= std::max<int64_t>(d, 0);
  return count;
}

int64_t bytes_of(const TensorType& type) {
  return known_count(type) *
         static_cast<int64_t>(is_float(type.type) ? sizeof(float) : sizeof(int64_t));
}

// Of the operators whose cost is multiplications; others are cheap beside them.
double gflop_of(const Node& node, const std::map<std::string, TensorType>& types) {
  const auto type = [&](const std::string& name) {
    const auto it = types.find(name);
    return it == types.end() ? TensorType{} : it->second;
  };
  if (node.inputs.size() < 2 || node.outputs.empty()) return 0;
  const TensorType in = type(node.inputs[0]), weights = type(node.inputs[1]);
  const TensorType out = type(node.outputs[0]);
  double per_sample = 0;  // multiplications
  double samples = static_cast<double>(known_count(out));
  if (node.op == "Conv" && !weights.shape.empty() && weights.shape[0] > 0) {
    const int64_t each = known_count(weights) / weights.shape[0];
    per_sample = static_cast<double>(each);
  } else if (node.op == "ConvTranspose" && !weights.shape.empty() && weights.shape[0] > 0) {
    samples = static_cast<double>(known_count(in));
    const int64_t each = known_count(weights) / weights.shape[0];
    per_sample = static_cast<double>(each);
  } else if (node.op == "MatMul" && !in.shape.empty()) {
    per_sample = static_cast<double>(std::max<int64_t>(in.shape.back(), 0));
  } else if (node.op == "Gemm" && in.shape.size() == 2) {
    per_sample = static_cast<double>(
        std::max<int64_t>(in.shape[node.attr_int("transA", 0) != 0 ? 0 : 1], 0));
  }
  return 2e-9 * per_sample * samples;
}

}  // namespace

void picture_to_tensor(const kernels::TensorView& view, int threads, float* samples) {
  const int64_t rows = static_cast<int64_t>(view.channels) * view.height;
#pragma omp parallel for schedule(static) num_threads(threads) if (rows > 64)
  for (int64_t i = 0; i < rows; i++) {
    const int c = static_cast<int>(i / view.height), y = static_cast<int>(i % view.height);
    const float* from = view.row_at(c / view.block, y) + c % view.block;
    float* to = samples + i * view.width;
    for (int x = 0; x < view.width; x++) to[x] = from[static_cast<int64_t>(x) * view.block];
  }
}

void tensor_to_picture(const float* samples, const kernels::TensorView& view, int threads) {
  const int64_t rows = static_cast<int64_t>(view.groups()) * view.block * view.height;
#pragma omp parallel for schedule(static) num_threads(threads) if (rows > 64)
  for (int64_t i = 0; i < rows; i++) {
    const int c = static_cast<int>(i / view.height), y = static_cast<int>(i % view.height);
    float* to = view.row_at(c / view.block, y) + c % view.block;
    const float* from = c < view.channels ? samples + i * view.width : nullptr;
    for (int x = 0; x < view.width; x++) {
      to[static_cast<int64_t>(x) * view.block] = from != nullptr ? from[x] : 0.0f;
    }
  }
}

int PlanBuilder::add_plain(const std::string& name) {
  const int index = static_cast<int>(plan_.plain.size());
  const auto type = fast_.concrete.types.find(name);
  plan_.plain.push_back({name, type == fast_.concrete.types.end() ? TensorType{} : type->second});
  plain_by_name_[name] = index;
  return index;
}

int PlanBuilder::plain_of(const std::string& name) {
  if (const auto it = plain_by_name_.find(name); it != plain_by_name_.end()) return it->second;
  const int from = by_name_.at(name);
  const int to = add_plain(name);
  Step step;
  step.label = {name + "/plain", "Copy", "own", kOwnKernel};
  step.reads = {from};
  step.plain_writes = {to};
  const ElementType type = plan_.plain[static_cast<size_t>(to)].type.type;
  step.run = [from, to, type](const StepContext& c) -> Result<void> {
    const kernels::TensorView view = c.view(from);
    Tensor& tensor = c.plain[static_cast<size_t>(to)];
    tensor = Tensor();
    tensor.type = type;
    tensor.shape = {1, view.channels, view.height, view.width};
    tensor.floats.resize(static_cast<size_t>(tensor.count()));
    picture_to_tensor(view, c.threads, tensor.floats.data());
    return {};
  };
  add_step(std::move(step));
  return to;
}

int PlanBuilder::to_blocked(const std::string& name) {
  const int from = plain_by_name_.at(name);
  const int to = add_value(name, shape(name));
  Step step;
  step.label = {name + "/blocked", "Copy", "own", kOwnKernel};
  step.plain_reads = {from};
  step.writes = to;
  step.run = [from, to, name](const StepContext& c) -> Result<void> {
    const kernels::TensorView view = c.view(to);
    const Tensor& tensor = c.plain[static_cast<size_t>(from)];
    const std::vector<int64_t> expected{1, view.channels, view.height, view.width};
    if (tensor.shape != expected || tensor.is_int()) {
      return make_error(Code::internal, "Value '{}' has another shape than was planned.", name);
    }
    tensor_to_picture(tensor.floats.data(), view, c.threads);
    return {};
  };
  add_step(std::move(step));
  return to;
}

std::shared_ptr<const Tensor> PlanBuilder::kept_constant(const std::string& name) {
  std::shared_ptr<const Tensor>& kept = constants_[name];
  if (!kept) kept = std::make_shared<const Tensor>(graph().initializers.at(name));
  return kept;
}

Result<void> PlanBuilder::lower_plain(const Node& node) {
  struct Input {
    int slot = -1;
    std::shared_ptr<const Tensor> constant;  // instead of a slot; null and no slot: absent
  };
  Step step;
  std::vector<Input> inputs;
  for (const std::string& name : node.inputs) {
    Input input;
    if (graph().initializers.contains(name)) {
      input.constant = kept_constant(name);
    } else if (!name.empty()) {
      input.slot = plain_of(name);
      step.plain_reads.push_back(input.slot);
    }
    inputs.push_back(std::move(input));
  }
  std::vector<int> outputs;
  for (const std::string& name : node.outputs) {
    outputs.push_back(name.empty() ? -1 : add_plain(name));
    if (!name.empty()) step.plain_writes.push_back(outputs.back());
  }
  step.label = {node.name, node.op, kPlainAlgorithm, kPlainImplementation};
  step.gflop = gflop_of(node, fast_.concrete.types);
  step.run = [node, inputs = std::move(inputs),
              outputs = std::move(outputs)](const StepContext& c) -> Result<void> {
    std::vector<const Tensor*> given;
    for (const Input& input : inputs) {
      given.push_back(input.slot < 0 ? input.constant.get()
                                     : &c.plain[static_cast<size_t>(input.slot)]);
    }
    EvaluateOptions options;
    options.threads = c.threads;
    std::vector<Tensor> made = TRY(evaluate(node, given, options));
    for (size_t i = 0; i < outputs.size() && i < made.size(); i++) {
      if (outputs[i] >= 0) c.plain[static_cast<size_t>(outputs[i])] = std::move(made[i]);
    }
    return {};
  };
  add_step(std::move(step));
  return {};
}

// Sets what each step frees, and the most that is alive at once.
void PlanBuilder::set_plain_lifetimes() {
  std::vector<int> last(plan_.plain.size(), -1);
  for (size_t i = 0; i < plan_.steps.size(); i++) {
    for (const int slot : plan_.steps[i].plain_reads) last[static_cast<size_t>(slot)] = int(i);
    for (const int slot : plan_.steps[i].plain_writes) last[static_cast<size_t>(slot)] = int(i);
  }
  for (const auto& [name, slot] : plan_.plain_outputs) last[static_cast<size_t>(slot)] = -1;
  int64_t alive = 0;
  for (const auto& [name, slot] : plan_.plain_inputs) {
    alive += bytes_of(plan_.plain[static_cast<size_t>(slot)].type);
  }
  plan_.plain_bytes = alive;
  for (size_t slot = 0; slot < last.size(); slot++) {
    if (last[slot] >= 0) {
      plan_.steps[static_cast<size_t>(last[slot])].frees.push_back(static_cast<int>(slot));
    }
  }
  for (const Step& step : plan_.steps) {
    for (const int slot : step.plain_writes) {
      alive += bytes_of(plan_.plain[static_cast<size_t>(slot)].type);
    }
    plan_.plain_bytes = std::max(plan_.plain_bytes, alive);
    for (const int slot : step.frees)
      alive -= bytes_of(plan_.plain[static_cast<size_t>(slot)].type);
  }
}

}  // namespace atelier::model
