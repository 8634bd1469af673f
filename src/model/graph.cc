// SPDX-License-Identifier: Apache-2.0
#include "model/graph.h"

#include "model/ops/evaluate.h"

namespace atelier::model {

const char* to_string(ElementType type) {
  constexpr const char* kNames[] = {"float32", "float16", "float64", "int8",  "uint8",  "int16",
                                    "uint16",  "int32",   "uint32",  "int64", "uint64", "bool"};
  return kNames[static_cast<size_t>(type)];
}

std::optional<ElementType> element_type(int64_t data_type) {
  constexpr std::optional<ElementType> kNone;
  constexpr std::optional<ElementType> kTypes[] = {kNone,
                                                   ElementType::f32,
                                                   ElementType::u8,
                                                   ElementType::i8,
                                                   ElementType::u16,
                                                   ElementType::i16,
                                                   ElementType::i32,
                                                   ElementType::i64,
                                                   kNone,
                                                   ElementType::boolean,
                                                   ElementType::f16,
                                                   ElementType::f64,
                                                   ElementType::u32,
                                                   ElementType::u64};
  if (data_type < 0 || data_type >= static_cast<int64_t>(std::size(kTypes))) return {};
  return kTypes[data_type];
}

int64_t Tensor::count() const {
  int64_t count = 1;
  for (int64_t d : shape) count *= d;
  return count;
}

namespace {
template <class T>
T attribute_or(const Node& node, const std::string& key, T otherwise) {
  const auto it = node.attributes.find(key);
  if (it == node.attributes.end()) return otherwise;
  const T* value = std::get_if<T>(&it->second);
  return value != nullptr ? *value : otherwise;
}
}  // namespace

int64_t Node::attr_int(const std::string& key, int64_t otherwise) const {
  return attribute_or(*this, key, otherwise);
}
float Node::attr_float(const std::string& key, float otherwise) const {
  return attribute_or(*this, key, otherwise);
}
std::string Node::attr_string(const std::string& key, std::string otherwise) const {
  return attribute_or(*this, key, std::move(otherwise));
}
std::vector<int64_t> Node::attr_ints(const std::string& key, std::vector<int64_t> otherwise) const {
  return attribute_or(*this, key, std::move(otherwise));
}

std::string printable(std::string_view text) {
  constexpr size_t kLongest = 80;
  std::string result(text.substr(0, kLongest));
  for (char& c : result) {
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = '?';
  }
  return text.size() > kLongest ? result + "..." : result;
}

std::string describe(const Node& node) {
  const bool named = !node.name.empty() || node.outputs.empty();
  return fmt::format("node '{}' ({})", printable(named ? node.name : node.outputs[0]),
                     printable(node.op));
}

const std::vector<std::string>& supported_operators() { return evaluable_operators(); }

}  // namespace atelier::model
