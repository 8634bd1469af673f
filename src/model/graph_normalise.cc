// SPDX-License-Identifier: Apache-2.0
// Makes every graph look alike, so that a runner need not know ONNX's defaults, and refuses forms
// that no runner executes. Operator by operator; the source of each rule is the operator's page in
// onnx/docs/Operators.md at opset 13.
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "model/onnx_import_steps.h"

namespace atelier::model {
namespace {

using Shapes = std::map<std::string, std::vector<int64_t>>;
using Ints = std::vector<int64_t>;

bool all_of(const Ints& values, int64_t low, int64_t high) {
  return std::all_of(values.begin(), values.end(),
                     [=](int64_t v) { return v >= low && v <= high; });
}

class Normaliser {
 public:
  Normaliser(Graph& graph, const Shapes& shapes, std::string_view name)
      : graph_(graph), shapes_(shapes), name_(name) {}

  Result<void> node(Node& node) {
    TRY(check_arity(node));
    if (node.op == "Conv") return convolution(node, false);
    if (node.op == "ConvTranspose") return convolution(node, true);
    if (node.op == "InstanceNormalization") return instance_norm(node);
    if (node.op == "Pad") return pad(node);
    if (node.op == "Slice") return slice(node);
    if (node.op == "Resize") return resize(node);
    if (node.op == "Clip") return clip(node);
    if (node.op == "DepthToSpace") return depth_to_space(node);
    return {};
  }

 private:
  Error refuse(const Node& node, std::string_view why) const {
    return make_error(Code::invalid_argument, "'{}': {} {}, which is not supported.", name_,
                      describe(node), why);
  }

  Result<void> check_arity(const Node& node) const {
    struct Arity {
      size_t least, most;
    };
    static const std::map<std::string, Arity> kArity = {
        {"Add", {2, 2}},    {"Sub", {2, 2}},         {"Mul", {2, 2}},
        {"Div", {2, 2}},    {"Relu", {1, 1}},        {"Tanh", {1, 1}},
        {"Clip", {1, 3}},   {"Conv", {2, 3}},        {"ConvTranspose", {2, 3}},
        {"Pad", {2, 3}},    {"Slice", {3, 5}},       {"InstanceNormalization", {3, 3}},
        {"Resize", {3, 3}}, {"DepthToSpace", {1, 1}}};
    const Arity arity = kArity.at(node.op);
    if (node.inputs.size() < arity.least || node.inputs.size() > arity.most) {
      return refuse(node, fmt::format("has {} inputs", node.inputs.size()));
    }
    const auto constant = [&](const std::string& i) {
      return i.empty() || graph_.initializers.contains(i);
    };
    if (std::all_of(node.inputs.begin(), node.inputs.end(), constant)) {
      return refuse(node, "computes from constants only");
    }
    const bool binary = kArity.at(node.op).least == 2 && kArity.at(node.op).most == 2;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const auto it = graph_.initializers.find(node.inputs[i]);
      if (it == graph_.initializers.end()) continue;
      if ((binary || i == 0) && it->second.is_int()) return refuse(node, "computes with integers");
    }
    return {};
  }

  // An input that must be known before any frame is; null where it is absent.
  Result<const Tensor*> constant(const Node& node, size_t index, bool is_int) const {
    if (index >= node.inputs.size() || node.inputs[index].empty()) return nullptr;
    const auto it = graph_.initializers.find(node.inputs[index]);
    if (it == graph_.initializers.end()) {
      return refuse(node, fmt::format("computes its input {} while running", index));
    }
    if (it->second.is_int() != is_int) {
      return refuse(node, fmt::format("has the wrong data type in input {}", index));
    }
    return &it->second;
  }

  // Channels and rank as shape inference found them; -1 where it did not.
  Ints shape(const std::string& value) const {
    const auto it = shapes_.find(value);
    return it == shapes_.end() ? Ints() : it->second;
  }

  Result<void> require_picture(const Node& node) const {
    const Ints input = shape(node.inputs[0]);
    if (input.size() == 4) return {};
    return refuse(node,
                  fmt::format("has an input of {} dimensions instead of N, C, H, W", input.size()));
  }

