// SPDX-License-Identifier: Apache-2.0
#include "model/plan_fast.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace atelier::model {
namespace {

using Ints = std::vector<int64_t>;

constexpr int64_t kMostSide = 1 << 20;
constexpr int64_t kMostReach = 1 << 16;  // pixels that a kernel spans
constexpr int64_t kMostPad = 1 << 16;
constexpr int64_t kMostConv = 4096;  // kernel, stride, dilation, padding
constexpr int64_t kMostFactor = 64;

bool within(const Ints& values, int64_t low, int64_t high) {
  return std::all_of(values.begin(), values.end(),
                     [=](int64_t v) { return v >= low && v <= high; });
}

std::optional<PictureShape> picture_of(const TensorType& type) {
  if (!is_float(type.type) || type.shape.size() != 4 || type.shape[0] != 1 ||
      !within(type.shape, 1, kMostSide)) {
    return std::nullopt;
  }
  return PictureShape{type.shape[1], type.shape[2], type.shape[3]};
}

class FastForm {
 public:
  explicit FastForm(FastGraph& fast)
      : graph_(fast.concrete.graph), types_(fast.concrete.types), shapes_(fast.shapes) {}

  // True if the node is in fast form; then it is rewritten as FastGraph says.
  bool take(Node& node) {
    if (node.outputs.size() != 1 || node.inputs.empty() || picture(node.outputs[0]) == nullptr) {
      return false;
    }
    if (node.op == "Add" || node.op == "Sub" || node.op == "Mul" || node.op == "Div") {
      return binary(node);
    }
    if (picture(node.inputs[0]) == nullptr || fixed(node, 0) != nullptr) return false;
    if (node.op == "Relu" || node.op == "Tanh") return true;
    if (node.op == "Clip") return clip(node);
    if (node.op == "Conv") return convolution(node, false);
    if (node.op == "ConvTranspose") return convolution(node, true);
    if (node.op == "InstanceNormalization") return instance_norm(node);
    if (node.op == "Pad") return pad(node);
    if (node.op == "Slice") return slice(node);
    if (node.op == "Resize") return resize(node);
    if (node.op == "DepthToSpace") return depth_to_space(node);
    return false;
  }

 private:
  const PictureShape* picture(const std::string& value) const {
    const auto it = shapes_.find(value);
    return it == shapes_.end() ? nullptr : &it->second;
  }
  static bool absent(const Node& node, size_t input) {
    return input >= node.inputs.size() || node.inputs[input].empty();
  }
  const Tensor* fixed(const Node& node, size_t input) const {
    if (absent(node, input)) return nullptr;
    const auto it = graph_.initializers.find(node.inputs[input]);
    return it == graph_.initializers.end() ? nullptr : &it->second;
  }
  // A constant of this kind, or absent.
  bool known(const Node& node, size_t input, bool is_int) const {
    if (absent(node, input)) return true;
    const Tensor* tensor = fixed(node, input);
    return tensor != nullptr && tensor->is_int() == is_int;
  }
  bool known_scalar(const Node& node, size_t input) const {
    const Tensor* tensor = fixed(node, input);
    return known(node, input, false) && (tensor == nullptr || tensor->floats.size() == 1);
  }

  bool binary(const Node& node) const {
    if (node.inputs.size() != 2) return false;
    const Tensor* left = fixed(node, 0);
    const Tensor* right = fixed(node, 1);
    if (left != nullptr && right != nullptr) return false;
    const PictureShape* shape = picture(node.inputs[left != nullptr ? 1 : 0]);
    if (shape == nullptr || !(*picture(node.outputs[0]) == *shape)) return false;
    const Tensor* constant = left != nullptr ? left : right;
    if (constant == nullptr) {
      const PictureShape* other = picture(node.inputs[1]);
      return other != nullptr && *other == *shape;
    }
    const int64_t full[4] = {1, shape->channels, shape->height, shape->width};
    const size_t rank = constant->shape.size();
    if (rank > 4 || constant->is_int()) return false;
    for (size_t i = 0; i < rank; i++) {
      if (constant->shape[i] != 1 && constant->shape[i] != full[4 - rank + i]) return false;
    }
    return true;
  }

  bool clip(const Node& node) const { return known_scalar(node, 1) && known_scalar(node, 2); }

