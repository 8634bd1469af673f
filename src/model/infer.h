// SPDX-License-Identifier: Apache-2.0
// Types and shapes of what one node makes, operator by operator, as its page in
// onnx/docs/Operators.md (opset 17) reads. Internal to src/model; specialise() walks the graph.
//
// Inputs are hostile until checked: dimensions are 0 to 2^31 or -1 (known only while running),
// attributes and constants may hold anything. Results may be too large; the caller bounds them.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "model/specialise.h"

namespace atelier::model {

using Shape = std::vector<int64_t>;

// A node with what is known of its inputs.
struct NodeView {
  const Node& node;
  std::vector<const TensorType*> types;  // null where the input is absent
  std::vector<const Tensor*> values;     // null where it is absent or not constant

  bool has(size_t i) const { return i < types.size() && types[i] != nullptr; }
  // The type of an input that the operator cannot do without.
  Result<const TensorType*> input(size_t i) const;
  // "node 'conv1' (Conv) has strange pads."
  Error refuse(std::string_view why) const;
  Error refuse_size() const;  // nothing would be left of a frame of this size
  // The elements of an integer input; nothing where it is absent or not constant.
  Result<std::optional<Shape>> ints(size_t i) const;
  // Its elements where it is constant; refused where it is not.
  Result<Shape> constant_ints(size_t i) const;
  // Length of a one-dimensional input, such as the shape that Reshape wants.
  Result<int64_t> length(size_t i) const;
  // `axis` from 0; negative ones count from the end.
  Result<size_t> axis(int64_t axis, size_t rank) const;
  // Inputs i and j hold numbers that may be computed together.
  Result<void> same_type(size_t i, size_t j) const;
  Result<void> require_float(size_t i) const;
};

using Inferred = Result<std::vector<TensorType>>;
using InferFunction = Inferred (*)(const NodeView&);

// Null for an operator that nobody can infer.
InferFunction find_inference(std::string_view op);

// The tables behind find_inference, by topic.
struct InferRule {
  std::string_view op;
  InferFunction function;
};
std::span<const InferRule> elementwise_rules();
std::span<const InferRule> window_rules();    // convolutions and pools
std::span<const InferRule> layout_rules();    // what moves, cuts and joins
std::span<const InferRule> indexing_rules();  // what picks by index, and sizes that are computed
std::span<const InferRule> math_rules();      // products, reductions, normalisation, quantization

// Same, or one of them is 1; numpy's rule. Unknown dimensions follow the known one.
Result<Shape> broadcast(const NodeView& node, const Shape& a, const Shape& b);
// Product of the dimensions; -1 if one is unknown. At most 2^62, where it stays.
int64_t product(std::span<const int64_t> shape);
inline Inferred one(ElementType type, Shape shape) {
  return std::vector<TensorType>{{type, std::move(shape)}};
}
// An attribute or constant that arithmetic on dimensions cannot overflow with.
inline bool modest(int64_t v) { return v >= -(int64_t{1} << 40) && v <= (int64_t{1} << 40); }

}  // namespace atelier::model