  Result<void> convolution(Node& node, bool transposed) {
    TRY(require_picture(node));
    const Tensor* weight = TRY(constant(node, 1, false));
    const Tensor* bias = TRY(constant(node, 2, false));
    if (weight == nullptr || weight->shape.size() != 4 || weight->count() == 0) {
      return refuse(node, "has weights that are not two-dimensional");
    }
    const int64_t group = node.attr_int("group", 1);
    node.attributes["group"] = group;
    const Ints kernel(weight->shape.begin() + 2, weight->shape.end());
    if (node.attr_ints("kernel_shape", kernel) != kernel) {
      return refuse(node, "has a kernel_shape that differs from its weights");
    }
    node.attributes["kernel_shape"] = kernel;
    const int64_t in_channels = transposed ? weight->shape[0] : weight->shape[1] * group;
    const int64_t out_channels = transposed ? weight->shape[1] * group : weight->shape[0];
    const int64_t given = shape(node.inputs[0])[1];
    if (group < 1 || weight->shape[0] % group != 0 || (given != -1 && given != in_channels)) {
      return refuse(node,
                    fmt::format("has weights for {} channels but gets {}", in_channels, given));
    }
    if (bias != nullptr && (bias->shape.size() != 1 || bias->shape[0] != out_channels)) {
      return refuse(node, "has a bias that does not fit its weights");
    }
    for (const char* key : {"strides", "dilations"}) {
      const Ints values = node.attr_ints(key, {1, 1});
      if (values.size() != 2 || !all_of(values, 1, 4096)) {
        return refuse(node, fmt::format("has strange {}", key));
      }
      node.attributes[key] = values;
    }
    if (!all_of(kernel, 1, 4096)) return refuse(node, "has a strange kernel");
    return transposed ? transposed_padding(node) : padding(node);
  }

  Result<void> padding(Node& node) {
    const std::string automatic = node.attr_string("auto_pad", "NOTSET");
    if (automatic == "SAME_UPPER" || automatic == "SAME_LOWER") {
      node.attributes.erase("pads");
      return {};
    }
    if (automatic != "NOTSET" && automatic != "VALID")
      return refuse(node, "has a strange auto_pad");
    node.attributes.erase("auto_pad");
    if (automatic == "VALID") node.attributes.erase("pads");
    const Ints pads = node.attr_ints("pads", {0, 0, 0, 0});
    if (pads.size() != 4 || !all_of(pads, 0, 4096)) return refuse(node, "has strange pads");
    node.attributes["pads"] = pads;
    return {};
  }

  // With output_shape, the padding follows from the size of the input (onnx Operators.md,
  // ConvTranspose); where that is fixed in the file, it is written out.
  Result<void> transposed_padding(Node& node) {
    const std::string automatic = node.attr_string("auto_pad", "NOTSET");
    if (automatic != "NOTSET" && automatic != "VALID") return refuse(node, "has an auto_pad");
    TRY(padding(node));
    Ints extra = node.attr_ints("output_padding", {0, 0});
    const Ints output = node.attr_ints("output_shape", {});
    if (!output.empty()) {
      const Ints input = shape(node.inputs[0]);
      // Some write the whole shape, some H and W alone.
      if ((output.size() != 2 && output.size() != 4) || input[2] < 0 || input[3] < 0) {
        return refuse(node, "fixes its output_shape for any input size");
      }
      Ints pads{0, 0, 0, 0};
      for (size_t i = 0; i < 2; ++i) {
        const int64_t stride = node.attr_ints("strides", {})[i];
        const int64_t reach =
            (node.attr_ints("kernel_shape", {})[i] - 1) * node.attr_ints("dilations", {})[i] + 1;
        const int64_t total =
            stride * (input[2 + i] - 1) + extra[i] + reach - output[output.size() - 2 + i];
        pads[i] = std::max<int64_t>(total, 0) / 2;
        pads[2 + i] = std::max<int64_t>(total, 0) - pads[i];
        extra[i] += std::max<int64_t>(-total, 0);
      }
      if (!all_of(pads, 0, 4096)) return refuse(node, "has a strange output_shape");
      node.attributes["pads"] = pads;
      node.attributes.erase("output_shape");
    }
    const Ints strides = node.attr_ints("strides", {});
    if (extra.size() != 2 || !all_of(extra, 0, std::max(strides[0], strides[1]))) {
      return refuse(node, "has strange output padding");
    }
    node.attributes["output_padding"] = extra;
    return {};
  }

