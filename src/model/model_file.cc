// SPDX-License-Identifier: Apache-2.0
#include "model/model_file.h"

#include <algorithm>

#include "base/hash.h"
#include "model/specialise.h"

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

bool is_picture(const std::vector<int64_t>& shape) {
  return shape.size() == 4 && shape[0] != 0 && (shape[1] == 3 || shape[1] == 1);
}

bool has_picture(const ValueInfo& value) { return is_picture(value.shape); }

// The value that the spec means; fills in its name.
Result<const ValueInfo*> find(const std::vector<ValueInfo>& values, std::string& wanted,
                              std::string_view what, std::string_view model) {
  if (wanted.empty() && values.size() == 1) wanted = values[0].name;
  if (wanted.empty() && std::count_if(values.begin(), values.end(), has_picture) == 1) {
    wanted = std::find_if(values.begin(), values.end(), has_picture)->name;
  }
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

std::string describe_shape(const std::vector<int64_t>& shape) {
  std::string text;
  for (int64_t d : shape) {
    text += text.empty() ? "" : " x ";
    text += d == -1 ? "?" : std::to_string(d);
  }
  return text.empty() ? "no dimensions" : text;
}

std::string describe_side(int64_t side) { return side > 0 ? std::to_string(side) : "any"; }

// What the file does not say of the output's shape, a small frame shows; nothing if it is too
// small.
std::optional<std::vector<int64_t>> shown_shape(const LoadedModel& loaded, ElementType type,
                                                std::vector<int64_t> input,
                                                const ValueInfo& output) {
  constexpr int64_t kSide = 256;
  const int64_t multiple = std::max(1, loaded.spec.size_multiple);
  if (input[0] < 1) input[0] = 1;
  for (const size_t axis : {size_t{2}, size_t{3}}) {
    if (input[axis] < 1) input[axis] = (kSide + multiple - 1) / multiple * multiple;
  }
  const auto concrete = specialise(loaded.graph, {{loaded.spec.input, {type, input}}});
  if (!concrete.ok()) return std::nullopt;
  const auto made = concrete->types.find(output.name);
  return made == concrete->types.end() ? output.shape : made->second.shape;
}

Result<void> check_output(const LoadedModel& loaded, const ValueInfo& input,
                          const ValueInfo& output, std::string_view name) {
  std::optional<std::vector<int64_t>> shape = output.shape;
  if (shape->size() != 4 || (*shape)[1] == -1)
    shape = shown_shape(loaded, input.type, input.shape, output);
  if (!shape || is_picture(*shape)) return {};
  return make_error(Code::invalid_argument,
                    "'{}' is a model whose output is no image: the shape of '{}' is {} instead "
                    "of 1 x 3 x H x W.",
                    name, output.name.substr(0, 80), describe_shape(*shape));
}

// Hashes what is read, in the order of reading, which import_onnx fixes.
class HashedSource final : public ByteSource {
 public:
  HashedSource(std::unique_ptr<ByteSource> source, Sha256& hash)
      : source_(std::move(source)), hash_(hash) {}
  uint64_t size() const override { return source_->size(); }
  Result<size_t> read_at(uint64_t offset, std::span<std::byte> into) override {
    const size_t count = TRY(source_->read_at(offset, into));
    hash_.update(into.first(count));
    return count;
  }

 private:
  std::unique_ptr<ByteSource> source_;
  Sha256& hash_;
};

}  // namespace

Result<LoadedModel> load_model(std::span<const std::byte> onnx,
                               const std::optional<std::string>& toml, std::string_view name,
                               const OpenExternal& open_external) {
  LoadedModel loaded;
  loaded.spec = toml ? TRY(parse_model_spec(*toml, name)) : guess_model_spec(name);
  Sha256 hash;
  hash.update(onnx);
  OpenExternal open_hashed;
  if (open_external) {
    open_hashed = [&](const std::string& location) -> Result<std::unique_ptr<ByteSource>> {
      auto source = TRY(open_external(location));
      return std::unique_ptr<ByteSource>(std::make_unique<HashedSource>(std::move(source), hash));
    };
  }
  loaded.graph = TRY(import_onnx(onnx, name, open_hashed));
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
  if (loaded.spec.kind == ModelSpec::Kind::image) {
    TRY(check_output(loaded, *input, *output, name));
  }
  if (!toml && (input->shape[2] > 0 || input->shape[3] > 0)) {
    loaded.spec.fit = ModelSpec::Fit::letterbox;
    loaded.spec.guessed.push_back(fmt::format(
        "Model '{}' takes only {} x {} pixels; frames of another size are scaled to fit into them "
        "and back, and fit = \"tile\" in a toml would keep their detail.",
        name, describe_side(input->shape[3]), describe_side(input->shape[2])));
  }
  loaded.sha256 = hash.finish_hex();
  return loaded;
}

}  // namespace atelier::model
