// SPDX-License-Identifier: Apache-2.0
// Runs a graph by folding it: its inputs become constants, so that specialise() and evaluate()
// leave nothing but the outputs. Tests only.
#pragma once

#include <map>
#include <string>

#include "model/specialise.h"

namespace atelier::model {

inline Result<std::map<std::string, Tensor>> run_by_folding(
    Graph graph, const std::map<std::string, Tensor>& inputs) {
  graph.inputs.clear();
  for (const auto& [name, tensor] : inputs) graph.initializers[name] = tensor;
  const ConcreteGraph folded = TRY(specialise(std::move(graph), {}));
  std::map<std::string, Tensor> outputs;
  for (const ValueInfo& output : folded.graph.outputs) {
    const auto it = folded.graph.initializers.find(output.name);
    if (it == folded.graph.initializers.end()) {
      return make_error(Code::internal, "Output '{}' is not folded.", output.name);
    }
    outputs[output.name] = it->second;
  }
  return outputs;
}

}  // namespace atelier::model
