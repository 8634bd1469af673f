// SPDX-License-Identifier: Apache-2.0
// Two or more tensors, element by element, broadcast as numpy does.
#include <algorithm>
#include <cmath>

#include "model/ops/walk.h"

namespace atelier::model::ops {
namespace {

template <class L, class R, class Out, class F>
void zip(const Call& call, const Walk<2>& walk, const L* left, const R* right, Out* out, F f) {
  parallel(call.options.threads, walk.rows(), [&](int64_t begin, int64_t end) {
    walk.run(begin, end, [&](int64_t first, const std::array<int64_t, 2>& at) {
      const L* l = left + at[0];
      const R* r = right + at[1];
      Out* o = out + first;
      for (int64_t i = 0; i < walk.length(); ++i) {
        o[i] = static_cast<Out>(f(l[i * walk.step(0)], r[i * walk.step(1)]));
      }
    });
  });
}

// f on floats (computed in double: of +, -, * and / the bits are those of float arithmetic), g on
// integers, wrapped to the type afterwards.
template <class F, class G>
Result<Tensor> combine(const Call& call, const Tensor& a, const Tensor& b, F f, G g) {
  Tensor out = TRY(call.make(a.type, TRY(broadcast_shape(call, a.shape, b.shape))));
  const Walk<2> walk(out.shape,
                     {broadcast_steps(a.shape, out.shape), broadcast_steps(b.shape, out.shape)});
  if (a.is_int()) {
    zip(call, walk, a.ints.data(), b.ints.data(), out.ints.data(),
        [&](int64_t x, int64_t y) { return wrap(a.type, g(x, y)); });
  } else {
    zip(call, walk, a.floats.data(), b.floats.data(), out.floats.data(),
        [&](double x, double y) { return f(x, y); });
  }
  return out;
}

template <class F, class G>
Result<Values> arithmetic(const Call& call, F f, G g) {
  return one(TRY(combine(call, call.in(0), call.in(1), f, g)));
}

int64_t add_ints(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
int64_t multiply_ints(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}
double add_floats(double a, double b) { return a + b; }

Result<Values> add(const Call& call) {
  return arithmetic(
      call, [](double a, double b) { return a + b; }, add_ints);
}
Result<Values> sub(const Call& call) {
  return arithmetic(
      call, [](double a, double b) { return a - b; },
      [](int64_t a, int64_t b) {
        return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
      });
}
Result<Values> mul(const Call& call) {
  return arithmetic(
      call, [](double a, double b) { return a * b; }, multiply_ints);
}

bool has_zero(const Tensor& tensor) {
  return std::find(tensor.ints.begin(), tensor.ints.end(), 0) != tensor.ints.end();
}

// Truncates as C does; the one quotient that overflows wraps.
int64_t quotient(bool big, int64_t a, int64_t b) {
  if (big) return static_cast<int64_t>(static_cast<uint64_t>(a) / static_cast<uint64_t>(b));
  return b == -1 ? static_cast<int64_t>(0 - static_cast<uint64_t>(a)) : a / b;
}

Result<Values> div(const Call& call) {
  if (has_zero(call.in(1))) return call.refuse("divides integers by zero");
  const bool big = call.in(0).type == ElementType::u64;
  return arithmetic(
      call, [](double a, double b) { return a / b; },
      [big](int64_t a, int64_t b) { return quotient(big, a, b); });
}

// Without fmod the result has the sign of the divisor, with it that of the dividend.
Result<Values> mod(const Call& call) {
  if (has_zero(call.in(1))) return call.refuse("divides integers by zero");
  const bool fmod = call.node.attr_int("fmod", 0) != 0;
  const bool big = call.in(0).type == ElementType::u64;
  return arithmetic(
      call,
      [fmod](double a, double b) {
        const double rest = std::fmod(a, b);
        return !fmod && rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
      },
      [=](int64_t a, int64_t b) -> int64_t {
        if (big) return static_cast<int64_t>(static_cast<uint64_t>(a) % static_cast<uint64_t>(b));
        const int64_t rest = b == -1 ? 0 : a % b;
        return !fmod && rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
      });
}

int64_t integer_power(int64_t base, int64_t exponent) {
  if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 == 0 ? 1 : -1) : 0;
  int64_t result = 1;
  for (; exponent > 0; exponent /= 2) {
    if (exponent % 2 != 0) result = multiply_ints(result, base);
    base = multiply_ints(base, base);
  }
  return result;
}

// The exponent has a type of its own; the result has that of the base.
Result<Values> power(const Call& call) {
  const Tensor& a = call.in(0);
  const Tensor& b = call.in(1);
  Tensor out = TRY(call.make(a.type, TRY(broadcast_shape(call, a.shape, b.shape))));
  const Walk<2> walk(out.shape,
                     {broadcast_steps(a.shape, out.shape), broadcast_steps(b.shape, out.shape)});
  if (a.is_int() && b.is_int()) {
    zip(call, walk, a.ints.data(), b.ints.data(), out.ints.data(),
        [&](int64_t x, int64_t y) { return wrap(a.type, integer_power(x, y)); });
  } else if (a.is_int()) {
    zip(call, walk, a.ints.data(), b.floats.data(), out.ints.data(), [&](int64_t x, double y) {
      return wrap(a.type, saturate(ElementType::i64, std::pow(to_double(a.type, x), y)));
    });
  } else if (b.is_int()) {
    zip(call, walk, a.floats.data(), b.ints.data(), out.floats.data(),
        [&](double x, int64_t y) { return std::pow(x, to_double(b.type, y)); });
  } else {
    zip(call, walk, a.floats.data(), b.floats.data(), out.floats.data(),
        [](double x, double y) { return std::pow(x, y); });
  }
  return one(std::move(out));
}

// The slope broadcasts to the data only. Slopes of [C], as some exporters write, are refused by
// the page unless they fit the last axis.
Result<Values> prelu(const Call& call) {
  const Ints shape = TRY(broadcast_shape(call, call.in(0).shape, call.in(1).shape));
  if (shape != call.in(0).shape) return call.refuse("gets slopes of another shape");
  return arithmetic(
      call, [](double v, double slope) { return v < 0 ? v * slope : v; },
      [](int64_t v, int64_t slope) { return v < 0 ? multiply_ints(v, slope) : v; });
}

Result<Values> bit_shift(const Call& call) {
  const std::string direction = call.node.attr_string("direction", "");
  if (direction != "LEFT" && direction != "RIGHT") return call.refuse("has no direction");
  const bool left = direction == "LEFT";
  return arithmetic(
      call, [](double a, double) { return a; },
      [left](int64_t a, int64_t by) {
        if (by < 0 || by > 63) return int64_t{0};
        const auto bits = static_cast<uint64_t>(a);
        return static_cast<int64_t>(left ? bits << by : bits >> by);
      });
}

template <class F, class G>
Result<Values> fold(const Call& call, F f, G g) {
  Tensor sum = call.in(0);
  for (size_t i = 1; i < call.inputs.size(); ++i) {
    if (!call.has(i)) return call.refuse("lacks input {}", i);
    sum = TRY(combine(call, sum, call.in(i), f, g));
  }
  return one(std::move(sum));
}

Result<Values> sum(const Call& call) { return fold(call, add_floats, add_ints); }

Result<Values> mean(const Call& call) {
  Values values = TRY(sum(call));
  const auto count = static_cast<double>(call.inputs.size());
  for (float& v : values[0].floats) v = static_cast<float>(v / count);
  return values;
}

// Not-a-number wins, as in numpy.
Result<Values> maximum(const Call& call) {
  const bool big = call.in(0).type == ElementType::u64;
  return fold(
      call, [](double a, double b) { return std::isnan(a) || a > b ? a : b; },
      [big](int64_t a, int64_t b) {
        const bool greater = big ? static_cast<uint64_t>(a) > static_cast<uint64_t>(b) : a > b;
        return greater ? a : b;
      });
}
Result<Values> minimum(const Call& call) {
  const bool big = call.in(0).type == ElementType::u64;
  return fold(
      call, [](double a, double b) { return std::isnan(a) || a < b ? a : b; },
      [big](int64_t a, int64_t b) {
        const bool less = big ? static_cast<uint64_t>(a) < static_cast<uint64_t>(b) : a < b;
        return less ? a : b;
      });
}

// f on floats and on integers, which it gets as numbers that compare as their type does.
template <class F>
Result<Values> compare(const Call& call, F f) {
  const Tensor& a = call.in(0);
  const Tensor& b = call.in(1);
  Tensor out = TRY(call.make(ElementType::boolean, TRY(broadcast_shape(call, a.shape, b.shape))));
  const Walk<2> walk(out.shape,
                     {broadcast_steps(a.shape, out.shape), broadcast_steps(b.shape, out.shape)});
  if (a.type == ElementType::u64) {
    zip(call, walk, a.ints.data(), b.ints.data(), out.ints.data(), [&](int64_t x, int64_t y) {
      return f(static_cast<uint64_t>(x), static_cast<uint64_t>(y));
    });
  } else if (a.is_int()) {
    zip(call, walk, a.ints.data(), b.ints.data(), out.ints.data(), f);
  } else {
    zip(call, walk, a.floats.data(), b.floats.data(), out.ints.data(), f);
  }
  return one(std::move(out));
}

Result<Values> equal(const Call& call) {
  return compare(call, [](auto a, auto b) { return a == b; });
}
Result<Values> less(const Call& call) {
  return compare(call, [](auto a, auto b) { return a < b; });
}
Result<Values> less_or_equal(const Call& call) {
  return compare(call, [](auto a, auto b) { return a <= b; });
}
Result<Values> greater(const Call& call) {
  return compare(call, [](auto a, auto b) { return a > b; });
}
Result<Values> greater_or_equal(const Call& call) {
  return compare(call, [](auto a, auto b) { return a >= b; });
}
Result<Values> logical_and(const Call& call) {
  return compare(call, [](auto a, auto b) { return a != 0 && b != 0; });
}
Result<Values> logical_or(const Call& call) {
  return compare(call, [](auto a, auto b) { return a != 0 || b != 0; });
}
Result<Values> logical_xor(const Call& call) {
  return compare(call, [](auto a, auto b) { return (a != 0) != (b != 0); });
}

Result<Values> where(const Call& call) {
  const Tensor& condition = call.in(0);
  const Tensor& a = call.in(1);
  const Tensor& b = call.in(2);
  const Ints both = TRY(broadcast_shape(call, a.shape, b.shape));
  Tensor out = TRY(call.make(a.type, TRY(broadcast_shape(call, condition.shape, both))));
  const Walk<3> walk(
      out.shape, {broadcast_steps(condition.shape, out.shape), broadcast_steps(a.shape, out.shape),
                  broadcast_steps(b.shape, out.shape)});
  with_elements(a, out, [&](const auto* yes, auto* target) {
    decltype(yes) no;
    if constexpr (std::is_same_v<decltype(yes), const float*>) {
      no = b.floats.data();
    } else {
      no = b.ints.data();
    }
    walk.each([&](int64_t i, const std::array<int64_t, 3>& at) {
      target[i] = condition.ints[at[0]] != 0 ? yes[at[1]] : no[at[2]];
    });
  });
  return one(std::move(out));
}

constexpr Operator kOperators[] = {
    {"Add", 2, 2, "ns", add},
    {"And", 2, 2, "b", logical_and},
    {"BitShift", 2, 2, "is", bit_shift},
    {"Div", 2, 2, "ns", div},
    {"Equal", 2, 2, "as", equal},
    {"Greater", 2, 2, "ns", greater},
    {"GreaterOrEqual", 2, 2, "ns", greater_or_equal},
    {"Less", 2, 2, "ns", less},
    {"LessOrEqual", 2, 2, "ns", less_or_equal},
    {"Max", 1, kMany, "ns", maximum},
    {"Mean", 1, kMany, "f", mean},
    {"Min", 1, kMany, "ns", minimum},
    {"Mod", 2, 2, "ns", mod},
    {"Mul", 2, 2, "ns", mul},
    {"Or", 2, 2, "b", logical_or},
    {"PRelu", 2, 2, "ns", prelu},
    {"Pow", 2, 2, "n", power},
    {"Sub", 2, 2, "ns", sub},
    {"Sum", 1, kMany, "f", sum},
    {"Where", 3, 3, "bat", where},
    {"Xor", 2, 2, "b", logical_xor},
};

}  // namespace

std::span<const Operator> binary_operators() { return kOperators; }

}  // namespace atelier::model::ops
