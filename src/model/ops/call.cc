// SPDX-License-Identifier: Apache-2.0
#include "model/ops/call.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "model/ops/walk.h"

namespace atelier::model::ops {

Result<int64_t> Call::elements(const Ints& shape) const {
  if (shape.size() > kMaxRank) return refuse("would make a tensor of {} axes", shape.size());
  int64_t bounded = 1;
  bool empty = false;
  for (const int64_t d : shape) {
    if (d < 0) return refuse("would make a dimension of {}", d);
    empty |= d == 0;
    if (__builtin_mul_overflow(bounded, std::max<int64_t>(d, 1), &bounded) ||
        bounded > options.max_elements) {
      return refuse("would make a tensor of more than {} elements", options.max_elements);
    }
  }
  return empty ? 0 : bounded;
}

Result<Tensor> Call::make(ElementType type, Ints shape) const {
  const auto count = static_cast<size_t>(TRY(elements(shape)));
  Tensor tensor;
  tensor.type = type;
  tensor.shape = std::move(shape);
  if (tensor.is_int()) {
    tensor.ints.resize(count);
  } else {
    tensor.floats.resize(count);
  }
  return tensor;
}

Result<size_t> Call::axis(int64_t value, size_t rank) const {
  const auto size = static_cast<int64_t>(rank);
  if (value < -size || value >= size) {
    return refuse("names axis {} of a tensor that has {} axes", value, rank);
  }
  return static_cast<size_t>(value < 0 ? value + size : value);
}

Result<std::vector<size_t>> Call::axes(const Ints& values, size_t rank) const {
  std::vector<size_t> found;
  for (const int64_t value : values) {
    const size_t at = TRY(axis(value, rank));
    if (std::find(found.begin(), found.end(), at) != found.end()) {
      return refuse("names axis {} twice", at);
    }
    found.push_back(at);
  }
  return found;
}

Result<Ints> Call::ints(size_t input) const {
  const Tensor& tensor = in(input);
  if (!tensor.is_int() || tensor.shape.size() > 1) {
    return refuse("needs a list of integers as input {}", input);
  }
  return tensor.ints;
}

Result<double> Call::number(size_t input) const {
  const Tensor& tensor = in(input);
  if (tensor.count() != 1) return refuse("needs a single number as input {}", input);
  return tensor.is_int() ? to_double(tensor.type, tensor.ints[0]) : double{tensor.floats[0]};
}

Result<int64_t> Call::integer(size_t input) const {
  const Tensor& tensor = in(input);
  if (!tensor.is_int() || tensor.count() != 1) {
    return refuse("needs a single integer as input {}", input);
  }
  return tensor.ints[0];
}

Values one(Tensor tensor) {
  Values values;
  values.push_back(std::move(tensor));
  return values;
}

int64_t wrap(ElementType type, int64_t value) {
  switch (type) {
    case ElementType::i8: return static_cast<int8_t>(value);
    case ElementType::u8: return static_cast<uint8_t>(value);
    case ElementType::i16: return static_cast<int16_t>(value);
    case ElementType::u16: return static_cast<uint16_t>(value);
    case ElementType::i32: return static_cast<int32_t>(value);
    case ElementType::u32: return static_cast<uint32_t>(value);
    case ElementType::boolean: return value != 0 ? 1 : 0;
    default: return value;
  }
}

int64_t saturate(ElementType type, double value) {
  double low = -0x1p63;
  double high = 0x1p63;
  switch (type) {
    case ElementType::i8: low = -128, high = 127; break;
    case ElementType::u8: low = 0, high = 255; break;
    case ElementType::i16: low = -32768, high = 32767; break;
    case ElementType::u16: low = 0, high = 65535; break;
    case ElementType::i32: low = -0x1p31, high = 0x1p31 - 1; break;
    case ElementType::u32: low = 0, high = 0x1p32 - 1; break;
    default: break;
  }
  if (std::isnan(value)) return 0;
  if (value >= 0x1p63) return high < 0x1p63 ? static_cast<int64_t>(high) : INT64_MAX;
  return static_cast<int64_t>(std::clamp(value, low, high));
}

double to_double(ElementType type, int64_t value) {
  return type == ElementType::u64 ? static_cast<double>(static_cast<uint64_t>(value))
                                  : static_cast<double>(value);
}

float round_to_half(float value) {
  if (!std::isfinite(value) || value == 0) return value;
  const float size = std::abs(value);
  if (size >= 65520) return std::copysign(std::numeric_limits<float>::infinity(), value);
  // The distance between neighbours is 2^-24 below the smallest normal number, else 2^(e-10).
  const int exponent = size < 0x1p-14F ? -24 : std::ilogb(size) - 10;
  return std::ldexp(std::nearbyint(std::ldexp(value, -exponent)), exponent);
}

Ints strides(const Ints& shape) {
  Ints steps(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) steps[i - 1] = steps[i] * std::max<int64_t>(shape[i], 1);
  return steps;
}

int64_t product(const Ints& shape, size_t begin, size_t end) {
  int64_t count = 1;
  for (size_t i = begin; i < end; ++i) count *= shape[i];
  return count;
}

Result<Ints> broadcast_shape(const Call& call, const Ints& a, const Ints& b) {
  Ints shape(std::max(a.size(), b.size()), 1);
  for (size_t i = 1; i <= shape.size(); ++i) {
    const int64_t l = i <= a.size() ? a[a.size() - i] : 1;
    const int64_t r = i <= b.size() ? b[b.size() - i] : 1;
    if (l != r && l != 1 && r != 1) return call.refuse("gets shapes that do not fit together");
    shape[shape.size() - i] = l == 1 ? r : l;
  }
  return shape;
}

Ints broadcast_steps(const Ints& shape, const Ints& box) {
  Ints steps(box.size(), 0);
  const Ints own = strides(shape);
  for (size_t i = 1; i <= shape.size(); ++i) {
    if (shape[shape.size() - i] != 1) steps[box.size() - i] = own[shape.size() - i];
  }
  return steps;
}

Result<Tensor> expand_to(const Call& call, const Tensor& in, const Ints& shape) {
  const Ints box = TRY(broadcast_shape(call, in.shape, shape));
  if (box != shape) return call.refuse("gets shapes that do not fit together");
  Tensor out = TRY(call.make(in.type, shape));
  copy_box(shape, in, {0, broadcast_steps(in.shape, shape)}, out, {0, strides(shape)});
  return out;
}

void copy_box(const Ints& box, const Tensor& from, const View& read, Tensor& to,
              const View& write) {
  const Walk<2> walk(box, {read.steps, write.steps});
  with_elements(from, to, [&](const auto* source, auto* target) {
    walk.run(
        [&](int64_t, const std::array<int64_t, 2>& at) {
          const auto* s = source + at[0];
          auto* t = target + at[1];
          const int64_t length = walk.length();
          const int64_t ss = walk.step(0);
          const int64_t ts = walk.step(1);
          if (ss == 1 && ts == 1) {
            std::copy_n(s, length, t);
          } else {
            for (int64_t i = 0; i < length; ++i) t[i * ts] = s[i * ss];
          }
        },
        {read.base, write.base});
  });
}

}  // namespace atelier::model::ops
