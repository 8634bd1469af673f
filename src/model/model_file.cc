// SPDX-License-Identifier: Apache-2.0
#include "model/model_file.h"

#include "base/hash.h"

namespace atelier::model {
namespace {

std::string names_of(const std::vector<ValueInfo>& values) {
  constexpr size_t kMost = 8;
  std::string names;
  for (size_t i = 0; i < values.size() && i < kMost; ++i) {
    names += fmt::format("{}'{}'", i == 0 ? "" : ", ", values[i].name.substr(0, 80));
  }
  return names + (values.size() > kMost ? ", ..." : "");
}

// The value that the spec means; fills in its name.
Result<const ValueInfo*> find(const std::vector<ValueInfo>& values, std::string& wanted,
                              std::string_view what, std::string_view model) {
  if (wanted.empty() && values.size() == 1) wanted = values[0].name;
  for (const ValueInfo& value : values) {
    if (value.name == wanted) return &value;
  }
  if (wanted.empty()) {
    return make_error(Code::invalid_argument,
                      "Model '{}' has {} {}s ({}); say in its toml which one the picture is: "
                      "{} = \"...\".",
                      model, values.size(), what, names_of(values), what);
  }
  return make_error(Code::invalid_argument,
                    "Model '{}' has no {} '{}', which its toml names; it has {}.", model, what,
                    wanted, names_of(values));
}

bool is_picture(const std::vector<int64_t>& shape) {
  return shape.size() == 4 && (shape[0] == -1 || shape[0] == 1) && (shape[1] == 3 || shape[1] == 1);
}

std::string describe_shape(const std::vector<int64_t>& shape) {
  std::string text;
  for (int64_t d : shape) {
    text += text.empty() ? "" : " x ";
    text += d == -1 ? "?" : std::to_string(d);
  }
  return text.empty() ? "no dimensions" : text;
}

}  // namespace

Result<LoadedModel> load_model(std::span<const std::byte> onnx,
                               const std::optional<std::string>& toml, std::string_view name) {
  LoadedModel loaded;
  loaded.spec = toml ? TRY(parse_model_spec(*toml, name)) : guess_model_spec(name);
  loaded.graph = TRY(import_onnx(onnx, name));
  const Graph& graph = loaded.graph;
  const ValueInfo* input = TRY(find(graph.inputs, loaded.spec.input, "input", name));
  const ValueInfo* output = TRY(find(graph.outputs, loaded.spec.output, "output", name));
  if (graph.inputs.size() != 1) {
    return make_error(Code::invalid_argument,
                      "Model '{}' needs {} inputs ({}), but a frame fills only one.", name,
                      graph.inputs.size(), names_of(graph.inputs));
  }
  if (!is_picture(input->shape)) {
    return make_error(Code::invalid_argument,
                      "'{}' is a model whose input '{}' is no image: its shape is {} instead of "
                      "1 x 3 x H x W.",
                      name, input->name.substr(0, 80), describe_shape(input->shape));
  }
  if (loaded.spec.kind == ModelSpec::Kind::image && !is_picture(output->shape)) {
    return make_error(Code::invalid_argument,
                      "'{}' is a model whose output is no image: the shape of '{}' is {} instead "
                      "of 1 x 3 x H x W.",
                      name, output->name.substr(0, 80), describe_shape(output->shape));
  }
  loaded.sha256 = sha256_hex(onnx);
  return loaded;
}

}  // namespace atelier::model
