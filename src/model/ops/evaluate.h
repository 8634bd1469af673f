// SPDX-License-Identifier: Apache-2.0
// Every supported operator on plain tensors, one function each, as its page in
// onnx/docs/Operators.md (opset 17) reads. Used where speed is not the point: to fold constants,
// for the operators and forms that have no kernel in a plan, and node by node as the reference that
// plans are compared with. Tested by the operator cases of the ONNX project (conformance_test.cc).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/graph.h"

namespace atelier::model {

struct EvaluateOptions {
  int threads = 1;  // never changes the bits
  // Refused beyond this many elements in one output: a shape computed by the model is hostile.
  int64_t max_elements = int64_t{1} << 31;
};

// True for the operators that evaluate() takes.
bool can_evaluate(std::string_view op);
const std::vector<std::string>& evaluable_operators();  // their names, sorted

// `node` is in the form of opset 17 (see Graph). `inputs` are as many as node.inputs, null where
// absent. Returns as many tensors as node.outputs; one that the node leaves unnamed may be empty.
// Pure. Errors: invalid_argument, naming the node and what does not fit (shapes, types, a form that
// is not supported).
Result<std::vector<Tensor>> evaluate(const Node& node, std::span<const Tensor* const> inputs,
                                     const EvaluateOptions& options = {});

}  // namespace atelier::model
