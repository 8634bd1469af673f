// SPDX-License-Identifier: Apache-2.0
#include "model/model_spec.h"

// The library asserts of hostile text what it checks in the next line ("[%]"); without NDEBUG that
// would end the process. As in server/toml_reader.h: one program has one such definition.
#define TOML_ASSERT(expression) static_assert(true)
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

namespace atelier::model {
namespace {

constexpr size_t kMaxText = 1 << 20;
constexpr size_t kMaxString = 4096;
// toml++ recurses into arrays and tables; no key of ours nests deeper than one.
constexpr int kMaxNesting = 16;

// As ModelSpec::Fit, without none.
constexpr std::array<std::string_view, 3> kFits = {"letterbox", "stretch", "tile"};

Error wrong(std::string_view name, std::string_view key, std::string_view wanted) {
  return make_error(Code::invalid_argument, "The toml of model '{}': '{}' must be {}.", name, key,
                    wanted);
}

Result<std::string> read_string(const toml::node& node, std::string_view key,
                                std::string_view name) {
  const auto value = node.value_exact<std::string>();
  if (!value || value->size() > kMaxString) return wrong(name, key, "a string");
  return *value;
}

template <size_t N>
Result<std::array<float, N>> read_numbers(const toml::node& node, std::string_view key,
                                          std::string_view name) {
  const auto wanted = fmt::format("a list of {} numbers", N);
  const toml::array* list = node.as_array();
  if (list == nullptr || list->size() != N) return wrong(name, key, wanted);
  std::array<float, N> numbers{};
  for (size_t i = 0; i < N; ++i) {
    const toml::node& item = *list->get(i);
    if (!item.is_number()) return wrong(name, key, wanted);
    const double value = item.value<double>().value_or(0);
    if (!std::isfinite(value) || std::abs(value) > 1e6) return wrong(name, key, wanted);
    numbers[i] = static_cast<float>(value);
  }
  return numbers;
}

Result<int> read_int(const toml::node& node, std::string_view key, int least, int most,
                     std::string_view name) {
  const auto value = node.value_exact<int64_t>();
  if (!value || *value < least || *value > most) {
    return wrong(name, key, fmt::format("a whole number from {} to {}", least, most));
  }
  return static_cast<int>(*value);
}

Result<void> set(ModelSpec& spec, std::string_view key, const toml::node& node,
                 std::string_view name) {
  const std::map<std::string_view, std::string*> strings = {{"name", &spec.name},
                                                            {"title", &spec.title},
                                                            {"licence", &spec.licence},
                                                            {"input", &spec.input},
                                                            {"output", &spec.output}};
  if (const auto it = strings.find(key); it != strings.end()) {
    *it->second = TRY(read_string(node, key, name));
  } else if (key == "color_order") {
    const std::string order = TRY(read_string(node, key, name));
    if (order != "rgb" && order != "bgr") return wrong(name, key, "\"rgb\" or \"bgr\"");
    spec.order = order == "rgb" ? ModelSpec::Order::rgb : ModelSpec::Order::bgr;
  } else if (key == "output_kind") {
    const std::string kind = TRY(read_string(node, key, name));
    if (kind != "image" && kind != "tensor") return wrong(name, key, "\"image\" or \"tensor\"");
    spec.kind = kind == "image" ? ModelSpec::Kind::image : ModelSpec::Kind::tensor;
  } else if (key == "range" || key == "output_range") {
    auto& range = key == "range" ? spec.range : spec.output_range;
    range = TRY(read_numbers<2>(node, key, name));
    if (range[0] == range[1]) return wrong(name, key, "two different numbers");
  } else if (key == "mean") {
    spec.mean = TRY(read_numbers<3>(node, key, name));
  } else if (key == "scale") {
    spec.scale = TRY(read_numbers<3>(node, key, name));
  } else if (key == "clamp") {
    const auto value = node.value_exact<bool>();
    if (!value) return wrong(name, key, "true or false");
    spec.clamp = *value;
  } else if (key == "size_multiple") {
    spec.size_multiple = TRY(read_int(node, key, 1, 1024, name));
  } else if (key == "halo") {
    spec.halo = TRY(read_int(node, key, 0, 4096, name));
  } else if (key == "fit") {
    const std::string fit = TRY(read_string(node, key, name));
    const auto known = std::find(kFits.begin(), kFits.end(), fit);
    if (known == kFits.end()) {
      return wrong(name, key, "\"letterbox\", \"stretch\" or \"tile\"");
    }
    spec.fit = static_cast<ModelSpec::Fit>(known - kFits.begin() + 1);
  } else if (key == "overlap") {
    spec.overlap = TRY(read_int(node, key, 1, 4096, name));
  } else if (key == "channels") {
    const std::string channels = TRY(read_string(node, key, name));
    if (channels != "luma") return wrong(name, key, "\"luma\"");
    spec.luma = true;
  } else if (key == "info") {  // facts for people; changes nothing
    if (!node.is_table()) return wrong(name, key, "a table");
  } else {
    return make_error(Code::invalid_argument,
                      "The toml of model '{}' has an unknown key '{}'; facts for people belong "
                      "into [info].",
                      name, key);
  }
  return {};
}

bool nests_too_deep(std::string_view text) {
  int depth = 0;
  for (char c : text) {
    depth += c == '[' || c == '{' ? 1 : c == ']' || c == '}' ? -1 : 0;
    if (depth > kMaxNesting) return true;
  }
  return false;
}

// Quoted, so that no value can look like another key.
std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20) {
      result += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
    } else {
      result += c;
    }
  }
  return result + '"';
}

