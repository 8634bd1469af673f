// SPDX-License-Identifier: Apache-2.0
// Seeded random graphs over the supported operators, valid by construction, for comparing runners;
// tests only. The same seed gives the same graph everywhere.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "model/graph.h"

namespace atelier::model {

struct RandomGraph {
  Graph graph;
  std::map<std::string, Tensor> inputs;
};

// Pictures: convolutions of all kinds, pools, norms, enlargements, branches that join again, on odd
// sizes. Tensors: shapes computed in the graph, products, reductions, softmax, indices.
RandomGraph random_picture_graph(uint32_t seed);
RandomGraph random_tensor_graph(uint32_t seed);

}  // namespace atelier::model
