// SPDX-License-Identifier: Apache-2.0
// From the bytes of a model file to a Graph, step by step (onnx_import_steps.h). libonnx throws
// many things; all of them end here.
#include <exception>
#include <limits>

#include "model/onnx_import_steps.h"

namespace atelier::model {
namespace {

// protobuf counts in int.
constexpr size_t kMaxFileBytes = std::numeric_limits<int32_t>::max();
// The newest file version that libonnx 1.12 writes; nothing that we take differs in later ones.
constexpr int kIrVersion = 8;

std::string first_line(const char* text) {
  const std::string_view view(text);
  std::string line = printable(view.substr(0, view.find('\n')));
  while (!line.empty() && line.back() == '.') line.pop_back();
  return line;
}

Result<Graph> import_checked(std::span<const std::byte> file, std::string_view name,
                             const OpenExternal& open_external) {
  onnx::ModelProto model;
  if (!model.ParseFromArray(file.data(), static_cast<int>(file.size()))) {
    return make_error(Code::invalid_argument, "'{}' is not an ONNX model, or it is truncated.",
                      name);
  }
  TRY(check_hostile(model, name));
  const int64_t opset = opset_of(model);
  TRY(check_schemas(model, opset, name));
  Graph graph = TRY(to_graph(model, name, open_external));
  TRY(upgrade(graph, opset, name));
  TRY(tidy(graph, name));
  return graph;
}

}  // namespace

Result<void> check_schemas(onnx::ModelProto& model, int64_t opset, std::string_view name) {
  onnx::checker::CheckerContext context;
  context.set_ir_version(kIrVersion);
  context.set_opset_imports({{"", static_cast<int>(opset)}});
  const onnx::checker::LexicalScopeContext scope;
  for (auto& node : *model.mutable_graph()->mutable_node()) {
    if (is_experimental(node.op_type())) continue;
    node.clear_domain();  // "ai.onnx" is the default domain's other name
    const auto wrong = [&](std::string_view what) {
      return make_error(Code::invalid_argument, "'{}' is not a valid ONNX model: {}: {}.", name,
                        describe(node), what);
    };
    try {
      onnx::checker::check_node(node, context, scope);
    } catch (const std::exception& e) {
      return wrong(first_line(e.what()));
    } catch (...) {
      return wrong("it does not fit its operator");
    }
  }
  return {};
}

Result<Graph> import_onnx(std::span<const std::byte> file, std::string_view name,
                          const OpenExternal& open_external) {
  if (file.empty()) {
    return make_error(Code::invalid_argument, "'{}' is empty; it is not an ONNX model.", name);
  }
  if (file.size() > kMaxFileBytes) {
    return make_error(Code::invalid_argument,
                      "'{}' has {} MiB, but an ONNX file ends at {} MiB; save its weights as "
                      "external data.",
                      name, file.size() >> 20, kMaxFileBytes >> 20);
  }
  TRY(scan_wire(file, name));
  try {
    return import_checked(file, name, open_external);
  } catch (const std::exception& e) {  // bad_alloc, mostly
    return make_error(Code::invalid_argument, "'{}' cannot be read: {}.", name,
                      first_line(e.what()));
  }
}

}  // namespace atelier::model