  Result<void> instance_norm(Node& node) {
    TRY(require_picture(node));
    const Tensor* scale = TRY(constant(node, 1, false));
    const Tensor* bias = TRY(constant(node, 2, false));
    const int64_t channels = shape(node.inputs[0])[1];
    if (scale == nullptr || bias == nullptr || scale->shape.size() != 1 ||
        scale->shape != bias->shape || (channels != -1 && scale->shape[0] != channels)) {
      return refuse(node, "has a scale or bias that does not fit its input");
    }
    const float epsilon = node.attr_float("epsilon", 1e-5F);
    if (!(epsilon >= 0 && epsilon <= 1)) return refuse(node, "has a strange epsilon");
    node.attributes["epsilon"] = epsilon;
    return {};
  }

  Result<void> pad(Node& node) {
    TRY(require_picture(node));
    const std::string mode = node.attr_string("mode", "constant");
    if (mode != "constant" && mode != "reflect" && mode != "edge") {
      return refuse(node, fmt::format("has mode '{}'", printable(mode)));
    }
    node.attributes["mode"] = mode;
    const Tensor* pads = TRY(constant(node, 1, true));
    const Tensor* value = TRY(constant(node, 2, false));
    if (pads == nullptr || pads->ints.size() != 8 || !all_of(pads->ints, 0, 1 << 16)) {
      return refuse(node, "has strange pads");
    }
    if (pads->ints[0] + pads->ints[1] + pads->ints[4] + pads->ints[5] != 0) {
      return refuse(node, "pads other dimensions than H and W");
    }
    if (value != nullptr && value->floats.size() != 1) return refuse(node, "has a strange value");
    return {};
  }

  // Slice afterwards has all of starts, ends, axes and steps, the axes from 0.
  Result<void> slice(Node& node) {
    const Ints input = shape(node.inputs[0]);
    const Tensor* starts = TRY(constant(node, 1, true));
    const Tensor* ends = TRY(constant(node, 2, true));
    const Tensor* axes = TRY(constant(node, 3, true));
    const Tensor* steps = TRY(constant(node, 4, true));
    if (starts == nullptr || ends == nullptr || starts->shape.size() != 1 ||
        starts->shape != ends->shape || starts->ints.size() > input.size()) {
      return refuse(node, "has strange bounds");
    }
    const size_t count = starts->ints.size();
    Ints axis;
    for (size_t i = 0; i < count; ++i) axis.push_back(static_cast<int64_t>(i));
    if (axes != nullptr) axis = axes->ints;
    for (int64_t& a : axis) a += a < 0 ? static_cast<int64_t>(input.size()) : 0;
    Ints step = steps != nullptr ? steps->ints : Ints(count, 1);
    const std::set<int64_t> distinct(axis.begin(), axis.end());
    if (axis.size() != count || step.size() != count || distinct.size() != count ||
        !all_of(axis, 0, static_cast<int64_t>(input.size()) - 1)) {
      return refuse(node, "has strange axes");
    }
    if (!all_of(step, 1, 1 << 16)) return refuse(node, "has steps below one");
    node.inputs.resize(5);
    node.inputs[3] = add_ints(node.name + "/axes", axis);
    node.inputs[4] = add_ints(node.name + "/steps", step);
    return {};
  }

