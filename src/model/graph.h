// SPDX-License-Identifier: Apache-2.0
// A network as Atelier works on it: operators of the default ONNX domain in their form of opset 17,
// after the model file was checked and its older forms were rewritten.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace atelier::model {

// What the file says that the elements are (TensorProto.DataType of onnx.proto).
enum class ElementType : uint8_t { f32, f16, f64, i8, u8, i16, u16, i32, u32, i64, u64, boolean };
constexpr bool is_float(ElementType type) { return type <= ElementType::f64; }
// "float32", "int64", "bool", as messages and `atelier models` write them.
const char* to_string(ElementType type);
// From the number that TensorProto.DataType gives it; nothing for strings, complex and bfloat16.
std::optional<ElementType> element_type(int64_t data_type);

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

// "node 'conv1' (Conv)", fit for a message whatever the file holds.
std::string describe(const Node& node);
// A name from a file made fit for a message: control characters replaced, long names cut.
std::string printable(std::string_view text);

// -1 is a dimension that the file leaves open.
struct ValueInfo {
  std::string name;
  std::vector<int64_t> shape;
  ElementType type = ElementType::f32;
};

// Nodes are in topological order, each with a name of its own; every value is written once and
// needed by an output. Every operator is one of supported_operators() and in its form of opset 17,
// so far as the file decides it: what an older form kept in an attribute is an input. Constant is
// an initializer; Identity and Dropout are gone unless they make an output of the graph.
// Whether the shapes fit each other is found by specialise() (specialise.h).
struct Graph {
  std::string name;
  std::vector<Node> nodes;
  std::map<std::string, Tensor> initializers;
  std::vector<ValueInfo> inputs;   // without initialisers
  std::vector<ValueInfo> outputs;  // shapes are the file's claims; empty where it makes none
};

// Opens a file beside the model that holds weights (TensorProto.external_data). `location` is a
// relative path without "..", at most 1024 bytes; that no link leads elsewhere is for the callee.
using OpenExternal =
    std::function<Result<std::unique_ptr<ByteSource>>(const std::string& location)>;

// Parses, checks and upgrades a model of opset 7 to 17. Hostile until checked: bounded time, and
// memory of about the weights and one copy of the file, whatever the bytes. Weights in other files
// are read through `open_external`, each file opened once, in the order of the initializers;
// without it they are refused.
// Errors: invalid_argument: not an ONNX model, an operator outside supported_operators() (named,
// with the node), a data type or opset that is not supported; those of open_external.
Result<Graph> import_onnx(std::span<const std::byte> file, std::string_view name,
                          const OpenExternal& open_external = {});

// Operators that models may use.
const std::vector<std::string>& supported_operators();

// Set by import_onnx on a ConvTranspose of opset 10 or older whose padding follows from its sizes:
// where that is odd, those opsets put the larger half on the other side than later ones do. The
// schemas refuse it in a file.
inline constexpr const char* kOddPaddingOfOpset10 = "odd_padding_of_opset_10";

}  // namespace atelier::model