// Debian's library is built with exceptions; they end here.
Result<toml::table> parse_table(std::string_view text, std::string_view name) {
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& e) {
    return make_error(Code::invalid_argument, "The toml of model '{}' is wrong in line {}: {}.",
                      name, e.source().begin.line, e.description());
  }
}

}  // namespace

Result<ModelSpec> parse_model_spec(std::string_view toml_text, std::string_view name) {
  if (toml_text.size() > kMaxText || nests_too_deep(toml_text)) {
    return make_error(Code::invalid_argument, "The toml of model '{}' is too large or too deep.",
                      name);
  }
  const toml::table table = TRY(parse_table(toml_text, name));
  ModelSpec spec;
  spec.name = name;
  for (const auto& [key, node] : table) TRY(set(spec, key.str(), node, name));
  if (spec.overlap > 0 && spec.overlap < 2 * spec.halo) {
    return wrong(name, "overlap", "at least twice the halo");
  }
  if (!table.contains("color_order") && !spec.luma) {
    spec.guessed.push_back(
        fmt::format("The toml of model '{}' names no color_order; RGB is assumed.", name));
  }
  return spec;
}

ModelSpec guess_model_spec(std::string_view name) {
  ModelSpec spec;
  spec.name = name;
  spec.guessed.push_back(fmt::format(
      "Model '{0}' has no {0}.toml beside it; RGB from 0 to 255 in and out is assumed, and if the "
      "colours come out wrong, it wants color_order = \"bgr\".",
      name));
  return spec;
}

std::string to_canonical_text(const ModelSpec& spec) {
  // {:a} writes a float exactly and without a locale. Title and licence change no pixel.
  std::string text = fmt::format("name={}\ninput={}\noutput={}\norder={}\nkind={}\n",
                                 quoted(spec.name), quoted(spec.input), quoted(spec.output),
                                 spec.order == ModelSpec::Order::rgb ? "rgb" : "bgr",
                                 spec.kind == ModelSpec::Kind::image ? "image" : "tensor");
  const auto add = [&](std::string_view key, std::span<const float> values) {
    text += key;
    for (float v : values) text += fmt::format(" {:a}", v == 0 ? 0.0F : v);
    text += '\n';
  };
  add("range", spec.range);
  add("mean", spec.mean);
  add("scale", spec.scale);
  add("output_range", spec.output_range);
  text += fmt::format("clamp={}\nsize_multiple={}\nhalo={}\n", spec.clamp, spec.size_multiple,
                      spec.halo);
  // What is new is left out where it is not used: specs keep the text that older runs know.
  if (spec.fit != ModelSpec::Fit::none) {
    text +=
        fmt::format("fit={}\noverlap={}\n", kFits[static_cast<size_t>(spec.fit) - 1], spec.overlap);
  }
  if (spec.luma) text += "channels=luma\n";
  return text;
}

}  // namespace atelier::model
