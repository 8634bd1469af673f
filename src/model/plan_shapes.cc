// SPDX-License-Identifier: Apache-2.0
#include "model/plan_shapes.h"

#include <algorithm>

namespace atelier::model {
namespace {

const Tensor* constant(const Graph& graph, const Node& node, size_t input) {
  if (input >= node.inputs.size() || node.inputs[input].empty()) return nullptr;
  const auto it = graph.initializers.find(node.inputs[input]);
  return it == graph.initializers.end() ? nullptr : &it->second;
}

}  // namespace

int64_t reach_of(const Node& node, size_t axis) {
  return (node.attr_ints("kernel_shape", {1, 1})[axis] - 1) *
             node.attr_ints("dilations", {1, 1})[axis] +
         1;
}

Pads pads_of(const Node& node, const PictureShape& in) {
  const std::string automatic = node.attr_string("auto_pad", "NOTSET");
  if (automatic != "SAME_UPPER" && automatic != "SAME_LOWER") {
    const auto pads = node.attr_ints("pads", {0, 0, 0, 0});
    return {pads[0], pads[1], pads[2], pads[3]};
  }
  const auto strides = node.attr_ints("strides", {1, 1});
  int64_t first[2], last[2];
  const int64_t size[2] = {in.height, in.width};
  for (size_t i = 0; i < 2; i++) {
    const int64_t outputs = (size[i] + strides[i] - 1) / strides[i];
    const int64_t total =
        std::max<int64_t>(0, (outputs - 1) * strides[i] + reach_of(node, i) - size[i]);
    first[i] = automatic == "SAME_UPPER" ? total / 2 : (total + 1) / 2;
    last[i] = total - first[i];
  }
  return {first[0], first[1], last[0], last[1]};
}

SliceRange slice_range(const Graph& graph, const Node& node, int axis, int64_t size) {
  const Tensor* axes = constant(graph, node, 3);
  for (size_t i = 0; i < axes->ints.size(); i++) {
    if (axes->ints[i] != axis) continue;
    const int64_t step = constant(graph, node, 4)->ints[i];
    int64_t start = constant(graph, node, 1)->ints[i], end = constant(graph, node, 2)->ints[i];
    if (start < 0) start = start < -size ? 0 : start + size;
    if (end < 0) end = end < -size ? 0 : end + size;
    start = std::min(start, size);
    end = std::clamp(end, start, size);
    return {start, step, (end - start + step - 1) / step};
  }
  return {0, 1, size};
}

}  // namespace atelier::model
