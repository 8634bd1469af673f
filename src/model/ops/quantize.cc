// SPDX-License-Identifier: Apache-2.0
// 8-bit quantisation. Sums of products of integers are exact in double far beyond any real size.
#include <algorithm>
#include <cmath>

#include "model/ops/convolve.h"
#include "model/ops/product.h"

namespace atelier::model::ops {
namespace {

bool is_byte(const Tensor& t) { return t.type == ElementType::u8 || t.type == ElementType::i8; }

// Index of the parameter for element i: parameters are one for all, or one a slice of `axis`.
struct PerAxis {
  int64_t inner = 1;
  int64_t size = 1;
  int64_t at(int64_t i) const { return size == 1 ? 0 : i / inner % size; }
};

Result<PerAxis> per_axis(const Call& call, const Ints& shape, size_t axis, const Tensor& values) {
  if (values.count() == 1 && values.shape.size() <= 1) return PerAxis{};
  if (axis >= shape.size() || values.shape != Ints{shape[axis]}) {
    return call.refuse("gets {} scales or zero points for another axis", values.count());
  }
  return PerAxis{product(shape, axis + 1, shape.size()), shape[axis]};
}

Result<PerAxis> quantization(const Call& call) {
  const Ints& shape = call.in(0).shape;
  size_t axis = 0;
  if (call.in(1).count() != 1) {
    axis = TRY(call.axis(call.node.attr_int("axis", 1), shape.size()));
  }
  if (call.has(2) && call.in(2).count() != call.in(1).count()) {
    return call.refuse("gets other zero points than scales");
  }
  return per_axis(call, shape, axis, call.in(1));
}

Result<Values> quantize(const Call& call) {
  const Tensor& in = call.in(0);
  const PerAxis p = TRY(quantization(call));
  Tensor out = TRY(call.make(call.has(2) ? call.in(2).type : ElementType::u8, in.shape));
  for (int64_t i = 0; i < in.count(); ++i) {
    const int64_t at = p.at(i);
    const float value = in.is_int() ? static_cast<float>(in.ints[i]) : in.floats[i];
    const float steps = std::nearbyint(value / call.in(1).floats[at]);
    const int64_t zero = call.has(2) ? call.in(2).ints[at] : 0;
    out.ints[i] = saturate(out.type, double{steps} + static_cast<double>(zero));
  }
  return one(std::move(out));
}

Result<Values> dequantize(const Call& call) {
  const Tensor& in = call.in(0);
  const PerAxis p = TRY(quantization(call));
  Tensor out = TRY(call.make(call.in(1).type, in.shape));
  for (int64_t i = 0; i < in.count(); ++i) {
    const int64_t at = p.at(i);
    const double zero = call.has(2) ? to_double(in.type, call.in(2).ints[at]) : 0;
    out.floats[i] =
        static_cast<float>((to_double(in.type, in.ints[i]) - zero) * call.in(1).floats[at]);
  }
  return one(std::move(out));
}

// The page's steps in float, as it says.
Result<Values> dynamic_quantize(const Call& call) {
  const Tensor& in = call.in(0);
  float low = 0;
  float high = 0;
  for (const float v : in.floats) {
    if (!std::isfinite(v)) return call.refuse("gets a number that is not finite");
    low = std::min(low, v);
    high = std::max(high, v);
  }
  const float scale = (high - low) / 255;
  const float zero = scale == 0 ? 0 : std::nearbyint(std::clamp(-low / scale, 0.0F, 255.0F));
  Tensor out = TRY(call.make(ElementType::u8, in.shape));
  for (size_t i = 0; i < in.floats.size(); ++i) {
    const float steps = scale == 0 ? 0 : std::nearbyint(in.floats[i] / scale);
    out.ints[i] = saturate(ElementType::u8, double{steps} + zero);
  }
  Values values = one(std::move(out));
  values.push_back(TRY(call.make(ElementType::f32, {})));
  values[1].floats[0] = scale;
  values.push_back(TRY(call.make(ElementType::u8, {})));
  values[2].ints[0] = static_cast<int64_t>(zero);
  return values;
}

// An 8-bit tensor less its zero point, which is input `zero`: exact in float.
Result<std::vector<float>> centred(const Call& call, size_t input, size_t zero, size_t axis) {
  const Tensor& in = call.in(input);
  if (!is_byte(in)) return call.refuse("needs 8-bit integers as input {}", input);
  PerAxis p;
  if (call.has(zero)) {
    if (call.in(zero).type != in.type) return call.refuse("gets a zero point of another type");
    p = TRY(per_axis(call, in.shape, axis, call.in(zero)));
  }
  std::vector<float> values(in.ints.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const int64_t at = p.at(static_cast<int64_t>(i));
    values[i] = static_cast<float>(in.ints[i] - (call.has(zero) ? call.in(zero).ints[at] : 0));
  }
  return values;
}

// What no axis has: a zero point must then be a single one.
constexpr size_t kNoAxis = kMaxRank;

Result<Values> conv_integer(const Call& call) {
  const Convolution c = TRY(make_convolution(call, call.in(0).shape, call.in(1).shape));
  const auto in = TRY(centred(call, 0, 2, kNoAxis));
  const auto weights = TRY(centred(call, 1, 3, 0));
  Tensor out = TRY(call.make(ElementType::i32, c.shape));
  if (out.count() == 0) return one(std::move(out));
  convolve(
      c, in.data(), weights.data(), call.options.threads, [](int64_t) { return 0.0; },
      [&](int64_t at, int64_t, const std::vector<double>& sums) {
        for (size_t i = 0; i < sums.size(); ++i) {
          out.ints[at + static_cast<int64_t>(i)] =
              wrap(ElementType::i32, static_cast<int64_t>(sums[i]));
        }
      });
  return one(std::move(out));
}

// Inputs first + 0 ... first + 1: scale and zero point of the output, both single.
Result<Tensor> quantized_output(const Call& call, size_t scale, size_t zero, Ints shape) {
  if (call.in(scale).is_int() || call.in(scale).count() != 1 || call.in(zero).count() != 1 ||
      !is_byte(call.in(zero))) {
    return call.refuse("needs one scale and one 8-bit zero point of its output");
  }
  return call.make(call.in(zero).type, std::move(shape));
}

Result<Values> qlinear_conv(const Call& call) {
  const Convolution c = TRY(make_convolution(call, call.in(0).shape, call.in(3).shape));
  const auto in = TRY(centred(call, 0, 2, kNoAxis));
  const auto weights = TRY(centred(call, 3, 5, 0));
  if (call.in(1).count() != 1) return call.refuse("needs one scale of its input");
  const PerAxis p = TRY(per_axis(call, {c.maps}, 0, call.in(4)));
  if (call.has(8) && (call.in(8).type != ElementType::i32 || call.in(8).shape != Ints{c.maps})) {
    return call.refuse("gets another bias");
  }
  Tensor out = TRY(quantized_output(call, 6, 7, c.shape));
  if (out.count() == 0) return one(std::move(out));
  const auto zero = static_cast<double>(call.in(7).ints[0]);
  convolve(
      c, in.data(), weights.data(), call.options.threads,
      [&](int64_t map) { return call.has(8) ? static_cast<double>(call.in(8).ints[map]) : 0.0; },
      [&](int64_t at, int64_t map, const std::vector<double>& sums) {
        const double scale =
            double{call.in(1).floats[0]} * call.in(4).floats[p.at(map)] / call.in(6).floats[0];
        for (size_t i = 0; i < sums.size(); ++i) {
          out.ints[at + static_cast<int64_t>(i)] =
              saturate(out.type, std::nearbyint(sums[i] * scale) + zero);
        }
      });
  return one(std::move(out));
}

Result<MatrixProduct> integer_product(const Call& call, const Ints& a, const Ints& b) {
  if (a.size() < 2 || b.size() < 2) return call.refuse("multiplies what are not matrices");
  return make_product(call, a, b);
}

Result<Values> matmul_integer(const Call& call) {
  const Ints& a_shape = call.in(0).shape;
  const Ints& b_shape = call.in(1).shape;
  const MatrixProduct p = TRY(integer_product(call, a_shape, b_shape));
  const auto a = TRY(centred(call, 0, 2, a_shape.size() - 2));
  const auto b = TRY(centred(call, 1, 3, b_shape.size() - 1));
  Tensor out = TRY(call.make(ElementType::i32, p.shape));
  multiply(p, a.data(), b.data(), call.options.threads,
           [&](int64_t at, int64_t, const std::vector<double>& sums) {
             for (int64_t i = 0; i < p.columns; ++i) {
               out.ints[at + i] = wrap(ElementType::i32, static_cast<int64_t>(sums[i]));
             }
           });
  return one(std::move(out));
}

// Scales of a row by row of a, of b by column.
Result<Values> qlinear_matmul(const Call& call) {
  const Ints& a_shape = call.in(0).shape;
  const Ints& b_shape = call.in(3).shape;
  const MatrixProduct p = TRY(integer_product(call, a_shape, b_shape));
  const auto a = TRY(centred(call, 0, 2, a_shape.size() - 2));
  const auto b = TRY(centred(call, 3, 5, b_shape.size() - 1));
  const PerAxis rows = TRY(per_axis(call, {p.rows}, 0, call.in(1)));
  const PerAxis columns = TRY(per_axis(call, {p.columns}, 0, call.in(4)));
  Tensor out = TRY(quantized_output(call, 6, 7, p.shape));
  const auto zero = static_cast<double>(call.in(7).ints[0]);
  multiply(p, a.data(), b.data(), call.options.threads,
           [&](int64_t at, int64_t row, const std::vector<double>& sums) {
             const double left = double{call.in(1).floats[rows.at(row)]} / call.in(6).floats[0];
             for (int64_t i = 0; i < p.columns; ++i) {
               const double scale = left * call.in(4).floats[columns.at(i)];
               out.ints[at + i] = saturate(out.type, std::nearbyint(sums[i] * scale) + zero);
             }
           });
  return one(std::move(out));
}

constexpr Operator kOperators[] = {
    {"ConvInteger", 2, 4, "i", conv_integer},
    {"DequantizeLinear", 2, 3, "ifs", dequantize},
    {"DynamicQuantizeLinear", 1, 1, "f", dynamic_quantize},
    {"MatMulInteger", 2, 4, "i", matmul_integer},
    {"QLinearConv", 8, 9, "ifiififii", qlinear_conv},
    {"QLinearMatMul", 8, 8, "ifiififi", qlinear_matmul},
    {"QuantizeLinear", 2, 3, "nfi", quantize},
};

}  // namespace

std::span<const Operator> quantize_operators() { return kOperators; }

}  // namespace atelier::model::ops
