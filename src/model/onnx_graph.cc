// SPDX-License-Identifier: Apache-2.0
// Checked protobuf to Graph. Every count was compared with the bytes that are there, so nothing
// here allocates more than the file holds.
#include <algorithm>
#include <bit>
#include <cstring>

#include "model/onnx_import_steps.h"

namespace atelier::model {
namespace {

static_assert(std::endian::native == std::endian::little, "raw_data is little endian");

template <class T, class Repeated>
std::vector<T> numbers(const onnx::TensorProto& tensor, const Repeated& typed, int64_t count) {
  if (!tensor.has_raw_data()) return std::vector<T>(typed.begin(), typed.end());
  std::vector<T> values(static_cast<size_t>(count));
  if (count > 0) std::memcpy(values.data(), tensor.raw_data().data(), values.size() * sizeof(T));
  return values;
}

Result<Tensor> to_tensor(const onnx::TensorProto& proto, std::string_view name) {
  Tensor tensor;
  tensor.shape.assign(proto.dims().begin(), proto.dims().end());
  const int64_t count = checked_count(tensor.shape);
  if (proto.data_type() == onnx::TensorProto::INT64) tensor.type = ElementType::i64;
  if (tensor.is_int()) {
    tensor.ints = numbers<int64_t>(proto, proto.int64_data(), count);
  } else {
    tensor.floats = numbers<float>(proto, proto.float_data(), count);
  }
  const size_t size = tensor.is_int() ? tensor.ints.size() : tensor.floats.size();
  const bool typed = tensor.is_int() || proto.data_type() == onnx::TensorProto::FLOAT;
  if (!typed || count < 0 || size != static_cast<size_t>(count)) {
    return make_error(Code::invalid_argument, "'{}': the values of '{}' do not fit its shape.",
                      name, printable(proto.name()));
  }
  return tensor;
}

// Strings and lists of strings that no operator of ours reads are left out.
Result<std::optional<Attribute>> to_attribute(const onnx::AttributeProto& proto,
                                              std::string_view name) {
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
      return std::optional<Attribute>(TRY(to_tensor(proto.t(), name)));
    default: return std::optional<Attribute>();
  }
}

std::vector<int64_t> shape_of(const onnx::ValueInfoProto& value) {
  std::vector<int64_t> shape;
  for (const auto& dim : value.type().tensor_type().shape().dim()) {
    shape.push_back(dim.has_dim_value() && dim.dim_value() > 0 ? dim.dim_value() : -1);
  }
  return shape;
}

Result<Node> to_node(const onnx::NodeProto& proto, std::string_view name) {
  const auto& supported = supported_operators();
  if (std::find(supported.begin(), supported.end(), proto.op_type()) == supported.end() ||
      proto.output_size() != 1) {
    return make_error(Code::invalid_argument, "'{}': {} is in a form that is not supported.", name,
                      describe(proto));
  }
  Node node;
  node.op = proto.op_type();
  node.name = proto.name();
  node.inputs.assign(proto.input().begin(), proto.input().end());
  while (!node.inputs.empty() && node.inputs.back().empty()) node.inputs.pop_back();
  node.outputs.assign(proto.output().begin(), proto.output().end());
  for (const auto& attribute : proto.attribute()) {
    auto value = TRY(to_attribute(attribute, name));
    if (value) node.attributes.emplace(attribute.name(), std::move(*value));
  }
  return node;
}

}  // namespace

std::map<std::string, std::vector<int64_t>> shapes_of(const onnx::ModelProto& model) {
  std::map<std::string, std::vector<int64_t>> shapes;
  const onnx::GraphProto& graph = model.graph();
  for (const auto* values : {&graph.value_info(), &graph.input(), &graph.output()}) {
    for (const auto& value : *values) {
      if (value.type().has_tensor_type() && value.type().tensor_type().has_shape()) {
        shapes[value.name()] = shape_of(value);
      }
    }
  }
  return shapes;
}

Result<Graph> to_graph(const onnx::ModelProto& model, std::string_view name) {
  const onnx::GraphProto& proto = model.graph();
  Graph graph;
  graph.name = proto.name().empty() ? std::string(name) : proto.name();
  for (const auto& tensor : proto.initializer()) {
    graph.initializers[tensor.name()] = TRY(to_tensor(tensor, name));
  }
  for (const auto& value : proto.input()) {
    if (graph.initializers.contains(value.name())) continue;
    graph.inputs.push_back({value.name(), shape_of(value)});
  }
  for (const auto& node : proto.node()) graph.nodes.push_back(TRY(to_node(node, name)));
  for (const auto& value : proto.output()) graph.outputs.push_back({value.name(), shape_of(value)});
  return graph;
}

}  // namespace atelier::model