  bool convolution(Node& node, bool transposed) {
    const Tensor* weight = fixed(node, 1);
    const Tensor* bias = fixed(node, 2);
    if (weight == nullptr || weight->is_int() || weight->shape.size() != 4 ||
        weight->count() == 0 || !known(node, 2, false)) {
      return false;
    }
    const PictureShape& in = *picture(node.inputs[0]);
    const PictureShape& out = *picture(node.outputs[0]);
    const int64_t group = node.attr_int("group", 1);
    const Ints kernel(weight->shape.begin() + 2, weight->shape.end());
    const Ints strides = node.attr_ints("strides", {1, 1});
    const Ints dilations = node.attr_ints("dilations", {1, 1});
    const int64_t in_channels = transposed ? weight->shape[0] : weight->shape[1] * group;
    const int64_t out_channels = transposed ? weight->shape[1] * group : weight->shape[0];
    if (group < 1 || weight->shape[0] % group != 0 || in_channels != in.channels ||
        out_channels != out.channels || node.attr_ints("kernel_shape", kernel) != kernel ||
        strides.size() != 2 || dilations.size() != 2 || !within(kernel, 1, kMostConv) ||
        !within(strides, 1, kMostConv) || !within(dilations, 1, kMostConv) ||
        (bias != nullptr && bias->shape != Ints{out_channels})) {
      return false;
    }
    Node made = node;
    made.attributes["group"] = group;
    made.attributes["kernel_shape"] = kernel;
    made.attributes["strides"] = strides;
    made.attributes["dilations"] = dilations;
    if (std::max(reach_of(made, 0), reach_of(made, 1)) > kMostReach) return false;
    if (!(transposed ? transposed_padding(made, in, out) : padding(made))) return false;
    node = std::move(made);
    return true;
  }

  static bool padding(Node& node) {
    const std::string automatic = node.attr_string("auto_pad", "NOTSET");
    if (automatic == "SAME_UPPER" || automatic == "SAME_LOWER") {
      node.attributes.erase("pads");
      return true;
    }
    if (automatic != "NOTSET" && automatic != "VALID") return false;
    node.attributes.erase("auto_pad");
    if (automatic == "VALID") node.attributes.erase("pads");
    const Ints pads = node.attr_ints("pads", {0, 0, 0, 0});
    if (pads.size() != 4 || !within(pads, 0, kMostConv)) return false;
    node.attributes["pads"] = pads;
    return true;
  }

  // With output_shape, the padding follows from the sizes (onnx Operators.md, ConvTranspose; up to
  // opset 10 Changelog.md, ConvTranspose-1).
  static bool transposed_padding(Node& node, const PictureShape& in, const PictureShape& out) {
    const std::string automatic = node.attr_string("auto_pad", "NOTSET");
    if ((automatic != "NOTSET" && automatic != "VALID") || !padding(node)) return false;
    Ints extra = node.attr_ints("output_padding", {0, 0});
    if (extra.size() != 2) return false;
    const Ints strides = node.attr_ints("strides", {});
    const int64_t from[2] = {in.height, in.width}, to[2] = {out.height, out.width};
    Ints pads = node.attr_ints("pads", {});
    const bool given = node.attributes.contains("output_shape");
    const bool old = node.attr_int(kOddPaddingOfOpset10, 0) != 0;
    for (size_t i = 0; i < 2; ++i) {
      const int64_t total = strides[i] * (from[i] - 1) + extra[i] + reach_of(node, i) - to[i];
      if (given) {
        const int64_t cut = std::max<int64_t>(total, 0);
        pads[i] = old ? cut / 2 : cut - cut / 2;
        pads[2 + i] = cut - pads[i];
        extra[i] += std::max<int64_t>(-total, 0);
      } else if (total != pads[i] + pads[2 + i]) {
        return false;
      }
    }
    node.attributes.erase("output_shape");
    if (!within(pads, 0, kMostConv) || !within(extra, 0, std::max(strides[0], strides[1]))) {
      return false;
    }
    node.attributes["pads"] = pads;
    node.attributes["output_padding"] = extra;
    return true;
  }

  bool instance_norm(const Node& node) const {
    const Tensor* scale = fixed(node, 1);
    const Tensor* bias = fixed(node, 2);
    const float epsilon = node.attr_float("epsilon", 1e-5F);
    return scale != nullptr && bias != nullptr && !scale->is_int() && !bias->is_int() &&
           scale->shape == Ints{picture(node.inputs[0])->channels} && scale->shape == bias->shape &&
           epsilon >= 0 && epsilon <= 1;
  }

  bool pad(const Node& node) const {
    const std::string mode = node.attr_string("mode", "constant");
    const Tensor* pads = fixed(node, 1);
    if ((mode != "constant" && mode != "reflect" && mode != "edge") || pads == nullptr ||
        pads->ints.size() != 8 || !within(pads->ints, 0, kMostPad) || !known_scalar(node, 2) ||
        !absent(node, 3)) {
      return false;
    }
    const Ints& p = pads->ints;
    const PictureShape& in = *picture(node.inputs[0]);
    const bool reflects = std::max(p[2], p[6]) < in.height && std::max(p[3], p[7]) < in.width;
    return p[0] + p[1] + p[4] + p[5] == 0 && (mode != "reflect" || reflects);
  }

