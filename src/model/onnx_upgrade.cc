// SPDX-License-Identifier: Apache-2.0
// Operators of opset 7 to 16 in their form of opset 17, one function for each change that matters.
// The source of each rule is onnx/docs/Changelog.md, which lists every operator at every opset;
// operators that only learned new types, new attributes with old defaults or negative axes need
// none. Cost: one pass. Tested by onnx_upgrade_test.cc: old and new form give the same numbers.
#include <algorithm>
#include <array>
#include <limits>
#include <set>

#include "model/onnx_import_steps.h"

namespace atelier::model {
namespace {

using Ints = std::vector<int64_t>;
using Floats = std::vector<float>;

constexpr std::array<std::string_view, 3> kExperimental = {"ImageScaler", "Affine", "Crop"};

class Upgrader {
 public:
  Upgrader(Graph& graph, int64_t opset, std::string_view name)
      : graph_(graph), opset_(opset), name_(name) {
    for (const auto& value : graph.outputs) outputs_.insert(value.name);
    for (const auto& [key, tensor] : graph.initializers) taken_.insert(key);
    for (const auto& value : graph.inputs) taken_.insert(value.name);
    for (const Node& node : graph.nodes) {
      taken_.insert(node.outputs.begin(), node.outputs.end());
      read_.insert(node.inputs.begin(), node.inputs.end());
    }
    read_.insert(outputs_.begin(), outputs_.end());
  }

  Result<void> run() {
    std::vector<Node> old;
    old.swap(graph_.nodes);
    for (Node& node : old) {
      for (std::string& input : node.inputs) {
        const auto it = same_as_.find(input);
        if (it != same_as_.end()) input = it->second;
      }
      TRY(any_opset(node));
    }
    return {};
  }

 private:
  Error refuse(const Node& node, std::string_view why) const {
    return make_error(Code::invalid_argument, "'{}': {} {}, which is not supported.", name_,
                      describe(node), why);
  }

  void keep(Node node) { graph_.nodes.push_back(std::move(node)); }

  Result<void> any_opset(Node& node) {
    if (node.op == "Identity" && !outputs_.contains(node.outputs[0])) {
      same_as_[node.outputs[0]] = node.inputs[0];
      return {};
    }
    if (node.op == "Dropout") return dropout(node);
    if (node.op == "BatchNormalization") return batch_normalization(node);
    if (node.op == "ImageScaler") return image_scaler(node);
    if (node.op == "Affine")
      return affine(node, node.attr_float("alpha", 1), {1}, {node.attr_float("beta", 0)});
    if (node.op == "Crop") return crop(node);
    return by_opset(node);
  }

  // Each line: the opset that changed the operator.
  Result<void> by_opset(Node& node) {
    const std::string& op = node.op;
    if (opset_ < 10) {
      if (op == "Upsample") return upsample(node);
      if (op == "Slice") slice(node);
      if (op == "TopK" && opset_ < 10) attribute_to_input(node, "k", 1);
    }
    if (opset_ < 11) {
      if (op == "Clip") clip(node);
      if (op == "Pad") pad(node);
      if (op == "Resize") resize(node);
      if (op == "Scatter") node.op = "ScatterElements";
      if (op == "ConvTranspose") conv_transpose(node);
    }
    if (opset_ < 13) {
      if (op == "Squeeze" || op == "Unsqueeze" || op == "ReduceSum")
        attribute_to_input(node, "axes", 1);
      if (op == "Split") attribute_to_input(node, "split", 1);
      if (op == "Softmax" || op == "LogSoftmax" || op == "Hardmax") return softmax(node);
    }
    if (opset_ < 16 && op == "RoiAlign") {
      node.attributes["coordinate_transformation_mode"] = std::string("output_half_pixel");
    }
    keep(std::move(node));
    return {};
  }

  // In inference Dropout does nothing, and its mask is all true: a number up to opset 9.
  Result<void> dropout(Node& node) {
    if (node.inputs.size() > 2 && !node.inputs[2].empty()) {
      const auto it = graph_.initializers.find(node.inputs[2]);
      if (it == graph_.initializers.end() || it->second.ints != Ints{0}) {
        return make_error(Code::invalid_argument,
                          "'{}': {} is set to train; export the model for inference.", name_,
                          describe(node));
      }
    }
    const bool mask = node.outputs.size() > 1 && read_.contains(node.outputs[1]);
    if (mask) {
      node.inputs.resize(1);
      node.attributes.clear();
      const Node kept = node;
      if (opset_ < 10) node.outputs[1] = fresh(node.outputs[1] + "/true");
      const std::string truth = node.outputs[1];
      keep(std::move(node));
      if (opset_ < 10) emit("CastLike", kept, "mask", {truth, kept.inputs[0]}, kept.outputs[1]);
    } else if (outputs_.contains(node.outputs[0])) {
      Node copy;
      copy.op = "Identity";
      copy.name = node.name;
      copy.inputs = {node.inputs[0]};
      copy.outputs = {node.outputs[0]};
      keep(std::move(copy));
    } else {
      same_as_[node.outputs[0]] = node.inputs[0];
    }
    return {};
  }

