// SPDX-License-Identifier: Apache-2.0
// Operators that keep the elements in their order, or look at the shape alone.
#include <algorithm>

#include "model/ops/walk.h"

namespace atelier::model::ops {
namespace {

Values with_shape(const Call& call, Ints shape) {
  Tensor out = call.in(0);
  out.shape = std::move(shape);
  return one(std::move(out));
}

Result<Values> identity(const Call& call) { return with_shape(call, call.in(0).shape); }

Result<Values> dropout(const Call& call) {
  if (call.has(2) && TRY(call.integer(2)) != 0) return call.refuse("is in training mode");
  Values values = with_shape(call, call.in(0).shape);
  values.push_back(TRY(call.make(ElementType::boolean, call.in(0).shape)));
  std::fill(values[1].ints.begin(), values[1].ints.end(), 1);
  return values;
}

Result<Values> reshape(const Call& call) {
  const Tensor& in = call.in(0);
  Ints shape = TRY(call.ints(1));
  const bool zero_is_zero = call.node.attr_int("allowzero", 0) != 0;
  size_t unknown = shape.size();
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0 && !zero_is_zero) {
      if (i >= in.shape.size()) return call.refuse("copies axis {} that its input lacks", i);
      shape[i] = in.shape[i];
    }
    if (shape[i] != -1) continue;
    if (unknown < shape.size()) return call.refuse("leaves two dimensions open");
    unknown = i;
    shape[i] = 1;
  }
  const int64_t known = TRY(call.elements(shape));
  if (unknown < shape.size()) {
    if (known == 0 || in.count() % known != 0) {
      return call.refuse("cannot divide {} elements by {}", in.count(), known);
    }
    shape[unknown] = in.count() / known;
  }
  if (TRY(call.elements(shape)) != in.count()) {
    return call.refuse("makes {} elements of {}", product(shape, 0, shape.size()), in.count());
  }
  return with_shape(call, std::move(shape));
}

Result<Values> flatten(const Call& call) {
  const Ints& shape = call.in(0).shape;
  const auto rank = static_cast<int64_t>(shape.size());
  int64_t axis = call.node.attr_int("axis", 1);
  if (axis < -rank || axis > rank) return call.refuse("names axis {} of {}", axis, rank);
  if (axis < 0) axis += rank;
  const auto at = static_cast<size_t>(axis);
  return with_shape(call, {product(shape, 0, at), product(shape, at, shape.size())});
}

// Axes are an input; older models have them as an attribute.
Result<Ints> listed_axes(const Call& call) {
  if (call.has(1)) return call.ints(1);
  return call.node.attr_ints("axes", {});
}

Result<Values> squeeze(const Call& call) {
  const Ints& shape = call.in(0).shape;
  const Ints listed = TRY(listed_axes(call));
  const auto axes = TRY(call.axes(listed, shape.size()));
  const bool all = listed.empty() && !call.has(1);
  Ints kept;
  for (size_t i = 0; i < shape.size(); ++i) {
    const bool named = std::find(axes.begin(), axes.end(), i) != axes.end();
    if (named && shape[i] != 1) return call.refuse("removes an axis of {}", shape[i]);
    if (!named && !(all && shape[i] == 1)) kept.push_back(shape[i]);
  }
  return with_shape(call, std::move(kept));
}

Result<Values> unsqueeze(const Call& call) {
  const Ints& shape = call.in(0).shape;
  const Ints listed = TRY(listed_axes(call));
  const size_t rank = shape.size() + listed.size();
  if (rank > kMaxRank) return call.refuse("would make a tensor of {} axes", rank);
  const auto axes = TRY(call.axes(listed, rank));
  Ints wider(rank, 0);
  for (const size_t axis : axes) wider[axis] = 1;
  size_t next = 0;
  for (int64_t& d : wider) {
    if (d == 0) d = shape[next++];
  }
  return with_shape(call, std::move(wider));
}

Result<Values> shape(const Call& call) {
  const Ints& shape = call.in(0).shape;
  const auto rank = static_cast<int64_t>(shape.size());
  const auto bound = [rank](int64_t v) {
    return std::clamp<int64_t>(v < 0 ? v + rank : v, 0, rank);
  };
  const int64_t start = bound(call.node.attr_int("start", 0));
  const int64_t end = std::max(start, bound(call.node.attr_int("end", rank)));
  Tensor out = TRY(call.make(ElementType::i64, {end - start}));
  std::copy(shape.begin() + start, shape.begin() + end, out.ints.begin());
  return one(std::move(out));
}

Result<Values> size(const Call& call) {
  Tensor out = TRY(call.make(ElementType::i64, {}));
  out.ints[0] = call.in(0).count();
  return one(std::move(out));
}

constexpr Operator kOperators[] = {
    {"Dropout", 1, 3, "ffb", dropout}, {"Flatten", 1, 1, "a", flatten},
    {"Identity", 1, 1, "a", identity}, {"Reshape", 2, 2, "ai", reshape},
    {"Shape", 1, 1, "a", shape},       {"Size", 1, 1, "a", size},
    {"Squeeze", 1, 2, "ai", squeeze},  {"Unsqueeze", 1, 2, "ai", unsqueeze},
};

}  // namespace

std::span<const Operator> shape_operators() { return kOperators; }

}  // namespace atelier::model::ops
