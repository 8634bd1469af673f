// SPDX-License-Identifier: Apache-2.0
// Shapes of every value of a graph for inputs of given sizes. Pure. Internal to src/model.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/graph.h"

namespace atelier::model {

// One picture of a batch.
struct PictureShape {
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;
  bool operator==(const PictureShape&) const = default;
  int64_t count() const { return channels * height * width; }
};
using ShapeMap = std::map<std::string, PictureShape>;

// Rows above and below (or columns left and right) of a convolution's input.
struct Pads {
  int64_t top = 0, left = 0, bottom = 0, right = 0;
};
// The node's pads, or what its auto_pad means for this input.
Pads pads_of(const Node& node, const PictureShape& in);

// The part of one axis that a Slice keeps.
struct SliceRange {
  int64_t start = 0;
  int64_t step = 1;
  int64_t count = 0;
};
SliceRange slice_range(const Graph& graph, const Node& node, int axis, int64_t size);

// Every computed value; inputs are copied in. Errors: invalid_argument: an operator cannot work on
// these sizes (named, with its node), or a value would exceed 2^31 pixels or 2^38 samples.
Result<ShapeMap> infer_shapes(const Graph& graph, const ShapeMap& inputs);

// "node 'conv1' (Conv)".
std::string describe_node(const Node& node);

}  // namespace atelier::model
