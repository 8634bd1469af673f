// SPDX-License-Identifier: Apache-2.0
// A graph for inputs of known shapes: what depends on shapes alone is computed away.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/graph.h"

namespace atelier::model {

struct TensorType {
  ElementType type = ElementType::f32;
  std::vector<int64_t> shape;  // -1: known only while running (what NonMaxSuppression keeps)
  bool operator==(const TensorType&) const = default;
};

struct ConcreteGraph {
  Graph graph;                              // no node left whose inputs are all constants
  std::map<std::string, TensorType> types;  // of every input, initializer and computed value
};

// Shape -> Gather -> Concat -> Reshape and all else that follows from constants and from shapes is
// folded into initializers; nodes that no output needs are dropped. An output may turn out to be an
// initializer. `inputs` are as many as the graph's, whole, and fit what the file says of them.
// Takes the graph: a caller that needs its own copy makes it, weights and all.
// Errors: invalid_argument: an input is missing or does not fit; an operator cannot work on these
// shapes or types (named, with its node); a dimension or the elements of a value would exceed 2^31;
// folding would make more than 2^26 elements and four times the file's own, or take more than 2^30
// multiplications and sixteen for each of the file's own elements.
Result<ConcreteGraph> specialise(Graph graph, const std::map<std::string, TensorType>& inputs);

// Operators that specialise() knows.
bool can_infer(std::string_view op);

}  // namespace atelier::model
