// SPDX-License-Identifier: Apache-2.0
// From the bytes of a model file to a Graph, step by step (onnx_import_steps.h). libonnx throws
// many things; all of them end here.
#include <exception>

#include "model/onnx_import_steps.h"

namespace atelier::model {
namespace {

constexpr size_t kMaxFileBytes = size_t{512} << 20;
// The newest file version that libonnx 1.12 writes; nothing that we take differs in later ones.
constexpr int64_t kIrVersion = 8;

std::string first_line(const char* text) {
  const std::string_view view(text);
  std::string line = printable(view.substr(0, view.find('\n')));
  while (!line.empty() && line.back() == '.') line.pop_back();
  return line;
}

// Runs a step of libonnx; whatever it throws becomes a sentence.
template <class Step>
Result<void> guarded(std::string_view name, std::string_view what, Step step) {
  try {
    step();
    return {};
  } catch (const std::exception& e) {
    return make_error(Code::invalid_argument, "'{}' {}: {}.", name, what, first_line(e.what()));
  } catch (...) {
    return make_error(Code::invalid_argument, "'{}' {}.", name, what);
  }
}

// Declared shapes of values and outputs are only claims; forgetting them lets inference find them.
void forget_shapes(onnx::GraphProto& graph) {
  graph.clear_value_info();
  for (auto& output : *graph.mutable_output()) {
    output.mutable_type()->mutable_tensor_type()->clear_shape();
  }
}

// Parts that no one reads here and that libonnx need not see.
void forget_extras(onnx::ModelProto& model) {
  model.clear_metadata_props();
  model.clear_training_info();
  model.clear_doc_string();
  model.mutable_graph()->clear_value_info();
  model.mutable_graph()->clear_doc_string();
  model.mutable_graph()->clear_quantization_annotation();
  for (auto& node : *model.mutable_graph()->mutable_node()) node.clear_doc_string();
  model.clear_opset_import();
}

// Up to opset 10, Resize and Upsample took the source pixel at floor(x / scale); the converter
// leaves the newer default, which is another one.
void keep_old_resize(onnx::GraphProto& graph) {
  const auto set = [](onnx::NodeProto& node, const char* key, const char* value) {
    for (auto& attribute : *node.mutable_attribute()) {
      if (attribute.name() == key) return attribute.set_s(value);
    }
    onnx::AttributeProto* attribute = node.add_attribute();
    attribute->set_name(key);
    attribute->set_type(onnx::AttributeProto::STRING);
    attribute->set_s(value);
  };
  for (auto& node : *graph.mutable_node()) {
    if (node.op_type() != "Resize") continue;
    set(node, "coordinate_transformation_mode", "asymmetric");
    set(node, "nearest_mode", "floor");
  }
}

// Inputs, outputs and attributes of each node against its operator's schema. Shape inference relies
// on that: without it, a Conv with one input crashes libonnx.
Result<void> check_schemas(onnx::ModelProto& model, int64_t opset, std::string_view name) {
  model.set_ir_version(kIrVersion);
  onnx::GraphProto& graph = *model.mutable_graph();
  if (graph.name().empty()) graph.set_name("graph");
  for (auto& output : *graph.mutable_output()) {  // the checker wants one, whichever
    output.mutable_type()->mutable_tensor_type()->mutable_shape();
  }
  model.add_opset_import()->set_version(opset);
  return guarded(name, "is not a valid ONNX model", [&] { onnx::checker::check_model(model); });
}

Result<void> to_common_opset(onnx::ModelProto& model, int64_t opset, std::string_view name) {
  if (opset >= kCommonOpset) return {};
  TRY(guarded(name, fmt::format("cannot be converted from opset {} to {}", opset, kCommonOpset),
              [&] {
                onnx::shape_inference::InferShapes(model);
                model = onnx::version_conversion::ConvertVersion(model, kCommonOpset);
              }));
  constants_to_initializers(*model.mutable_graph());
  if (opset <= 10) keep_old_resize(*model.mutable_graph());
  return {};
}

Result<Graph> import_checked(std::span<const std::byte> file, std::string_view name) {
  onnx::ModelProto model;
  if (!model.ParseFromArray(file.data(), static_cast<int>(file.size()))) {
    return make_error(Code::invalid_argument, "'{}' is not an ONNX model, or it is truncated.",
                      name);
  }
  TRY(check_hostile(model, name));
  const int64_t opset = opset_of(model);
  forget_extras(model);
  TRY(rewrite_old_operators(model, name));
  TRY(check_schemas(model, opset, name));
  forget_shapes(*model.mutable_graph());
  TRY(to_common_opset(model, opset, name));
  forget_shapes(*model.mutable_graph());
  TRY(guarded(name, "has shapes that do not fit together",
              [&] { onnx::shape_inference::InferShapes(model); }));
  Graph graph = TRY(to_graph(model, name));
  TRY(normalise(graph, shapes_of(model), name));
  return graph;
}

}  // namespace

Result<Graph> import_onnx(std::span<const std::byte> file, std::string_view name) {
  if (file.empty()) {
    return make_error(Code::invalid_argument, "'{}' is empty; it is not an ONNX model.", name);
  }
  if (file.size() > kMaxFileBytes) {
    return make_error(Code::invalid_argument, "'{}' has {} MiB; models up to {} MiB are read.",
                      name, file.size() >> 20, kMaxFileBytes >> 20);
  }
  TRY(scan_wire(file, name));
  try {
    return import_checked(file, name);
  } catch (const std::exception& e) {  // bad_alloc, mostly
    return make_error(Code::invalid_argument, "'{}' cannot be read: {}.", name,
                      first_line(e.what()));
  }
}

}  // namespace atelier::model
