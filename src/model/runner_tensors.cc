// SPDX-License-Identifier: Apache-2.0
// Plain tensors through a network. The pictures of a batch go one after the other where each can be
// computed alone.
#include <omp.h>

#include <algorithm>
#include <utility>

#include "model/onednn_runner.h"
#include "model/plan_plain.h"

namespace atelier::model {
namespace {

void read_value(const kernels::TensorView& view, int64_t batch, Tensor& tensor) {
  tensor.shape = {batch, view.channels, view.height, view.width};
  tensor.floats.reserve(static_cast<size_t>(tensor.count()));
  for (int c = 0; c < view.channels; c++) {
    for (int y = 0; y < view.height; y++) {
      const float* from = view.row_at(c / view.block, y) + c % view.block;
      for (int x = 0; x < view.width; x++) tensor.floats.push_back(from[x * view.block]);
    }
  }
}

}  // namespace

Result<std::map<std::string, Tensor>> OnednnRunner::run(
    const std::map<std::string, Tensor>& inputs) {
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

Result<TypeMap> OnednnRunner::types_of(const std::map<std::string, Tensor>& inputs) const {
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
Result<int64_t> OnednnRunner::separable_batch(const TypeMap& types) {
  int64_t batch = 0;
  TypeMap each = types;
  for (auto& [name, type] : each) {
    if (!is_float(type.type) || type.shape.size() != 4) return 1;
    if (batch != 0 && type.shape[0] != batch) return 1;
    batch = std::exchange(type.shape[0], 1);
  }
  if (batch <= 1 || asks_for_shapes_) return 1;
  const auto one = load(each, false, true);
  const bool fast = one.ok() && (*one)->plan.plain.empty() && (*one)->plan.constant_outputs.empty();
  if (!fast) return 1;
  if (!separable_ || separable_->first != types) {
    separable_ = {types, every_value_has_all_pictures(types, each, batch)};
  }
  return separable_->second ? batch : 1;
}

// False where a node picks some pictures, as x[:1] does: alone, each would seem to be the first.
bool OnednnRunner::every_value_has_all_pictures(const TypeMap& types, const TypeMap& each,
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

}  // namespace atelier::model