  // The other outputs are what training keeps; `spatial` of opset 7 chose means per channel.
  Result<void> batch_normalization(Node& node) {
    bool trains = node.attr_int("training_mode", 0) != 0;
    for (size_t i = 1; i < node.outputs.size(); ++i) trains |= read_.contains(node.outputs[i]);
    if (trains) {
      return make_error(Code::invalid_argument,
                        "'{}': {} is set to train; export the model for inference.", name_,
                        describe(node));
    }
    if (node.attr_int("spatial", 1) == 0) return refuse(node, "has a mean for each pixel");
    node.attributes.erase("spatial");
    node.outputs.resize(1);
    keep(std::move(node));
    return {};
  }

  // y = x * scale + bias, the bias one number for each channel.
  Result<void> image_scaler(const Node& node) {
    Floats bias{0};
    const auto it = node.attributes.find("bias");
    if (it != node.attributes.end()) {
      if (const auto* values = std::get_if<Floats>(&it->second); values && !values->empty())
        bias = *values;
    }
    const auto channels = static_cast<int64_t>(bias.size());
    return affine(node, node.attr_float("scale", 1), {1, channels, 1, 1}, bias);
  }

  Result<void> affine(const Node& node, float scale, const Ints& bias_shape, const Floats& bias) {
    const bool add = std::any_of(bias.begin(), bias.end(), [](float b) { return b != 0; });
    std::string input = node.inputs[0];
    const std::string output = node.outputs[0];
    if (scale != 1 || !add) {
      const std::string product = add ? fresh(output + "/scaled") : output;
      emit("Mul", node, "scale", {input, floats(product + "/scale", {1}, {scale})}, product);
      input = product;
    }
    if (add) emit("Add", node, "bias", {input, floats(output + "/bias", bias_shape, bias)}, output);
    return {};
  }

  Result<void> crop(const Node& node) {
    const Ints border = node.attr_ints("border", {});
    // The old form with a `scale` (the size to keep) was never written by an exporter we know.
    if (border.size() != 4 || node.attributes.contains("scale")) {
      return refuse(node, "has no border of four numbers");
    }
    if (*std::min_element(border.begin(), border.end()) < 0) {
      return refuse(node, "has a negative border");
    }
    const auto end = [](int64_t b) { return b == 0 ? std::numeric_limits<int32_t>::max() : -b; };
    // border: left, top, right, bottom.
    const std::string& output = node.outputs[0];
    emit("Slice", node, "slice",
         {node.inputs[0], ints(output + "/starts", {border[1], border[0]}),
          ints(output + "/ends", {end(border[3]), end(border[2])}), ints(output + "/axes", {2, 3})},
         output);
    return {};
  }

  // Up to opset 10 the source of a pixel is at x / scale: rounded down where a picture grows, and
  // up where it shrinks, as the test data of that opset have it.
  void resize(Node& node) {
    const std::string scales = node.inputs.size() > 1 ? node.inputs[1] : "";
    const auto it = graph_.initializers.find(scales);
    const bool shrinks = it != graph_.initializers.end() &&
                         std::any_of(it->second.floats.begin(), it->second.floats.end(),
                                     [](float s) { return s < 1; });
    node.inputs = {node.inputs[0], "", scales};
    node.attributes["coordinate_transformation_mode"] = std::string("asymmetric");
    node.attributes["nearest_mode"] = std::string(shrinks ? "ceil" : "floor");
    node.attributes["mode"] = node.attr_string("mode", "nearest");
  }

  Result<void> upsample(Node& node) {
    const auto it = node.attributes.find("scales");
    if (it != node.attributes.end()) {
      const auto* scales = std::get_if<Floats>(&it->second);
      if (scales == nullptr || node.inputs.size() != 1) return refuse(node, "has strange scales");
      node.inputs.push_back(
          floats(node.outputs[0] + "/scales", {static_cast<int64_t>(scales->size())}, *scales));
      node.attributes.erase("scales");
    }
    if (node.inputs.size() != 2) return refuse(node, "has no scales");
    node.op = "Resize";
    if (node.attr_string("mode", "nearest") == "bilinear") {
      node.attributes["mode"] = std::string("linear");
    }
    resize(node);
    keep(std::move(node));
    return {};
  }

  void slice(Node& node) {
    node.inputs.resize(1);
    const std::string& output = node.outputs[0];
    for (const char* key : {"starts", "ends"}) {
      node.inputs.push_back(ints(fmt::format("{}/{}", output, key), node.attr_ints(key, {})));
    }
    if (node.attributes.contains("axes")) {
      node.inputs.push_back(ints(output + "/axes", node.attr_ints("axes", {})));
    }
    node.attributes.clear();
  }

