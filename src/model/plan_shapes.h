// SPDX-License-Identifier: Apache-2.0
// What single nodes do to the size of a picture. Pure. Internal to src/model.
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

// Pixels that a convolution's kernel spans on axis 0 (H) or 1 (W).
int64_t reach_of(const Node& node, size_t axis);

// The part of one axis that a Slice keeps.
struct SliceRange {
  int64_t start = 0;
  int64_t step = 1;
  int64_t count = 0;
};
SliceRange slice_range(const Graph& graph, const Node& node, int axis, int64_t size);

}  // namespace atelier::model
