// SPDX-License-Identifier: Apache-2.0
#include "model/plan_shapes.h"

#include <algorithm>

namespace atelier::model {
namespace {

constexpr int64_t kMostSide = 1 << 20;
constexpr int64_t kMostReach = 1 << 16;  // pixels that a kernel spans
constexpr int64_t kMostSamples = int64_t{1} << 38;

int64_t reach_of(const Node& node, size_t axis) {
  return (node.attr_ints("kernel_shape", {1, 1})[axis] - 1) *
             node.attr_ints("dilations", {1, 1})[axis] +
         1;
}

const Tensor* constant(const Graph& graph, const Node& node, size_t input) {
  if (input >= node.inputs.size() || node.inputs[input].empty()) return nullptr;
  const auto it = graph.initializers.find(node.inputs[input]);
  return it == graph.initializers.end() ? nullptr : &it->second;
}

class Inference {
 public:
  Inference(const Graph& graph, ShapeMap shapes) : graph_(graph), shapes_(std::move(shapes)) {}

  Result<ShapeMap> run() {
    for (const Node& node : graph_.nodes) {
      const PictureShape shape = TRY(output(node));
      if (shape.channels < 1 || shape.height < 1 || shape.width < 1) {
        return make_error(Code::invalid_argument,
                          "{} leaves nothing of a frame of this size; use a larger one.",
                          describe_node(node));
      }
      if (shape.channels > kMostSide || shape.height > kMostSide || shape.width > kMostSide ||
          shape.height * shape.width > kMostSamples / shape.channels) {
        return make_error(Code::invalid_argument,
                          "{} would make {} channels of {}x{}; use a smaller frame.",
                          describe_node(node), shape.channels, shape.width, shape.height);
      }
      shapes_[node.outputs[0]] = shape;
    }
    return shapes_;
  }

 private:
  Result<PictureShape> output(const Node& node) {
    if (node.op == "Add" || node.op == "Sub" || node.op == "Mul" || node.op == "Div")
      return binary(node);
    PictureShape in = TRY(shape_of(node, 0));
    if (std::max(reach_of(node, 0), reach_of(node, 1)) > kMostReach) return mismatch(node);
    if (node.op == "Conv") return convolution(node, in);
    if (node.op == "ConvTranspose") return transposed(node, in);
    if (node.op == "Pad") {
      const Tensor* pads = constant(graph_, node, 1);
      if (node.attr_string("mode", "constant") == "reflect" &&
          std::max({pads->ints[2], pads->ints[6]}) >= in.height) {
        return too_small(node, in);
      }
      if (node.attr_string("mode", "constant") == "reflect" &&
          std::max({pads->ints[3], pads->ints[7]}) >= in.width) {
        return too_small(node, in);
      }
      in.height += pads->ints[2] + pads->ints[6];
      in.width += pads->ints[3] + pads->ints[7];
      return in;
    }
    if (node.op == "Slice") {
      return PictureShape{slice_range(graph_, node, 1, in.channels).count,
                          slice_range(graph_, node, 2, in.height).count,
                          slice_range(graph_, node, 3, in.width).count};
    }
    if (node.op == "Resize") {
      const Tensor* scales = constant(graph_, node, 2);
      in.height *= static_cast<int64_t>(scales->floats[2]);
      in.width *= static_cast<int64_t>(scales->floats[3]);
      return in;
    }
    if (node.op == "DepthToSpace") {
      const int64_t factor = node.attr_int("blocksize", 1);
      if (factor < 1 || in.channels % (factor * factor) != 0) return mismatch(node);
      return PictureShape{in.channels / (factor * factor), in.height * factor, in.width * factor};
    }
    if (node.op == "InstanceNormalization" && constant(graph_, node, 1)->count() != in.channels) {
      return mismatch(node);
    }
    return in;  // Relu, Tanh, Clip, InstanceNormalization
  }

  Result<PictureShape> shape_of(const Node& node, size_t input) {
    const auto it = shapes_.find(node.inputs[input]);
    if (it == shapes_.end()) return mismatch(node);
    return it->second;
  }

  Result<PictureShape> convolution(const Node& node, const PictureShape& in) {
    const Tensor* weights = constant(graph_, node, 1);
    if (weights->shape[1] * node.attr_int("group", 1) != in.channels) return mismatch(node);
    const Pads pads = pads_of(node, in);
    const auto strides = node.attr_ints("strides", {1, 1});
    const int64_t h = in.height + pads.top + pads.bottom - reach_of(node, 0);
    const int64_t w = in.width + pads.left + pads.right - reach_of(node, 1);
    if (h < 0 || w < 0) return too_small(node, in);
    return PictureShape{weights->shape[0], h / strides[0] + 1, w / strides[1] + 1};
  }

  Result<PictureShape> transposed(const Node& node, const PictureShape& in) {
    const Tensor* weights = constant(graph_, node, 1);
    if (weights->shape[0] != in.channels) return mismatch(node);
    const Pads pads = pads_of(node, in);
    const auto strides = node.attr_ints("strides", {1, 1});
    const auto extra = node.attr_ints("output_padding", {0, 0});
    return PictureShape{
        weights->shape[1] * node.attr_int("group", 1),
        (in.height - 1) * strides[0] + reach_of(node, 0) + extra[0] - pads.top - pads.bottom,
        (in.width - 1) * strides[1] + reach_of(node, 1) + extra[1] - pads.left - pads.right};
  }

  // Computed values must have equal shapes; constants may be broadcast to them.
  Result<PictureShape> binary(const Node& node) {
    const Tensor* left = constant(graph_, node, 0);
    const Tensor* right = constant(graph_, node, 1);
    const PictureShape shape = TRY(shape_of(node, left ? 1 : 0));
    const Tensor* fixed = left ? left : right;
    if (!fixed) {
      if (!(TRY(shape_of(node, 1)) == shape)) return mismatch(node);
      return shape;
    }
    const int64_t full[4] = {1, shape.channels, shape.height, shape.width};
    const size_t rank = fixed->shape.size();
    if (rank > 4) return mismatch(node);
    for (size_t i = 0; i < rank; i++) {
      const int64_t size = fixed->shape[i];
      if (size != 1 && size != full[4 - rank + i]) return mismatch(node);
    }
    return shape;
  }

  Error mismatch(const Node& node) const {
    return make_error(Code::invalid_argument,
                      "{} has inputs whose shapes do not fit each other for a frame of this size.",
                      describe_node(node));
  }
  Error too_small(const Node& node, const PictureShape& in) const {
    return make_error(Code::invalid_argument,
                      "{} cannot work on {}x{}; use a larger frame (--size WxH).",
                      describe_node(node), in.width, in.height);
  }

  const Graph& graph_;
  ShapeMap shapes_;
};

}  // namespace

std::string describe_node(const Node& node) {
  return fmt::format("node '{}' ({})", node.name, node.op);
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

Result<ShapeMap> infer_shapes(const Graph& graph, const ShapeMap& inputs) {
  return Inference(graph, inputs).run();
}

}  // namespace atelier::model
