// SPDX-License-Identifier: Apache-2.0
#include "model/infer.h"

#include <algorithm>
#include <array>
#include <map>

namespace atelier::model {

Error NodeView::refuse(std::string_view why) const {
  return make_error(Code::invalid_argument, "{} {}.", describe(node), why);
}

Error NodeView::refuse_size() const {
  return refuse("leaves nothing of a frame of this size; use a larger one");
}

Result<const TensorType*> NodeView::input(size_t i) const {
  if (!has(i)) return refuse(fmt::format("lacks its input {}", i));
  return types[i];
}

Result<std::optional<Shape>> NodeView::ints(size_t i) const {
  if (!has(i) || values[i] == nullptr) return std::optional<Shape>();
  if (!values[i]->is_int()) return refuse(fmt::format("wants whole numbers in input {}", i));
  return std::optional<Shape>(values[i]->ints);
}

Result<Shape> NodeView::constant_ints(size_t i) const {
  auto found = TRY(ints(i));
  if (!found) {
    return refuse(fmt::format("computes its input {} while running, which is not supported", i));
  }
  return std::move(*found);
}

Result<int64_t> NodeView::length(size_t i) const {
  const TensorType* type = TRY(input(i));
  if (type->shape.size() != 1 || type->shape[0] < 0 || type->shape[0] > 32) {
    return refuse("computes the number of its dimensions while running, which is not supported");
  }
  return type->shape[0];
}

Result<size_t> NodeView::axis(int64_t axis, size_t rank) const {
  const auto r = static_cast<int64_t>(rank);
  if (axis < -r || axis >= r) {
    return refuse(fmt::format("has axis {}, but its input has {} dimensions", axis, rank));
  }
  return static_cast<size_t>(axis < 0 ? axis + r : axis);
}

// Floating-point types are computed alike, and bounds that older operators kept in attributes are
// float32 whatever the picture is.
Result<void> NodeView::same_type(size_t i, size_t j) const {
  const ElementType a = TRY(input(i))->type, b = TRY(input(j))->type;
  if (a == b || (is_float(a) && is_float(b))) return {};
  return refuse(
      fmt::format("gets {} and {}, which do not go together", to_string(a), to_string(b)));
}

Result<void> NodeView::require_float(size_t i) const {
  const ElementType type = TRY(input(i))->type;
  if (is_float(type)) return {};
  return refuse(fmt::format("gets {} where it wants fractions", to_string(type)));
}

int64_t product(std::span<const int64_t> shape) {
  constexpr int64_t kMost = int64_t{1} << 62;
  int64_t count = 1;
  for (int64_t d : shape) {
    if (d < 0) return -1;
    if (d == 0) return 0;
    count = count > kMost / d ? kMost : count * d;
  }
  return count;
}

Result<Shape> broadcast(const NodeView& node, const Shape& a, const Shape& b) {
  Shape shape(std::max(a.size(), b.size()));
  for (size_t i = 0; i < shape.size(); ++i) {
    const auto at = [&](const Shape& s) {
      return i + s.size() < shape.size() ? 1 : s[i + s.size() - shape.size()];
    };
    const int64_t x = at(a), y = at(b);
    if (x != y && x != 1 && y != 1 && x != -1 && y != -1) {
      return node.refuse(fmt::format("gets {} and {} along one dimension, which do not fit", x, y));
    }
    shape[i] = x == y ? x : x == 1 || x == -1 ? (y == 1 ? x : y) : x;
  }
  return shape;
}

namespace {

Inferred same(const NodeView& n) {
  const TensorType type = *TRY(n.input(0));
  return one(type.type, type.shape);
}

Inferred same_float(const NodeView& n) {
  TRY(n.require_float(0));
  return same(n);
}

Inferred boolean(const NodeView& n) { return one(ElementType::boolean, TRY(n.input(0))->shape); }

// Any number of inputs, all of one type.
Inferred together(const NodeView& n) {
  Shape shape = TRY(n.input(0))->shape;
  for (size_t i = 1; i < n.types.size(); ++i) {
    TRY(n.same_type(0, i));
    shape = TRY(broadcast(n, shape, n.types[i]->shape));
  }
  return one(n.types[0]->type, std::move(shape));
}

Inferred power(const NodeView& n) {
  const TensorType* base = TRY(n.input(0));
  return one(base->type, TRY(broadcast(n, base->shape, TRY(n.input(1))->shape)));
}

Inferred compare(const NodeView& n) {
  auto types = TRY(together(n));
  return one(ElementType::boolean, std::move(types[0].shape));
}

Inferred logic(const NodeView& n) {
  for (size_t i = 0; i < n.types.size(); ++i) {
    if (TRY(n.input(i))->type != ElementType::boolean) return n.refuse("wants true or false");
  }
  return compare(n);
}

Inferred clip(const NodeView& n) {
  for (size_t i : {size_t{1}, size_t{2}}) {
    if (!n.has(i)) continue;
    TRY(n.same_type(0, i));
    const int64_t count = product(n.types[i]->shape);
    if (count != 1 && count != -1) return n.refuse("has strange bounds");
  }
  return same(n);
}

Inferred prelu(const NodeView& n) {
  auto types = TRY(together(n));
  if (types[0].shape.size() != n.types[0]->shape.size()) {
    return n.refuse("has a slope that does not fit its input");
  }
  return types;
}

Inferred cast(const NodeView& n) {
  const auto type = element_type(n.node.attr_int("to", 0));
  if (!type) return n.refuse("makes elements of a type that is not supported");
  return one(*type, TRY(n.input(0))->shape);
}

Inferred cast_like(const NodeView& n) { return one(TRY(n.input(1))->type, TRY(n.input(0))->shape); }

Inferred where(const NodeView& n) {
  if (TRY(n.input(0))->type != ElementType::boolean) return n.refuse("wants true or false");
  TRY(n.same_type(1, 2));
  const Shape values = TRY(broadcast(n, n.types[1]->shape, n.types[2]->shape));
  return one(n.types[1]->type, TRY(broadcast(n, n.types[0]->shape, values)));
}

Inferred dropout(const NodeView& n) {
  const TensorType type = *TRY(n.input(0));
  return std::vector<TensorType>{type, {ElementType::boolean, type.shape}};
}

constexpr std::array kElementwise = {
    InferRule{"Abs", same},
    InferRule{"Acos", same_float},
    InferRule{"Acosh", same_float},
    InferRule{"Add", together},
    InferRule{"And", logic},
    InferRule{"Asin", same_float},
    InferRule{"Asinh", same_float},
    InferRule{"Atan", same_float},
    InferRule{"Atanh", same_float},
    InferRule{"BitShift", together},
    InferRule{"Cast", cast},
    InferRule{"CastLike", cast_like},
    InferRule{"Ceil", same_float},
    InferRule{"Celu", same_float},
    InferRule{"Clip", clip},
    InferRule{"Cos", same_float},
    InferRule{"Cosh", same_float},
    InferRule{"Div", together},
    InferRule{"Dropout", dropout},
    InferRule{"Elu", same_float},
    InferRule{"Equal", compare},
    InferRule{"Erf", same_float},
    InferRule{"Exp", same_float},
    InferRule{"Floor", same_float},
    InferRule{"Greater", compare},
    InferRule{"GreaterOrEqual", compare},
    InferRule{"HardSigmoid", same_float},
    InferRule{"HardSwish", same_float},
    InferRule{"Identity", same},
    InferRule{"IsInf", boolean},
    InferRule{"IsNaN", boolean},
    InferRule{"LeakyRelu", same_float},
    InferRule{"Less", compare},
    InferRule{"LessOrEqual", compare},
    InferRule{"Log", same_float},
    InferRule{"Max", together},
    InferRule{"Mean", together},
    InferRule{"Min", together},
    InferRule{"Mish", same_float},
    InferRule{"Mod", together},
    InferRule{"Mul", together},
    InferRule{"Neg", same},
    InferRule{"Not", logic},
    InferRule{"Or", logic},
    InferRule{"PRelu", prelu},
    InferRule{"Pow", power},
    InferRule{"Reciprocal", same_float},
    InferRule{"Relu", same},
    InferRule{"Round", same_float},
    InferRule{"Selu", same_float},
    InferRule{"Shrink", same},
    InferRule{"Sigmoid", same_float},
    InferRule{"Sign", same},
    InferRule{"Sin", same_float},
    InferRule{"Sinh", same_float},
    InferRule{"Softplus", same_float},
    InferRule{"Softsign", same_float},
    InferRule{"Sqrt", same_float},
    InferRule{"Sub", together},
    InferRule{"Sum", together},
    InferRule{"Tan", same_float},
    InferRule{"Tanh", same_float},
    InferRule{"ThresholdedRelu", same_float},
    InferRule{"Where", where},
    InferRule{"Xor", logic},
};

}  // namespace

std::span<const InferRule> elementwise_rules() { return kElementwise; }

InferFunction find_inference(std::string_view op) {
  static const std::map<std::string_view, InferFunction> kAll = [] {
    std::map<std::string_view, InferFunction> all;
    for (const auto& rules :
         {elementwise_rules(), window_rules(), layout_rules(), indexing_rules(), math_rules()}) {
      for (const InferRule& rule : rules) all.emplace(rule.op, rule.function);
    }
    return all;
  }();
  const auto it = kAll.find(op);
  return it == kAll.end() ? nullptr : it->second;
}

}  // namespace atelier::model
