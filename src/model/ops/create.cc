// SPDX-License-Identifier: Apache-2.0
// Constants, ranges, masks of matrices, and changes of type.
#include <algorithm>
#include <cmath>
#include <optional>

#include "model/ops/call.h"

namespace atelier::model::ops {
namespace {

// The numbers of TensorProto.DataType.
std::optional<ElementType> element_type(int64_t code) {
  switch (code) {
    case 1: return ElementType::f32;
    case 2: return ElementType::u8;
    case 3: return ElementType::i8;
    case 4: return ElementType::u16;
    case 5: return ElementType::i16;
    case 6: return ElementType::i32;
    case 7: return ElementType::i64;
    case 9: return ElementType::boolean;
    case 10: return ElementType::f16;
    case 11: return ElementType::f64;
    case 12: return ElementType::u32;
    case 13: return ElementType::u64;
    default: return std::nullopt;
  }
}

// Truncates; what does not fit wraps, as in C's usual conversions, and not-a-number is 0.
int64_t float_to_int(ElementType type, float value) {
  if (type == ElementType::boolean) return value != 0 ? 1 : 0;
  if (type == ElementType::u64 && value >= 0x1p63F) {
    return value >= 0x1p64F ? -1 : static_cast<int64_t>(static_cast<uint64_t>(value));
  }
  return wrap(type, saturate(ElementType::i64, std::trunc(double{value})));
}

Result<Values> convert(const Call& call, ElementType type) {
  const Tensor& in = call.in(0);
  Tensor out = TRY(call.make(type, in.shape));
  for (int64_t i = 0; i < in.count(); ++i) {
    if (out.is_int()) {
      out.ints[i] = in.is_int() ? wrap(type, in.ints[i]) : float_to_int(type, in.floats[i]);
    } else {
      const float value =
          in.is_int() ? static_cast<float>(to_double(in.type, in.ints[i])) : in.floats[i];
      out.floats[i] = type == ElementType::f16 ? round_to_half(value) : value;
    }
  }
  return one(std::move(out));
}

Result<Values> cast(const Call& call) {
  const int64_t to = call.node.attr_int("to", 0);
  const auto type = element_type(to);
  if (!type) return call.refuse("casts to a type that is not supported ({})", to);
  return convert(call, *type);
}

Result<Values> cast_like(const Call& call) { return convert(call, call.in(1).type); }

Result<Values> constant(const Call& call) {
  const auto& attributes = call.node.attributes;
  if (attributes.size() != 1) return call.refuse("has {} values", attributes.size());
  const auto& [key, value] = *attributes.begin();
  Tensor out;
  if (const auto* tensor = std::get_if<Tensor>(&value)) {
    out = *tensor;
  } else if (const auto* number = std::get_if<float>(&value)) {
    out.floats = {*number};
  } else if (const auto* floats = std::get_if<std::vector<float>>(&value)) {
    out.shape = {static_cast<int64_t>(floats->size())};
    out.floats = *floats;
  } else if (const auto* integer = std::get_if<int64_t>(&value)) {
    out.type = ElementType::i64;
    out.ints = {*integer};
  } else if (const auto* ints = std::get_if<Ints>(&value)) {
    out.type = ElementType::i64;
    out.shape = {static_cast<int64_t>(ints->size())};
    out.ints = *ints;
  } else {
    return call.refuse("has a {} that is not supported", key);
  }
  return one(std::move(out));
}

Result<Values> constant_of_shape(const Call& call) {
  Tensor value;
  value.floats = {0};
  const auto it = call.node.attributes.find("value");
  if (it != call.node.attributes.end()) {
    const auto* given = std::get_if<Tensor>(&it->second);
    if (given == nullptr || given->floats.size() + given->ints.size() != 1 ||
        given->is_int() != given->floats.empty()) {
      return call.refuse("needs one value");
    }
    value = *given;
  }
  Tensor out = TRY(call.make(value.type, TRY(call.ints(0))));
  with_elements(value, out,
                [&](const auto* from, auto* to) { std::fill_n(to, out.count(), from[0]); });
  return one(std::move(out));
}

Result<Values> int_range(const Call& call, int64_t start, int64_t limit, int64_t step) {
  if (step == 0) return call.refuse("takes steps of 0");
  const bool up = step > 0;
  const auto low = static_cast<uint64_t>(up ? start : limit);
  const auto high = static_cast<uint64_t>(up ? limit : start);
  const uint64_t stride = up ? static_cast<uint64_t>(step) : 0 - static_cast<uint64_t>(step);
  const bool empty = up ? start >= limit : start <= limit;
  const uint64_t count = empty ? 0 : (high - low - 1) / stride + 1;
  if (count > static_cast<uint64_t>(call.options.max_elements)) {
    return call.refuse("would make {} elements", count);
  }
  Tensor out = TRY(call.make(call.in(0).type, {static_cast<int64_t>(count)}));
  for (uint64_t i = 0; i < count; ++i) {
    out.ints[i] =
        static_cast<int64_t>(static_cast<uint64_t>(start) + i * static_cast<uint64_t>(step));
  }
  return one(std::move(out));
}

Result<Values> range(const Call& call) {
  for (size_t i = 0; i < 3; ++i) {
    if (call.in(i).count() != 1) return call.refuse("needs a single number as input {}", i);
  }
  if (call.in(0).is_int()) {
    return int_range(call, call.in(0).ints[0], call.in(1).ints[0], call.in(2).ints[0]);
  }
  const double start = call.in(0).floats[0];
  const double step = call.in(2).floats[0];
  const double count = std::ceil((call.in(1).floats[0] - start) / step);
  if (std::isnan(count) || count > static_cast<double>(call.options.max_elements)) {
    return call.refuse("would make {} elements", count);
  }
  Tensor out = TRY(call.make(call.in(0).type, {static_cast<int64_t>(std::max(count, 0.0))}));
  for (size_t i = 0; i < out.floats.size(); ++i) {
    out.floats[i] = static_cast<float>(start + static_cast<double>(i) * step);
  }
  return one(std::move(out));
}

Result<Values> eye_like(const Call& call) {
  const Tensor& in = call.in(0);
  if (in.shape.size() != 2) return call.refuse("gets no matrix");
  ElementType type = in.type;
  const int64_t code = call.node.attr_int("dtype", 0);
  if (code != 0) {
    const auto named = element_type(code);
    if (!named) return call.refuse("has a dtype that is not supported ({})", code);
    type = *named;
  }
  Tensor out = TRY(call.make(type, in.shape));
  const int64_t k = call.node.attr_int("k", 0);
  for (int64_t row = 0; row < in.shape[0]; ++row) {
    int64_t column = 0;
    if (__builtin_add_overflow(row, k, &column) || column < 0 || column >= in.shape[1]) continue;
    if (out.is_int()) {
      out.ints[row * in.shape[1] + column] = 1;
    } else {
      out.floats[row * in.shape[1] + column] = 1;
    }
  }
  return one(std::move(out));
}

Result<Values> trilu(const Call& call) {
  Tensor out = call.in(0);
  const size_t rank = out.shape.size();
  if (rank < 2) return call.refuse("gets no matrix");
  int64_t k = 0;
  if (call.has(1)) k = TRY(call.integer(1));
  const bool upper = call.node.attr_int("upper", 1) != 0;
  const int64_t rows = out.shape[rank - 2];
  const int64_t columns = out.shape[rank - 1];
  k = std::clamp(k, -rows - 1, columns + 1);
  with_elements(call.in(0), out, [&](const auto*, auto* to) {
    for (int64_t i = 0; i < out.count(); ++i) {
      const int64_t diagonal = i % columns - i / columns % rows;
      if (upper ? diagonal < k : diagonal > k) to[i] = 0;
    }
  });
  return one(std::move(out));
}

constexpr Operator kOperators[] = {
    {"Cast", 1, 1, "a", cast},         {"CastLike", 2, 2, "a", cast_like},
    {"Constant", 0, 0, "a", constant}, {"ConstantOfShape", 1, 1, "i", constant_of_shape},
    {"EyeLike", 1, 1, "a", eye_like},  {"Range", 3, 3, "ns", range},
    {"Trilu", 1, 2, "ai", trilu},
};

}  // namespace

std::span<const Operator> create_operators() { return kOperators; }

}  // namespace atelier::model::ops