  // Whole-number enlargement by repetition, which is what upsampling in style networks is.
  Result<void> resize(Node& node) {
    TRY(require_picture(node));
    const Tensor* scales = TRY(constant(node, 2, false));
    const std::string mode = node.attr_string("mode", "nearest");
    const std::string where = node.attr_string("coordinate_transformation_mode", "half_pixel");
    const std::string nearest = node.attr_string("nearest_mode", "round_prefer_floor");
    if (mode != "nearest" || where != "asymmetric" || nearest != "floor") {
      return refuse(node,
                    fmt::format("resizes by {} ({}, {}) instead of nearest (asymmetric, floor)",
                                printable(mode), printable(where), printable(nearest)));
    }
    const auto whole = [](float s) { return s >= 1 && s <= 64 && s == std::floor(s); };
    if (scales == nullptr || scales->floats.size() != 4 || scales->floats[0] != 1 ||
        scales->floats[1] != 1 || !whole(scales->floats[2]) || !whole(scales->floats[3])) {
      return refuse(node, "does not enlarge H and W by whole numbers");
    }
    node.inputs[1].clear();
    node.attributes = {
        {"mode", mode}, {"coordinate_transformation_mode", where}, {"nearest_mode", nearest}};
    return {};
  }

  Result<void> clip(Node& node) {
    for (size_t i : {size_t{1}, size_t{2}}) {
      const Tensor* bound = TRY(constant(node, i, false));
      if (bound != nullptr && bound->floats.size() != 1) return refuse(node, "has strange bounds");
    }
    return {};
  }

  Result<void> depth_to_space(Node& node) {
    TRY(require_picture(node));
    const int64_t block = node.attr_int("blocksize", 0);
    const std::string mode = node.attr_string("mode", "DCR");
    const int64_t channels = shape(node.inputs[0])[1];
    if (block < 1 || block > 64 || (channels != -1 && channels % (block * block) != 0) ||
        (mode != "DCR" && mode != "CRD")) {
      return refuse(node, "has a strange blocksize or mode");
    }
    node.attributes["mode"] = mode;
    return {};
  }

  std::string add_ints(std::string wish, Ints values) {
    while (graph_.initializers.contains(wish) || shapes_.contains(wish)) wish += "_";
    Tensor tensor;
    tensor.type = ElementType::i64;
    tensor.shape = {static_cast<int64_t>(values.size())};
    tensor.ints = std::move(values);
    graph_.initializers[wish] = std::move(tensor);
    return wish;
  }

  Graph& graph_;
  const Shapes& shapes_;
  std::string_view name_;
};

void drop_dead_nodes(Graph& graph) {
  std::set<std::string> needed;
  for (const auto& output : graph.outputs) needed.insert(output.name);
  std::vector<Node> kept;
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) {
    if (!needed.contains(node->outputs[0])) continue;
    needed.insert(node->inputs.begin(), node->inputs.end());
    kept.push_back(std::move(*node));
  }
  std::reverse(kept.begin(), kept.end());
  graph.nodes = std::move(kept);
}

void drop_dead_initializers(Graph& graph) {
  std::set<std::string> needed;
  for (const Node& node : graph.nodes) needed.insert(node.inputs.begin(), node.inputs.end());
  std::erase_if(graph.initializers, [&](const auto& item) { return !needed.contains(item.first); });
}

void name_nodes(Graph& graph) {
  std::set<std::string> taken;
  for (Node& node : graph.nodes) {
    if (node.name.empty()) node.name = node.outputs[0];
    const std::string wish = node.name;
    for (int n = 2; !taken.insert(node.name).second; ++n) node.name = fmt::format("{}#{}", wish, n);
  }
}

}  // namespace

Result<void> normalise(Graph& graph, const Shapes& shapes, std::string_view name) {
  drop_dead_nodes(graph);
  name_nodes(graph);
  Normaliser normaliser(graph, shapes, name);
  for (Node& node : graph.nodes) TRY(normaliser.node(node));
  drop_dead_initializers(graph);
  std::set<std::string> made;
  for (const Node& node : graph.nodes) made.insert(node.outputs[0]);
  for (ValueInfo& output : graph.outputs) {
    if (!made.contains(output.name)) {
      return make_error(Code::invalid_argument, "'{}': no node computes output '{}'.", name,
                        printable(output.name));
    }
    const auto it = shapes.find(output.name);
    if (it != shapes.end()) output.shape = it->second;
  }
  return {};
}

}  // namespace atelier::model
