// SPDX-License-Identifier: Apache-2.0
// A network as Atelier plans over it: the operators of the default ONNX domain at opset 17 or
// lower, after the model file was checked, its old operators rewritten, and its shapes inferred.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"

namespace atelier::model {

// What the file says that the elements are (TensorProto.DataType of onnx.proto).
enum class ElementType : uint8_t { f32, f16, f64, i8, u8, i16, u16, i32, u32, i64, u64, boolean };
constexpr bool is_float(ElementType type) { return type <= ElementType::f64; }
// "float32", "int64", "bool", as messages and `atelier models` write them.
const char* to_string(ElementType type);

// Row-major, shape as in the file; an empty shape is a scalar. Floating-point elements of any width
// are kept and computed in `floats`, integers and booleans (0, 1) in `ints`: one of the two has
// count() elements, the other none. Integers are always within the range of their type.
struct Tensor {
  std::vector<int64_t> shape;
  std::vector<float> floats;
  std::vector<int64_t> ints;
  ElementType type = ElementType::f32;
  bool is_int() const { return !is_float(type); }
  int64_t count() const;
};

using Attribute =
    std::variant<int64_t, float, std::string, std::vector<int64_t>, std::vector<float>, Tensor>;

struct Node {
  std::string op;    // "Conv"
  std::string name;  // never empty: made up from the first output where the file has none
  std::vector<std::string> inputs;  // an empty string is an absent optional input
  std::vector<std::string> outputs;
  std::map<std::string, Attribute> attributes;

  int64_t attr_int(const std::string& key, int64_t otherwise) const;
  float attr_float(const std::string& key, float otherwise) const;
  std::string attr_string(const std::string& key, std::string otherwise) const;
  std::vector<int64_t> attr_ints(const std::string& key, std::vector<int64_t> otherwise) const;
};

// -1 is a dimension known only when a frame arrives.
struct ValueInfo {
  std::string name;
  std::vector<int64_t> shape;
};

// Nodes are in topological order. Every value is written once. What import_onnx leaves to rely on:
//
//   Conv, ConvTranspose  have kernel_shape, strides, dilations and group; Conv pads or auto_pad
//                        SAME_*, ConvTranspose pads and output_padding (no output_shape)
//   constants            weights, biases, scales of InstanceNormalization, bounds of Clip and the
//                        parameters of Pad, Slice and Resize are initializers
//   Slice                five inputs, axes >= 0, steps >= 1
//   Resize               nearest, asymmetric, floor, whole factors 1 to 64 on H and W
//   Pad                  on H and W only: constant, reflect or edge
//   binary operators     may broadcast in any way that numpy does
struct Graph {
  std::string name;
  std::vector<Node> nodes;
  std::map<std::string, Tensor> initializers;
  std::vector<ValueInfo> inputs;  // without initialisers
  std::vector<ValueInfo> outputs;
};

// Parses, checks and normalises. Hostile until checked: bounded memory and time whatever the bytes.
// Errors: invalid_argument: not an ONNX model, an operator outside supported_operators() (named,
// with the node), a data type or opset that is not supported.
Result<Graph> import_onnx(std::span<const std::byte> file, std::string_view name);

// Operators that every runner kind executes.
const std::vector<std::string>& supported_operators();

}  // namespace atelier::model
