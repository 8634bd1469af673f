// SPDX-License-Identifier: Apache-2.0
// One element in, one out: computed in double, rounded once.
#include <algorithm>
#include <cmath>
#include <limits>

#include "model/ops/call.h"

namespace atelier::model::ops {
namespace {

template <class F>
Result<Values> map(const Call& call, F f) {
  const Tensor& in = call.in(0);
  Tensor out = TRY(call.make(in.type, in.shape));
  parallel(call.options.threads, in.count(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      out.floats[i] = static_cast<float>(f(static_cast<double>(in.floats[i])));
    }
  });
  return one(std::move(out));
}

// `g` for integers: 64 bits in, wrapped to the type afterwards.
template <class F, class G>
Result<Values> map(const Call& call, F f, G g) {
  const Tensor& in = call.in(0);
  if (!in.is_int()) return map(call, f);
  Tensor out = TRY(call.make(in.type, in.shape));
  for (size_t i = 0; i < in.ints.size(); ++i) out.ints[i] = wrap(in.type, g(in.ints[i]));
  return one(std::move(out));
}

template <class F>
Result<Values> test(const Call& call, F f) {
  const Tensor& in = call.in(0);
  Tensor out = TRY(call.make(ElementType::boolean, in.shape));
  for (size_t i = 0; i < in.floats.size(); ++i) out.ints[i] = f(in.floats[i]) ? 1 : 0;
  return one(std::move(out));
}

template <double (*F)(double)>
Result<Values> math(const Call& call) {
  return map(call, F);
}

int64_t negate(int64_t v) { return static_cast<int64_t>(0 - static_cast<uint64_t>(v)); }

Result<Values> absolute(const Call& call) {
  const bool big = call.in(0).type == ElementType::u64;
  return map(
      call, [](double v) { return std::abs(v); },
      [big](int64_t v) { return v < 0 && !big ? negate(v) : v; });
}

Result<Values> neg(const Call& call) {
  return map(
      call, [](double v) { return -v; }, negate);
}

Result<Values> sign(const Call& call) {
  const bool big = call.in(0).type == ElementType::u64;
  return map(
      call, [](double v) { return v > 0   ? 1.0
                                  : v < 0 ? -1.0
                                          : v; },
      [big](int64_t v) -> int64_t { return v == 0          ? 0
                                           : v < 0 && !big ? -1
                                                           : 1; });
}

Result<Values> logical_not(const Call& call) {
  return map(
      call, [](double v) { return v; }, [](int64_t v) -> int64_t { return v == 0 ? 1 : 0; });
}

Result<Values> relu(const Call& call) {
  return map(
      call, [](double v) { return std::max(v, 0.0); },
      [](int64_t v) { return std::max<int64_t>(v, 0); });
}

Result<Values> leaky_relu(const Call& call) {
  const double alpha = call.node.attr_float("alpha", 0.01F);
  return map(call, [alpha](double v) { return v < 0 ? alpha * v : v; });
}

Result<Values> thresholded_relu(const Call& call) {
  const double alpha = call.node.attr_float("alpha", 1.0F);
  return map(call, [alpha](double v) { return v > alpha ? v : 0.0; });
}

double logistic(double v) { return 1 / (1 + std::exp(-v)); }
// log(1 + e^v) without overflow.
double soft_plus(double v) { return std::max(v, 0.0) + std::log1p(std::exp(-std::abs(v))); }
double soft_sign(double v) { return v / (1 + std::abs(v)); }
double mish(double v) { return v * std::tanh(soft_plus(v)); }
double reciprocal(double v) { return 1 / v; }
double hard_swish(double v) { return v * std::clamp(v / 6 + 0.5, 0.0, 1.0); }

Result<Values> hard_sigmoid(const Call& call) {
  const double alpha = call.node.attr_float("alpha", 0.2F);
  const double beta = call.node.attr_float("beta", 0.5F);
  return map(call, [=](double v) { return std::max(0.0, std::min(1.0, alpha * v + beta)); });
}

Result<Values> elu(const Call& call) {
  const double alpha = call.node.attr_float("alpha", 1.0F);
  return map(call, [=](double v) { return v < 0 ? alpha * std::expm1(v) : v; });
}

Result<Values> celu(const Call& call) {
  const double alpha = call.node.attr_float("alpha", 1.0F);
  if (alpha == 0) return call.refuse("has an alpha of 0");
  return map(call, [=](double v) {
    return std::max(0.0, v) + std::min(0.0, alpha * std::expm1(v / alpha));
  });
}

Result<Values> selu(const Call& call) {
  const double alpha = call.node.attr_float("alpha", 1.67326319217681884765625F);
  const double gamma = call.node.attr_float("gamma", 1.05070102214813232421875F);
  return map(call, [=](double v) { return gamma * (v > 0 ? v : alpha * std::expm1(v)); });
}

Result<Values> shrink(const Call& call) {
  const double bias = call.node.attr_float("bias", 0);
  const double lambd = call.node.attr_float("lambd", 0.5F);
  const auto f = [=](double v) { return v < -lambd ? v + bias : v > lambd ? v - bias : 0.0; };
  const ElementType type = call.in(0).type;
  return map(call, f, [=](int64_t v) { return saturate(type, f(to_double(type, v))); });
}

Result<Values> is_nan(const Call& call) {
  return test(call, [](float v) { return std::isnan(v); });
}

Result<Values> is_inf(const Call& call) {
  const bool negative = call.node.attr_int("detect_negative", 1) != 0;
  const bool positive = call.node.attr_int("detect_positive", 1) != 0;
  return test(call, [=](float v) { return std::isinf(v) && (v < 0 ? negative : positive); });
}

Result<Values> clip(const Call& call) {
  for (size_t i = 1; i < 3; ++i) {
    if (call.has(i) && call.in(i).count() != 1) return call.refuse("needs bounds of one element");
  }
  const Tensor& in = call.in(0);
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const double low = call.has(1) && !in.is_int() ? call.in(1).floats[0] : -kInfinity;
  const double high = call.has(2) && !in.is_int() ? call.in(2).floats[0] : kInfinity;
  const bool big = in.type == ElementType::u64;
  const auto f = [=](double v) { return std::min(std::max(v, low), high); };
  const int64_t least = call.has(1) && in.is_int() ? call.in(1).ints[0] : big ? 0 : INT64_MIN;
  const int64_t most = call.has(2) && in.is_int() ? call.in(2).ints[0] : big ? -1 : INT64_MAX;
  return map(call, f, [=](int64_t v) {
    if (!big) return std::min(std::max(v, least), most);
    const auto bounded = std::max(static_cast<uint64_t>(v), static_cast<uint64_t>(least));
    return static_cast<int64_t>(std::min(bounded, static_cast<uint64_t>(most)));
  });
}

constexpr Operator kOperators[] = {
    {"Abs", 1, 1, "n", absolute},
    {"Acos", 1, 1, "f", math<std::acos>},
    {"Acosh", 1, 1, "f", math<std::acosh>},
    {"Asin", 1, 1, "f", math<std::asin>},
    {"Asinh", 1, 1, "f", math<std::asinh>},
    {"Atan", 1, 1, "f", math<std::atan>},
    {"Atanh", 1, 1, "f", math<std::atanh>},
    {"Ceil", 1, 1, "f", math<std::ceil>},
    {"Celu", 1, 1, "f", celu},
    {"Clip", 1, 3, "ns", clip},
    {"Cos", 1, 1, "f", math<std::cos>},
    {"Cosh", 1, 1, "f", math<std::cosh>},
    {"Elu", 1, 1, "f", elu},
    {"Erf", 1, 1, "f", math<std::erf>},
    {"Exp", 1, 1, "f", math<std::exp>},
    {"Floor", 1, 1, "f", math<std::floor>},
    {"HardSigmoid", 1, 1, "f", hard_sigmoid},
    {"HardSwish", 1, 1, "f", math<hard_swish>},
    {"IsInf", 1, 1, "f", is_inf},
    {"IsNaN", 1, 1, "f", is_nan},
    {"LeakyRelu", 1, 1, "f", leaky_relu},
    {"Log", 1, 1, "f", math<std::log>},
    {"Mish", 1, 1, "f", math<mish>},
    {"Neg", 1, 1, "n", neg},
    {"Not", 1, 1, "b", logical_not},
    {"Reciprocal", 1, 1, "f", math<reciprocal>},
    {"Relu", 1, 1, "n", relu},
    {"Round", 1, 1, "f", math<std::nearbyint>},
    {"Selu", 1, 1, "f", selu},
    {"Shrink", 1, 1, "n", shrink},
    {"Sigmoid", 1, 1, "f", math<logistic>},
    {"Sign", 1, 1, "n", sign},
    {"Sin", 1, 1, "f", math<std::sin>},
    {"Sinh", 1, 1, "f", math<std::sinh>},
    {"Softplus", 1, 1, "f", math<soft_plus>},
    {"Softsign", 1, 1, "f", math<soft_sign>},
    {"Sqrt", 1, 1, "f", math<std::sqrt>},
    {"Tan", 1, 1, "f", math<std::tan>},
    {"Tanh", 1, 1, "f", math<std::tanh>},
    {"ThresholdedRelu", 1, 1, "f", thresholded_relu},
};

}  // namespace

std::span<const Operator> unary_operators() { return kOperators; }

}  // namespace atelier::model::ops
