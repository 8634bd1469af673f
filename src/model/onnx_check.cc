// SPDX-License-Identifier: Apache-2.0
// What must hold before libonnx or the rest of the import may look at a model.
#include <algorithm>
#include <set>

#include "model/onnx_import_steps.h"

namespace atelier::model {
namespace {

constexpr int kMaxRank = 8;
constexpr int64_t kMaxDimension = 1 << 24;
constexpr int kMaxAttributeLength = 64;

bool known_operator(const std::string& op, int64_t opset) {
  static const std::set<std::string> kSupported(supported_operators().begin(),
                                                supported_operators().end());
  return kSupported.contains(op) || is_rewritten(op, opset);
}

// Bounds keep every product that is formed of attributes in range, and divisors away from zero.
Result<void> check_attribute(const onnx::AttributeProto& attribute, const onnx::NodeProto& node,
                             std::string_view name) {
  const auto refuse = [&](std::string_view why) {
    return make_error(Code::invalid_argument, "'{}': attribute '{}' of {} {}.", name,
                      printable(attribute.name()), describe(node), why);
  };
  if (attribute.has_g() || attribute.graphs_size() > 0 || attribute.has_sparse_tensor() ||
      attribute.sparse_tensors_size() > 0 || attribute.has_tp() ||
      attribute.type_protos_size() > 0 || attribute.tensors_size() > 0 ||
      !attribute.ref_attr_name().empty()) {
    return refuse("is of a kind that is not supported");
  }
  const bool list = node.op_type() == "Constant" || node.op_type() == "Split";
  if (!list && (attribute.ints_size() > kMaxAttributeLength || attribute.floats_size() > 4096 ||
                attribute.strings_size() > kMaxAttributeLength)) {
    return refuse("is too long");
  }
  if (attribute.has_t()) {
    if (attribute.t().data_location() == onnx::TensorProto::EXTERNAL) {
      return refuse("is stored in another file, which only initialisers may be");
    }
    TRY(check_tensor(attribute.t(), "the constant of " + describe(node), name));
  }
  // Slice of opset 9 and lower says "to the end" with the largest number; nothing divides by it.
  const bool free_range = node.op_type() == "Slice" || node.op_type() == "Constant";
  const bool divisor = attribute.name() == "strides" || attribute.name() == "dilations" ||
                       attribute.name() == "group" || attribute.name() == "blocksize" ||
                       attribute.name() == "kernel_shape" || attribute.name() == "output_shape";
  const auto bad = [&](int64_t v) {
    return !free_range && (v > (1 << 20) || v < (divisor ? 1 : -(1 << 20)));
  };
  const bool is_int = attribute.type() == onnx::AttributeProto::INT;
  if ((is_int && bad(attribute.i())) ||
      std::any_of(attribute.ints().begin(), attribute.ints().end(), bad)) {
    return refuse("is out of range");
  }
  return {};
}

Result<void> check_value(const onnx::ValueInfoProto& value, std::string_view what,
                         std::string_view name) {
  if (!value.type().has_tensor_type()) {
    return make_error(Code::invalid_argument, "'{}': {} '{}' is not a tensor.", name, what,
                      printable(value.name()));
  }
  const int32_t type = value.type().tensor_type().elem_type();
  if (!element_type(type)) {
    return make_error(Code::invalid_argument,
                      "'{}': {} '{}' has data type {}, which is not supported: export the model in "
                      "float32 or float16.",
                      name, what, printable(value.name()),
                      onnx::TensorProto::DataType_IsValid(type)
                          ? onnx::TensorProto::DataType_Name(type)
                          : std::to_string(type));
  }
  const auto& shape = value.type().tensor_type().shape();
  bool good = shape.dim_size() <= kMaxRank;
  for (const auto& dim : shape.dim()) {
    good = good &&
           (!dim.has_dim_value() || (dim.dim_value() >= -1 && dim.dim_value() <= kMaxDimension));
  }
  if (!good) {
    return make_error(Code::invalid_argument, "'{}': {} '{}' has an impossible shape.", name, what,
                      printable(value.name()));
  }
  return {};
}

Result<void> check_node(const onnx::NodeProto& node, std::set<std::string>& defined,
                        std::string_view name) {
  for (const std::string& input : node.input()) {
    if (!input.empty() && !defined.contains(input)) {
      return make_error(Code::invalid_argument,
                        "'{}': {} reads '{}', which nothing before it makes.", name, describe(node),
                        printable(input));
    }
  }
  if (node.op_type() != "Constant" && (node.input_size() == 0 || node.input(0).empty())) {
    return make_error(Code::invalid_argument, "'{}': {} has no input.", name, describe(node));
  }
  bool any = false;
  for (const std::string& output : node.output()) {
    if (output.empty()) continue;
    any = true;
    if (!defined.insert(output).second) {
      return make_error(Code::invalid_argument, "'{}': value '{}' is made twice.", name,
                        printable(output));
    }
  }
  if (!any) {
    return make_error(Code::invalid_argument, "'{}': {} has no output.", name, describe(node));
  }
  // No schema says this of these.
  if (is_experimental(node.op_type()) && node.output_size() != 1) {
    return make_error(Code::invalid_argument, "'{}': {} has {} outputs instead of one.", name,
                      describe(node), node.output_size());
  }
  std::set<std::string> keys;
  for (const auto& attribute : node.attribute()) {
    if (!keys.insert(attribute.name()).second) {
      return make_error(Code::invalid_argument, "'{}': {} has attribute '{}' twice.", name,
                        describe(node), printable(attribute.name()));
    }
    TRY(check_attribute(attribute, node, name));
  }
  return {};
}

Result<void> check_operators(const onnx::ModelProto& model, std::string_view name) {
  const int64_t opset = opset_of(model);
  for (const auto& node : model.graph().node()) {
    const bool ours = node.domain().empty() || node.domain() == "ai.onnx";
    if (!ours || !known_operator(node.op_type(), opset)) {
      return make_error(
          Code::invalid_argument,
          "'{}' uses operator {}{}{} (node '{}'), which Atelier does not support.", name,
          ours ? "" : printable(node.domain()), ours ? "" : ".", printable(node.op_type()),
          printable(!node.name().empty() || node.output_size() == 0 ? node.name()
                                                                    : node.output(0)));
    }
  }
  return {};
}

Result<void> check_header(const onnx::ModelProto& model, std::string_view name) {
  // Any text can happen to parse as protobuf; a model without these is none.
  if (!model.has_graph() || model.opset_import_size() == 0 || model.graph().output_size() == 0) {
    return make_error(Code::invalid_argument, "'{}' is not an ONNX model.", name);
  }
  if (model.ir_version() < 3 || model.ir_version() > 12) {
    return make_error(Code::invalid_argument,
                      "'{}' has ONNX file version {}; versions 3 to 12 are supported.", name,
                      model.ir_version());
  }
  const int64_t opset = opset_of(model);
  if (opset < kOldestOpset || opset > kNewestOpset) {
    return make_error(Code::invalid_argument,
                      "'{}' uses ONNX opset {}; export it at opset {} to {}.", name, opset,
                      kOldestOpset, kNewestOpset);
  }
  if (model.functions_size() > 0 || model.graph().sparse_initializer_size() > 0) {
    return make_error(Code::invalid_argument,
                      "'{}' has functions or sparse weights of its own, which is not supported: "
                      "export it as one plain graph.",
                      name);
  }
  return {};
}

}  // namespace

int64_t opset_of(const onnx::ModelProto& model) {
  int64_t opset = 0;
  for (const auto& import : model.opset_import()) {
    if (!import.domain().empty() && import.domain() != "ai.onnx") continue;
    if (opset != 0) return 0;
    opset = import.version();
  }
  return opset;
}

std::string describe(const onnx::NodeProto& node) {
  const bool named = !node.name().empty() || node.output_size() == 0;
  return fmt::format("node '{}' ({})", printable(named ? node.name() : node.output(0)),
                     printable(node.op_type()));
}

Result<void> check_hostile(const onnx::ModelProto& model, std::string_view name) {
  TRY(check_header(model, name));
  TRY(check_operators(model, name));
  const onnx::GraphProto& graph = model.graph();
  std::set<std::string> defined;
  for (const auto& tensor : graph.initializer()) {
    TRY(check_tensor(tensor, fmt::format("initialiser '{}'", printable(tensor.name())), name));
    if (tensor.name().empty() || !defined.insert(tensor.name()).second) {
      return make_error(Code::invalid_argument, "'{}': initialiser '{}' is there twice.", name,
                        printable(tensor.name()));
    }
  }
  std::set<std::string> inputs;
  for (const auto& value : graph.input()) {
    if (value.name().empty() || !inputs.insert(value.name()).second) {
      return make_error(Code::invalid_argument, "'{}': input '{}' is there twice.", name,
                        printable(value.name()));
    }
    // Files of version 3 list initialisers among the inputs.
    if (!defined.insert(value.name()).second) continue;
    TRY(check_value(value, "input", name));
  }
  for (const auto& node : graph.node()) TRY(check_node(node, defined, name));
  std::set<std::string> outputs;
  for (const auto& value : graph.output()) {
    if (!outputs.insert(value.name()).second || !defined.contains(value.name())) {
      return make_error(Code::invalid_argument, "'{}': nothing makes output '{}'.", name,
                        printable(value.name()));
    }
    TRY(check_value(value, "output", name));
  }
  return {};
}

}  // namespace atelier::model
