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
// folded into initializers; nodes that no output needs are dropped. Errors: invalid_argument: an
// operator cannot work on these shapes (named, with its node), or a value or the folded constants
// would be too large (2^31 elements; 2^28 elements of constants folded).
Result<ConcreteGraph> specialise(const Graph& graph,
                                 const std::map<std::string, TensorType>& inputs);

}  // namespace atelier::model