  static void conv_transpose(Node& node) {
    const bool same = node.attr_string("auto_pad", "NOTSET").starts_with("SAME");
    if (same || node.attributes.contains("output_shape")) {
      node.attributes[kOddPaddingOfOpset10] = int64_t{1};
    }
  }

  void clip(Node& node) {
    node.inputs.resize(1);
    // Where both are absent, the whole range of float32 is left.
    for (const char* key : {"min", "max"}) {
      const auto it = node.attributes.find(key);
      const float* bound = it == node.attributes.end() ? nullptr : std::get_if<float>(&it->second);
      node.inputs.push_back(
          bound == nullptr ? "" : floats(fmt::format("{}/{}", node.outputs[0], key), {}, {*bound}));
    }
    while (node.inputs.back().empty() && node.inputs.size() > 1) node.inputs.pop_back();
    node.attributes.clear();
  }

  void pad(Node& node) {
    node.inputs.resize(1);
    node.inputs.push_back(ints(node.outputs[0] + "/pads", node.attr_ints("pads", {})));
    const float value = node.attr_float("value", 0);
    if (value != 0) node.inputs.push_back(floats(node.outputs[0] + "/value", {}, {value}));
    node.attributes.erase("pads");
    node.attributes.erase("value");
  }

  // An attribute that became an optional input.
  void attribute_to_input(Node& node, const char* key, size_t index) {
    const auto it = node.attributes.find(key);
    if (it == node.attributes.end()) return;
    Ints values = node.attr_ints(key, {});
    if (const auto* one = std::get_if<int64_t>(&it->second)) values = {*one};
    node.attributes.erase(key);
    if (values.empty()) return;
    node.inputs.resize(index);
    node.inputs.push_back(ints(fmt::format("{}/{}", node.outputs[0], key), std::move(values)));
  }

  // Up to opset 12 these work on all dimensions from `axis` on as if they were one.
  Result<void> softmax(Node& node) {
    const int64_t axis = node.attr_int("axis", 1);
    const std::string input = node.inputs[0];
    const std::string output = node.outputs[0];
    node.attributes["axis"] = int64_t{-1};
    if (axis == -1) {  // already one
      keep(std::move(node));
      return {};
    }
    const std::string flat = fresh(output + "/flat");
    const std::string result = fresh(output + "/result");
    const std::string shape = fresh(output + "/shape");
    emit("Flatten", node, "flatten", {input}, flat, {{"axis", axis}});
    emit("Shape", node, "shape", {input}, shape);
    node.inputs = {flat};
    node.outputs = {result};
    const Node& kept = graph_.nodes.emplace_back(std::move(node));
    emit("Reshape", Node(kept), "reshape", {result, shape}, output, {{"allowzero", int64_t{1}}});
    return {};
  }

  void emit(const char* op, const Node& from, const char* suffix, std::vector<std::string> inputs,
            const std::string& output, std::map<std::string, Attribute> attributes = {}) {
    Node node;
    node.op = op;
    if (!from.name.empty()) node.name = fmt::format("{}/{}", from.name, suffix);
    node.inputs = std::move(inputs);
    node.outputs = {output};
    node.attributes = std::move(attributes);
    keep(std::move(node));
  }

  std::string floats(const std::string& wish, Ints shape, Floats values) {
    Tensor tensor;
    tensor.shape = std::move(shape);
    tensor.floats = std::move(values);
    return constant(wish, std::move(tensor));
  }
  std::string ints(const std::string& wish, Ints values) {
    Tensor tensor;
    tensor.type = ElementType::i64;
    tensor.shape = {static_cast<int64_t>(values.size())};
    tensor.ints = std::move(values);
    return constant(wish, std::move(tensor));
  }
  std::string constant(const std::string& wish, Tensor tensor) {
    std::string name = fresh(wish);
    graph_.initializers[name] = std::move(tensor);
    return name;
  }
  // Counts where a file holds many names that look like ours: no loop over them twice.
  std::string fresh(const std::string& wish) {
    std::string name = wish;
    while (!taken_.insert(name).second) name = fmt::format("{}_{}", wish, ++made_);
    return name;
  }

  Graph& graph_;
  int64_t opset_;
  std::string_view name_;
  std::set<std::string> outputs_;
  std::set<std::string> taken_;
  std::set<std::string> read_;
  std::map<std::string, std::string> same_as_;
  int64_t made_ = 0;
};

}  // namespace

bool is_experimental(std::string_view op) {
  return std::find(kExperimental.begin(), kExperimental.end(), op) != kExperimental.end();
}

bool is_rewritten(std::string_view op, int64_t opset) {
  return op == "Constant" || op == "Identity" || op == "Dropout" ||
         (opset <= 9 && (is_experimental(op) || op == "Upsample")) ||
         (opset <= 10 && op == "Scatter");
}

Result<void> upgrade(Graph& graph, int64_t opset, std::string_view name) {
  return Upgrader(graph, opset, name).run();
}

}  // namespace atelier::model
