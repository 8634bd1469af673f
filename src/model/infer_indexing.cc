// SPDX-License-Identifier: Apache-2.0
// Shapes of what picks elements by index, and of what makes tensors of a computed size.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "model/infer.h"

namespace atelier::model {
namespace {

Result<void> require_index(const NodeView& n, size_t i) {
  const ElementType type = TRY(n.input(i))->type;
  if (type == ElementType::i64 || type == ElementType::i32) return {};
  return n.refuse(fmt::format("gets {} where it wants indices", to_string(type)));
}

Inferred gather(const NodeView& n) {
  TRY(require_index(n, 1));
  const TensorType* data = TRY(n.input(0));
  const size_t axis = TRY(n.axis(n.node.attr_int("axis", 0), data->shape.size()));
  const auto cut = data->shape.begin() + static_cast<std::ptrdiff_t>(axis);
  Shape shape(data->shape.begin(), cut);
  shape.insert(shape.end(), n.types[1]->shape.begin(), n.types[1]->shape.end());
  shape.insert(shape.end(), cut + 1, data->shape.end());
  return one(data->type, std::move(shape));
}

Inferred gather_elements(const NodeView& n) {
  TRY(require_index(n, 1));
  const TensorType* data = TRY(n.input(0));
  TRY(n.axis(n.node.attr_int("axis", 0), data->shape.size()));
  if (n.types[1]->shape.size() != data->shape.size()) return n.refuse("has strange indices");
  return one(data->type, n.types[1]->shape);
}

Inferred gather_nd(const NodeView& n) {
  TRY(require_index(n, 1));
  const TensorType* data = TRY(n.input(0));
  const Shape& indices = n.types[1]->shape;
  const int64_t batch = n.node.attr_int("batch_dims", 0);
  const auto rank = static_cast<int64_t>(data->shape.size());
  if (indices.empty() || indices.back() < 1 || batch < 0 || batch + indices.back() > rank ||
      batch >= static_cast<int64_t>(indices.size())) {
    return n.refuse("has strange indices");
  }
  Shape shape(indices.begin(), indices.end() - 1);
  shape.insert(shape.end(), data->shape.begin() + batch + indices.back(), data->shape.end());
  return one(data->type, std::move(shape));
}

Inferred scatter(const NodeView& n) {
  TRY(require_index(n, 1));
  TRY(n.same_type(0, 2));
  const TensorType type = *TRY(n.input(0));
  return one(type.type, type.shape);
}

Inferred shape_of(const NodeView& n) {
  const auto rank = static_cast<int64_t>(TRY(n.input(0))->shape.size());
  const auto bound = [&](const char* key, int64_t otherwise) {
    const int64_t v = n.node.attr_int(key, otherwise);
    return std::clamp<int64_t>(v < 0 ? v + rank : v, 0, rank);
  };
  return one(ElementType::i64, {std::max<int64_t>(bound("end", rank) - bound("start", 0), 0)});
}

Inferred size_of(const NodeView& n) {
  TRY(n.input(0));
  return one(ElementType::i64, {});
}

Inferred constant_of_shape(const NodeView& n) {
  const auto it = n.node.attributes.find("value");
  const auto* value = it == n.node.attributes.end() ? nullptr : std::get_if<Tensor>(&it->second);
  if (value != nullptr && value->count() != 1) return n.refuse("has a strange value");
  const ElementType type = value == nullptr ? ElementType::f32 : value->type;
  const auto wanted = TRY(n.ints(0));
  if (!wanted) return one(type, Shape(static_cast<size_t>(TRY(n.length(0))), -1));
  if (wanted->size() > 32 ||
      std::any_of(wanted->begin(), wanted->end(), [](int64_t d) { return d < 0; })) {
    return n.refuse("has a strange shape");
  }
  return one(type, *wanted);
}

// ceil((limit - start) / delta) and at least 0.
Result<int64_t> range_count(const NodeView& n) {
  const Tensor *start = n.values[0], *limit = n.values[1], *delta = n.values[2];
  if (start->is_int()) {
    const __int128 from = start->ints.at(0), to = limit->ints.at(0), step = delta->ints.at(0);
    if (step == 0) return n.refuse("has a step of zero");
    const __int128 count =
        step > 0 ? (to - from + step - 1) / step : (from - to - step - 1) / -step;
    return static_cast<int64_t>(
        std::clamp<__int128>(count, 0, std::numeric_limits<int64_t>::max()));
  }
  const double count = std::ceil(
      (static_cast<double>(limit->floats.at(0)) - static_cast<double>(start->floats.at(0))) /
      static_cast<double>(delta->floats.at(0)));
  if (!std::isfinite(count)) return n.refuse("has strange bounds");
  return static_cast<int64_t>(std::clamp(count, 0.0, 9e18));
}

Inferred range(const NodeView& n) {
  const ElementType type = TRY(n.input(0))->type;
  for (size_t i = 0; i < 3; ++i) {
    if (TRY(n.input(i))->type != type || product(n.types[i]->shape) != 1) {
      return n.refuse("has strange bounds");
    }
  }
  const bool known = n.values[0] != nullptr && n.values[1] != nullptr && n.values[2] != nullptr;
  return one(type, {known ? TRY(range_count(n)) : -1});
}

Inferred one_hot(const NodeView& n) {
  const Shape& indices = TRY(n.input(0))->shape;
  const ElementType type = TRY(n.input(2))->type;
  const int64_t at = n.node.attr_int("axis", -1);
  const size_t axis = TRY(n.axis(at, indices.size() + 1));
  int64_t depth = -1;
  if (TRY(n.input(1)), n.values[1] != nullptr) {
    const Tensor& value = *n.values[1];
    if (value.count() != 1) return n.refuse("has a strange depth");
    if (!value.is_int() && !(value.floats[0] >= 0 && value.floats[0] < 1e9F)) {
      return n.refuse("has a strange depth");
    }
    depth = value.is_int() ? value.ints[0] : static_cast<int64_t>(value.floats[0]);
    if (depth < 0) return n.refuse("has a strange depth");
  }
  Shape shape = indices;
  shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(axis), depth);
  return one(type, std::move(shape));
}

Inferred eye_like(const NodeView& n) {
  const TensorType* like = TRY(n.input(0));
  const int64_t wanted = n.node.attr_int("dtype", 0);
  const auto type = wanted == 0 ? std::optional(like->type) : element_type(wanted);
  if (!type || like->shape.size() != 2) return n.refuse("has a strange type or shape");
  return one(*type, like->shape);
}

Inferred non_zero(const NodeView& n) {
  return one(ElementType::i64, {static_cast<int64_t>(TRY(n.input(0))->shape.size()), -1});
}

Inferred compress(const NodeView& n) {
  const TensorType* data = TRY(n.input(0));
  if (!n.node.attributes.contains("axis")) return one(data->type, {-1});
  Shape shape = data->shape;
  shape[TRY(n.axis(n.node.attr_int("axis", 0), shape.size()))] = -1;
  return one(data->type, std::move(shape));
}

// Boxes [batches, boxes, 4], scores [batches, classes, boxes]; rows of batch, class, box.
Inferred non_max_suppression(const NodeView& n) {
  const Shape& boxes = TRY(n.input(0))->shape;
  const Shape& scores = TRY(n.input(1))->shape;
  if (boxes.size() != 3 || scores.size() != 3 || (boxes[2] != 4 && boxes[2] != -1)) {
    return n.refuse("has strange boxes or scores");
  }
  return one(ElementType::i64, {-1, 3});
}

Inferred cumsum(const NodeView& n) {
  TRY(require_index(n, 1));
  const TensorType type = *TRY(n.input(0));
  return one(type.type, type.shape);
}

Inferred top_k(const NodeView& n) {
  const TensorType* data = TRY(n.input(0));
  const size_t axis = TRY(n.axis(n.node.attr_int("axis", -1), data->shape.size()));
  Shape shape = data->shape;
  const auto wanted = TRY(n.ints(1));
  if (wanted) {
    if (wanted->size() != 1 || (*wanted)[0] < 0 || (shape[axis] >= 0 && (*wanted)[0] > shape[axis]))
      return n.refuse("wants more than there is");
    shape[axis] = (*wanted)[0];
  } else {
    TRY(n.input(1));
    shape[axis] = -1;
  }
  return std::vector<TensorType>{{data->type, shape}, {ElementType::i64, shape}};
}

constexpr std::array kIndexing = {
    InferRule{"Compress", compress},  InferRule{"ConstantOfShape", constant_of_shape},
    InferRule{"CumSum", cumsum},      InferRule{"EyeLike", eye_like},
    InferRule{"Gather", gather},      InferRule{"GatherElements", gather_elements},
    InferRule{"GatherND", gather_nd}, InferRule{"NonMaxSuppression", non_max_suppression},
    InferRule{"NonZero", non_zero},   InferRule{"OneHot", one_hot},
    InferRule{"Range", range},        InferRule{"ScatterElements", scatter},
    InferRule{"ScatterND", scatter},  InferRule{"Shape", shape_of},
    InferRule{"Size", size_of},       InferRule{"TopK", top_k},
};

}  // namespace

std::span<const InferRule> indexing_rules() { return kIndexing; }

}  // namespace atelier::model
