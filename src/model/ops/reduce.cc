// SPDX-License-Identifier: Apache-2.0
// Reductions over any set of axes: one walk over what is kept, inside it one over what is summed.
// Floats add up in double, in row-major order.
#include <algorithm>
#include <cmath>
#include <limits>

#include "model/ops/walk.h"

namespace atelier::model::ops {
namespace {

// Axes come as input 1 (ReduceSum of opset 13, all of opset 18) or as an attribute.
Result<std::vector<bool>> reduced_axes(const Call& call) {
  const size_t rank = call.in(0).shape.size();
  Ints listed = call.node.attr_ints("axes", {});
  if (call.has(1)) listed = TRY(call.ints(1));
  const bool none = listed.empty() && call.node.attr_int("noop_with_empty_axes", 0) != 0;
  std::vector<bool> reduced(rank, listed.empty() && !none);
  for (const size_t axis : TRY(call.axes(listed, rank))) reduced[axis] = true;
  return reduced;
}

struct Boxes {
  Ints out;  // the shape of the result
  Ints kept, kept_steps;
  Ints summed, summed_steps;
};

Result<Boxes> split_axes(const Call& call) {
  const std::vector<bool> reduced = TRY(reduced_axes(call));
  const bool keep = call.node.attr_int("keepdims", 1) != 0;
  const Ints& shape = call.in(0).shape;
  const Ints steps = strides(shape);
  Boxes boxes;
  for (size_t i = 0; i < shape.size(); ++i) {
    (reduced[i] ? boxes.summed : boxes.kept).push_back(shape[i]);
    (reduced[i] ? boxes.summed_steps : boxes.kept_steps).push_back(steps[i]);
    if (!reduced[i]) boxes.out.push_back(shape[i]);
    if (reduced[i] && keep) boxes.out.push_back(1);
  }
  return boxes;
}

// result(walk over the summed elements, where they begin) for each element of the output.
template <class Store>
void for_each_sum(const Call& call, const Boxes& boxes, Store store) {
  const Walk<1> kept(boxes.kept, {boxes.kept_steps});
  const Walk<1> summed(boxes.summed, {boxes.summed_steps});
  parallel(call.options.threads, kept.rows(), [&](int64_t begin, int64_t end) {
    kept.run(begin, end, [&](int64_t first, const std::array<int64_t, 1>& at) {
      for (int64_t i = 0; i < kept.length(); ++i) {
        store(first + i, summed, at[0] + i * kept.step(0));
      }
    });
  });
}

template <class T, class F>
void for_each_summed(const Walk<1>& summed, const T* from, int64_t base, F f) {
  summed.run(
      [&](int64_t, const std::array<int64_t, 1>& at) {
        for (int64_t i = 0; i < summed.length(); ++i) f(from[at[0] + i * summed.step(0)]);
      },
      {base});
}

enum class Finish { none, mean, root, log };

// The sum of term(element), finished; integers wrap, and their mean is cut.
template <class F, class G>
Result<Values> sums(const Call& call, Finish finish, F term, G int_term) {
  const Boxes boxes = TRY(split_axes(call));
  const Tensor& in = call.in(0);
  Tensor out = TRY(call.make(in.type, boxes.out));
  const auto count = static_cast<double>(product(boxes.summed, 0, boxes.summed.size()));
  const auto done = [&](double sum) {
    if (finish == Finish::mean) return sum / count;
    if (finish == Finish::root) return std::sqrt(sum);
    return finish == Finish::log ? std::log(sum) : sum;
  };
  if (in.is_int() && finish == Finish::mean && count == 0) return call.refuse("averages nothing");
  for_each_sum(call, boxes, [&](int64_t index, const Walk<1>& summed, int64_t base) {
    if (in.is_int()) {
      uint64_t sum = 0;
      for_each_summed(summed, in.ints.data(), base,
                      [&](int64_t v) { sum += static_cast<uint64_t>(int_term(v)); });
      const auto exact = static_cast<int64_t>(sum);
      out.ints[index] =
          wrap(in.type,
               finish == Finish::none ? exact : saturate(in.type, done(to_double(in.type, exact))));
    } else {
      double sum = 0;
      for_each_summed(summed, in.floats.data(), base, [&](double v) { sum += term(v); });
      out.floats[index] = static_cast<float>(done(sum));
    }
  });
  return one(std::move(out));
}

double same(double v) { return v; }
int64_t same_int(int64_t v) { return v; }
double square(double v) { return v * v; }
int64_t square_int(int64_t v) {
  return static_cast<int64_t>(static_cast<uint64_t>(v) * static_cast<uint64_t>(v));
}

Result<Values> sum(const Call& call) { return sums(call, Finish::none, same, same_int); }
Result<Values> mean(const Call& call) { return sums(call, Finish::mean, same, same_int); }
Result<Values> log_sum(const Call& call) { return sums(call, Finish::log, same, same_int); }
Result<Values> l2(const Call& call) { return sums(call, Finish::root, square, square_int); }
Result<Values> sum_square(const Call& call) { return sums(call, Finish::none, square, square_int); }
Result<Values> l1(const Call& call) {
  return sums(
      call, Finish::none, [](double v) { return std::abs(v); },
      [](int64_t v) { return v < 0 ? static_cast<int64_t>(0 - static_cast<uint64_t>(v)) : v; });
}

Result<Values> prod(const Call& call) {
  const Boxes boxes = TRY(split_axes(call));
  const Tensor& in = call.in(0);
  Tensor out = TRY(call.make(in.type, boxes.out));
  for_each_sum(call, boxes, [&](int64_t index, const Walk<1>& summed, int64_t base) {
    if (in.is_int()) {
      uint64_t all = 1;
      for_each_summed(summed, in.ints.data(), base,
                      [&](int64_t v) { all *= static_cast<uint64_t>(v); });
      out.ints[index] = wrap(in.type, static_cast<int64_t>(all));
    } else {
      double all = 1;
      for_each_summed(summed, in.floats.data(), base, [&](double v) { all *= v; });
      out.floats[index] = static_cast<float>(all);
    }
  });
  return one(std::move(out));
}

template <bool kMax>
Result<Values> extreme(const Call& call) {
  const Boxes boxes = TRY(split_axes(call));
  const Tensor& in = call.in(0);
  Tensor out = TRY(call.make(in.type, boxes.out));
  if (in.count() == 0 && out.count() > 0) return call.refuse("takes the extreme of nothing");
  const bool big = in.type == ElementType::u64;
  const auto better = [big](auto a, auto b) {
    if constexpr (std::is_same_v<decltype(a), int64_t>) {
      if (big) a ^= INT64_MIN, b ^= INT64_MIN;  // unsigned order
    }
    return kMax ? a > b : a < b;
  };
  with_elements(in, out, [&](const auto* from, auto* to) {
    for_each_sum(call, boxes, [&](int64_t index, const Walk<1>& summed, int64_t base) {
      auto best = from[base];
      for_each_summed(summed, from, base, [&](auto v) {
        if (better(v, best) || v != v) best = v;  // not-a-number wins
      });
      to[index] = best;
    });
  });
  return one(std::move(out));
}

// Shifted by the largest, so that nothing overflows.
Result<Values> log_sum_exp(const Call& call) {
  const Boxes boxes = TRY(split_axes(call));
  const Tensor& in = call.in(0);
  Tensor out = TRY(call.make(in.type, boxes.out));
  for_each_sum(call, boxes, [&](int64_t index, const Walk<1>& summed, int64_t base) {
    double top = -std::numeric_limits<double>::infinity();
    for_each_summed(summed, in.floats.data(), base, [&](double v) { top = std::max(top, v); });
    const double shift = std::isfinite(top) ? top : 0;
    double sum = 0;
    for_each_summed(summed, in.floats.data(), base, [&](double v) { sum += std::exp(v - shift); });
    out.floats[index] = static_cast<float>(std::log(sum) + shift);
  });
  return one(std::move(out));
}

constexpr Operator kOperators[] = {
    {"ReduceL1", 1, 2, "ni", l1},
    {"ReduceL2", 1, 2, "ni", l2},
    {"ReduceLogSum", 1, 2, "ni", log_sum},
    {"ReduceLogSumExp", 1, 2, "fi", log_sum_exp},
    {"ReduceMax", 1, 2, "ni", extreme<true>},
    {"ReduceMean", 1, 2, "ni", mean},
    {"ReduceMin", 1, 2, "ni", extreme<false>},
    {"ReduceProd", 1, 2, "ni", prod},
    {"ReduceSum", 1, 2, "ni", sum},
    {"ReduceSumSquare", 1, 2, "ni", sum_square},
};

}  // namespace

std::span<const Operator> reduce_operators() { return kOperators; }

}  // namespace atelier::model::ops
