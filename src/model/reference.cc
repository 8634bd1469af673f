// SPDX-License-Identifier: Apache-2.0
#include "model/reference.h"

#include "model/ops/evaluate.h"

namespace atelier::model {
namespace {

using Values = std::map<std::string, Tensor>;

bool fits(const Tensor& tensor, const ValueInfo& input) {
  const size_t size = tensor.is_int() ? tensor.ints.size() : tensor.floats.size();
  bool fits =
      tensor.shape.size() == input.shape.size() && tensor.count() == static_cast<int64_t>(size);
  for (size_t i = 0; fits && i < input.shape.size(); ++i) {
    fits = input.shape[i] == -1 || input.shape[i] == tensor.shape[i];
  }
  return fits;
}

const Tensor* find(const Graph& graph, const Values& values, const std::string& name) {
  const auto value = values.find(name);
  if (value != values.end()) return &value->second;
  const auto constant = graph.initializers.find(name);
  return constant != graph.initializers.end() ? &constant->second : nullptr;
}

Result<void> run_node(const Graph& graph, const Node& node, Values& values) {
  std::vector<const Tensor*> inputs;
  for (const std::string& name : node.inputs) {
    inputs.push_back(name.empty() ? nullptr : find(graph, values, name));
    if (!name.empty() && inputs.back() == nullptr) {
      return make_error(Code::invalid_argument, "node '{}' ({}) reads '{}', which nothing made.",
                        node.name, node.op, name);
    }
  }
  std::vector<Tensor> outputs = TRY(evaluate(node, inputs));
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!node.outputs[i].empty()) values[node.outputs[i]] = std::move(outputs[i]);
  }
  return {};
}

}  // namespace

Result<std::map<std::string, Tensor>> run_reference(const Graph& graph,
                                                    const std::map<std::string, Tensor>& inputs) {
  Values values;
  for (const ValueInfo& input : graph.inputs) {
    const auto it = inputs.find(input.name);
    if (it == inputs.end()) {
      return make_error(Code::invalid_argument, "input '{}' is missing.", input.name);
    }
    if (!fits(it->second, input)) {
      return make_error(Code::invalid_argument, "input '{}' has another shape.", input.name);
    }
    values[input.name] = it->second;
  }
  for (const Node& node : graph.nodes) TRY(run_node(graph, node, values));
  Values outputs;
  for (const ValueInfo& output : graph.outputs) {
    const Tensor* value = find(graph, values, output.name);
    if (value == nullptr) {
      return make_error(Code::invalid_argument, "nothing makes output '{}'.", output.name);
    }
    outputs[output.name] = *value;
  }
  return outputs;
}

}  // namespace atelier::model