  bool slice(Node& node) {
    const Tensor* starts = fixed(node, 1);
    const Tensor* ends = fixed(node, 2);
    if (starts == nullptr || ends == nullptr || !starts->is_int() || !ends->is_int() ||
        starts->shape.size() != 1 || starts->shape != ends->shape || !known(node, 3, true) ||
        !known(node, 4, true)) {
      return false;
    }
    const size_t count = starts->ints.size();
    Ints axes;
    for (size_t i = 0; i < count; ++i) axes.push_back(static_cast<int64_t>(i));
    if (const Tensor* given = fixed(node, 3)) axes = given->ints;
    for (int64_t& axis : axes) axis += axis < 0 ? 4 : 0;
    Ints steps(count, 1);
    if (const Tensor* given = fixed(node, 4)) steps = given->ints;
    const std::set<int64_t> distinct(axes.begin(), axes.end());
    if (axes.size() != count || steps.size() != count || distinct.size() != count ||
        !within(axes, 0, 3) || !within(steps, 1, kMostPad)) {
      return false;
    }
    Node made = node;
    made.inputs.resize(5);
    made.inputs[3] = add_constant(node.name + "/axes", ints(axes));
    made.inputs[4] = add_constant(node.name + "/steps", ints(steps));
    const PictureShape& in = *picture(node.inputs[0]);
    const PictureShape kept{slice_range(graph_, made, 1, in.channels).count,
                            slice_range(graph_, made, 2, in.height).count,
                            slice_range(graph_, made, 3, in.width).count};
    if (!(kept == *picture(node.outputs[0]))) return false;
    node = std::move(made);
    return true;
  }

  // Nearest pixels, in whichever of these ways they are asked for, are each pixel repeated when the
  // factor is whole: (x + 0.5) / f - 0.5 is never half-way between two.
  bool resize(Node& node) {
    const std::string where = node.attr_string("coordinate_transformation_mode", "half_pixel");
    const std::string nearest = node.attr_string("nearest_mode", "round_prefer_floor");
    const bool half = (where == "half_pixel" || where == "pytorch_half_pixel") &&
                      nearest.starts_with("round_prefer");
    if (node.attr_string("mode", "nearest") != "nearest" ||
        !(half || (where == "asymmetric" && nearest == "floor")) ||
        node.attributes.contains("axes")) {
      return false;
    }
    const PictureShape& in = *picture(node.inputs[0]);
    const PictureShape& out = *picture(node.outputs[0]);
    const int64_t h = out.height / in.height, w = out.width / in.width;
    if (out.channels != in.channels || h * in.height != out.height || w * in.width != out.width ||
        h > kMostFactor || w > kMostFactor) {
      return false;
    }
    if (!absent(node, 2)) {
      const Tensor* scales = fixed(node, 2);
      const std::vector<float> whole{1, 1, static_cast<float>(h), static_cast<float>(w)};
      if (scales == nullptr || (!scales->floats.empty() && scales->floats != whole)) return false;
    }
    Tensor scales;
    scales.shape = {4};
    scales.floats = {1, 1, static_cast<float>(h), static_cast<float>(w)};
    const std::string name = add_constant(node.name + "/scales", std::move(scales));
    node.inputs = {node.inputs[0], "", name};
    return true;
  }

  bool depth_to_space(const Node& node) const {
    const int64_t block = node.attr_int("blocksize", 0);
    const std::string mode = node.attr_string("mode", "DCR");
    return block >= 1 && block <= kMostFactor &&
           picture(node.inputs[0])->channels % (block * block) == 0 &&
           (mode == "DCR" || mode == "CRD");
  }

  static Tensor ints(Ints values) {
    Tensor tensor;
    tensor.type = ElementType::i64;
    tensor.shape = {static_cast<int64_t>(values.size())};
    tensor.ints = std::move(values);
    return tensor;
  }
  std::string add_constant(std::string wish, Tensor tensor) {
    while (types_.contains(wish)) wish += "_";
    types_[wish] = {tensor.type, tensor.shape};
    graph_.initializers[wish] = std::move(tensor);
    return wish;
  }

  Graph& graph_;
  std::map<std::string, TensorType>& types_;
  const ShapeMap& shapes_;
};

}  // namespace

FastGraph find_fast(ConcreteGraph graph) {
  FastGraph fast;
  fast.concrete = std::move(graph);
  for (const auto& [name, type] : fast.concrete.types) {
    if (const auto picture = picture_of(type)) fast.shapes[name] = *picture;
  }
  FastForm form(fast);
  for (Node& node : fast.concrete.graph.nodes) {
    if (form.take(node)) fast.nodes.insert(&node);
  }
  return fast;
}

}  // namespace atelier::model
