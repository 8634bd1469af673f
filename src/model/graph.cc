// SPDX-License-Identifier: Apache-2.0
#include "model/graph.h"

namespace atelier::model {

const char* to_string(ElementType type) {
  constexpr const char* kNames[] = {"float32", "float16", "float64", "int8",  "uint8",  "int16",
                                    "uint16",  "int32",   "uint32",  "int64", "uint64", "bool"};
  return kNames[static_cast<size_t>(type)];
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

const std::vector<std::string>& supported_operators() {
  static const std::vector<std::string> kOperators = {
      "Add", "Clip", "Conv", "ConvTranspose", "DepthToSpace", "Div", "InstanceNormalization",
      "Mul", "Pad",  "Relu", "Resize",        "Slice",        "Sub", "Tanh"};
  return kOperators;
}

}  // namespace atelier::model
