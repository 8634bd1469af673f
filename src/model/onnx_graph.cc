// SPDX-License-Identifier: Apache-2.0
// Checked protobuf to Graph.
#include <unistd.h>

#include <algorithm>
#include <set>

#include "model/onnx_import_steps.h"

namespace atelier::model {
namespace {

// Strings and lists of strings that no operator of ours reads are left out.
Result<std::optional<Attribute>> to_attribute(const onnx::AttributeProto& proto,
                                              const std::string& what, std::string_view name) {
  switch (proto.type()) {
    case onnx::AttributeProto::INT: return std::optional<Attribute>(int64_t{proto.i()});
    case onnx::AttributeProto::FLOAT: return std::optional<Attribute>(proto.f());
    case onnx::AttributeProto::STRING: return std::optional<Attribute>(proto.s());
    case onnx::AttributeProto::INTS:
      return std::optional<Attribute>(
          std::vector<int64_t>(proto.ints().begin(), proto.ints().end()));
    case onnx::AttributeProto::FLOATS:
      return std::optional<Attribute>(
          std::vector<float>(proto.floats().begin(), proto.floats().end()));
    case onnx::AttributeProto::TENSOR:
      return std::optional<Attribute>(TRY(to_tensor(proto.t(), "the constant of " + what, name)));
    default: return std::optional<Attribute>();
  }
}

ValueInfo to_value(const onnx::ValueInfoProto& proto) {
  ValueInfo value;
  value.name = proto.name();
  const auto& type = proto.type().tensor_type();
  value.type = element_type(type.elem_type()).value_or(ElementType::f32);
  for (const auto& dim : type.shape().dim()) {
    value.shape.push_back(dim.has_dim_value() && dim.dim_value() > 0 ? dim.dim_value() : -1);
  }
  return value;
}

Result<Node> to_node(const onnx::NodeProto& proto, std::string_view name) {
  Node node;
  node.op = proto.op_type();
  node.name = proto.name();
  node.inputs.assign(proto.input().begin(), proto.input().end());
  while (!node.inputs.empty() && node.inputs.back().empty()) node.inputs.pop_back();
  node.outputs.assign(proto.output().begin(), proto.output().end());
  while (node.outputs.size() > 1 && node.outputs.back().empty()) node.outputs.pop_back();
  for (const auto& attribute : proto.attribute()) {
    auto value = TRY(to_attribute(attribute, describe(proto), name));
    if (value) node.attributes.emplace(attribute.name(), std::move(*value));
  }
  return node;
}

// The value of a Constant node, in any of the forms of opset 7 to 17 that hold numbers.
std::optional<Tensor> constant_value(const Node& node) {
  if (node.attributes.size() != 1) return {};
  const auto& [key, attribute] = *node.attributes.begin();
  Tensor tensor;
  if (const auto* value = std::get_if<Tensor>(&attribute); value != nullptr && key == "value") {
    return *value;
  }
  if (const auto* f = std::get_if<float>(&attribute); f != nullptr && key == "value_float") {
    tensor.floats = {*f};
    return tensor;
  }
  if (const auto* f = std::get_if<std::vector<float>>(&attribute);
      f != nullptr && key == "value_floats") {
    tensor.floats = *f;
    tensor.shape = {static_cast<int64_t>(f->size())};
    return tensor;
  }
  tensor.type = ElementType::i64;
  if (const auto* i = std::get_if<int64_t>(&attribute); i != nullptr && key == "value_int") {
    tensor.ints = {*i};
    return tensor;
  }
  if (const auto* i = std::get_if<std::vector<int64_t>>(&attribute);
      i != nullptr && key == "value_ints") {
    tensor.ints = *i;
    tensor.shape = {static_cast<int64_t>(i->size())};
    return tensor;
  }
  return {};
}

// Decoded weights of files that claim sparse or short ones would fill the machine.
Result<void> check_memory(const onnx::GraphProto& graph, std::string_view name) {
  uint64_t bytes = 0;
  for (const auto& tensor : graph.initializer()) {
    const int64_t count =
        checked_count(std::span(tensor.dims().data(), static_cast<size_t>(tensor.dims_size())));
    const bool floats = is_float(element_type(tensor.data_type()).value_or(ElementType::f32));
    bytes += static_cast<uint64_t>(count) * (floats ? sizeof(float) : sizeof(int64_t));
  }
  const auto machine =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  if (bytes > machine / 4 * 3) {
    return make_error(Code::invalid_argument,
                      "'{}' has weights of {} MiB, but this machine has {} MiB of memory.", name,
                      bytes >> 20, machine >> 20);
  }
  return {};
}

}  // namespace

Result<Graph> to_graph(onnx::ModelProto& model, std::string_view name,
                       const OpenExternal& open_external) {
  onnx::GraphProto& proto = *model.mutable_graph();
  TRY(check_memory(proto, name));
  Graph graph;
  graph.name = proto.name().empty() ? std::string(name) : proto.name();
  ExternalWeights external(open_external, name);
  for (auto& tensor : *proto.mutable_initializer()) {
    const auto what = fmt::format("initialiser '{}'", printable(tensor.name()));
    graph.initializers[tensor.name()] = tensor.data_location() == onnx::TensorProto::EXTERNAL
                                            ? TRY(external.read(tensor, what))
                                            : TRY(to_tensor(tensor, what, name));
    onnx::TensorProto().Swap(&tensor);  // its bytes are not needed twice
  }
  for (const auto& value : proto.input()) {
    if (!graph.initializers.contains(value.name())) graph.inputs.push_back(to_value(value));
  }
  for (const auto& each : proto.node()) {
    Node node = TRY(to_node(each, name));
    if (node.op != "Constant") {
      graph.nodes.push_back(std::move(node));
      continue;
    }
    auto value = constant_value(node);
    if (!value) {
      return make_error(Code::invalid_argument,
                        "'{}': {} holds no plain tensor of numbers, which is not supported.", name,
                        describe(each));
    }
    graph.initializers[node.outputs[0]] = std::move(*value);
  }
  for (const auto& value : proto.output()) graph.outputs.push_back(to_value(value));
  return graph;
}

Result<void> tidy(Graph& graph, std::string_view name) {
  std::set<std::string> needed;
  for (const auto& output : graph.outputs) needed.insert(output.name);
  std::vector<Node> kept;
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) {
    const auto used = [&](const std::string& output) { return needed.contains(output); };
    if (std::none_of(node->outputs.begin(), node->outputs.end(), used)) continue;
    needed.insert(node->inputs.begin(), node->inputs.end());
    needed.erase("");  // an absent input, which an absent output must not seem to make
    kept.push_back(std::move(*node));
  }
  std::reverse(kept.begin(), kept.end());
  graph.nodes = std::move(kept);
  std::erase_if(graph.initializers, [&](const auto& item) { return !needed.contains(item.first); });

  std::set<std::string> made;
  std::map<std::string, int> taken;
  for (Node& node : graph.nodes) {
    made.insert(node.outputs.begin(), node.outputs.end());
    if (node.name.empty()) {
      node.name = *std::find_if(node.outputs.begin(), node.outputs.end(),
                                [](const std::string& o) { return !o.empty(); });
    }
    const std::string wish = node.name;
    while (!taken.emplace(node.name, 1).second) {
      node.name = fmt::format("{}#{}", wish, ++taken[wish]);
    }
  }
  for (const ValueInfo& output : graph.outputs) {
    if (made.contains(output.name)) continue;
    return make_error(Code::invalid_argument, "'{}': no node computes output '{}'.", name,
                      printable(output.name));
  }
  return {};
}

}  // namespace atelier::model
