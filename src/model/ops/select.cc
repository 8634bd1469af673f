// SPDX-License-Identifier: Apache-2.0
// Operators along one axis that compare or add up: ArgMax, ArgMin, TopK, CumSum,
// NonMaxSuppression.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "model/ops/call.h"

namespace atelier::model::ops {
namespace {

// The lines of a tensor along an axis: element k of line l is at base(l) + k * inner.
struct Lines {
  int64_t count = 0;
  int64_t size = 0;
  int64_t inner = 1;
  int64_t base(int64_t line) const { return line / inner * inner * size + line % inner; }
};

Lines lines(const Ints& shape, size_t axis) {
  Lines l;
  l.size = shape[axis];
  l.inner = product(shape, axis + 1, shape.size());
  l.count = product(shape, 0, axis) * l.inner;
  return l;
}

// A total order, for not-a-number too: it is the greatest.
bool less(ElementType, float a, float b) { return std::isnan(b) ? !std::isnan(a) : a < b; }
bool less(ElementType type, int64_t a, int64_t b) {
  return type == ElementType::u64 ? static_cast<uint64_t>(a) < static_cast<uint64_t>(b) : a < b;
}

template <bool kMax>
Result<Values> arg_extreme(const Call& call) {
  const Tensor& in = call.in(0);
  const size_t axis = TRY(call.axis(call.node.attr_int("axis", 0), in.shape.size()));
  const bool last = call.node.attr_int("select_last_index", 0) != 0;
  const Lines l = lines(in.shape, axis);
  if (l.size == 0) return call.refuse("takes the extreme of nothing");
  Ints shape = in.shape;
  shape[axis] = 1;
  if (call.node.attr_int("keepdims", 1) == 0) {
    shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(axis));
  }
  Tensor out = TRY(call.make(ElementType::i64, shape));
  Tensor unused =
      in.is_int() ? Tensor{.shape = {}, .floats = {}, .ints = {}, .type = in.type} : Tensor{};
  with_elements(in, unused, [&](const auto* from, auto*) {
    parallel(call.options.threads, l.count, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto* line = from + l.base(i);
        int64_t best = 0;
        for (int64_t k = 1; k < l.size; ++k) {
          const auto a = line[best * l.inner];
          const auto b = line[k * l.inner];
          const bool better = kMax ? less(in.type, a, b) : less(in.type, b, a);
          const bool worse = kMax ? less(in.type, b, a) : less(in.type, a, b);
          if (better || (last && !worse)) best = k;
        }
        out.ints[i] = best;
      }
    });
  });
  return one(std::move(out));
}

Result<Values> top_k(const Call& call) {
  const Tensor& in = call.in(0);
  const size_t axis = TRY(call.axis(call.node.attr_int("axis", -1), in.shape.size()));
  const bool largest = call.node.attr_int("largest", 1) != 0;
  const int64_t k = TRY(call.integer(1));
  const Lines l = lines(in.shape, axis);
  if (k < 0 || k > l.size) return call.refuse("takes {} of {} elements", k, l.size);
  Ints shape = in.shape;
  shape[axis] = k;
  Tensor out = TRY(call.make(in.type, shape));
  Tensor indices = TRY(call.make(ElementType::i64, shape));
  const Lines to_lines = lines(shape, axis);
  Ints order(static_cast<size_t>(l.size));
  with_elements(in, out, [&](const auto* from, auto* to) {
    for (int64_t i = 0; i < l.count; ++i) {
      const auto* line = from + l.base(i);
      std::iota(order.begin(), order.end(), int64_t{0});
      // Of equals the one with the lower index comes first; always sorted.
      std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](int64_t a, int64_t b) {
        const auto x = line[a * l.inner];
        const auto y = line[b * l.inner];
        const bool before = largest ? less(in.type, y, x) : less(in.type, x, y);
        const bool after = largest ? less(in.type, x, y) : less(in.type, y, x);
        return before || (!after && a < b);
      });
      for (int64_t j = 0; j < k; ++j) {
        const int64_t at = to_lines.base(i) + j * l.inner;
        to[at] = line[order[j] * l.inner];
        indices.ints[at] = order[j];
      }
    }
  });
  Values values = one(std::move(out));
  values.push_back(std::move(indices));
  return values;
}

float sum_step(ElementType, double& sum, float value) {
  sum += value;
  return static_cast<float>(sum);
}
int64_t sum_step(ElementType type, uint64_t& sum, int64_t value) {
  sum += static_cast<uint64_t>(value);
  return wrap(type, static_cast<int64_t>(sum));
}

Result<Values> cum_sum(const Call& call) {
  const Tensor& in = call.in(0);
  const size_t axis = TRY(call.axis(TRY(call.integer(1)), in.shape.size()));
  const bool exclusive = call.node.attr_int("exclusive", 0) != 0;
  const bool reverse = call.node.attr_int("reverse", 0) != 0;
  const Lines l = lines(in.shape, axis);
  Tensor out = TRY(call.make(in.type, in.shape));
  if (out.count() == 0) return one(std::move(out));
  with_elements(in, out, [&](const auto* from, auto* to) {
    using T = std::remove_pointer_t<decltype(to)>;
    using Sum = std::conditional_t<std::is_same_v<T, float>, double, uint64_t>;
    for (int64_t i = 0; i < l.count; ++i) {
      Sum sum = 0;
      T before = 0;
      for (int64_t k = 0; k < l.size; ++k) {
        const int64_t at = l.base(i) + (reverse ? l.size - 1 - k : k) * l.inner;
        const T now = sum_step(in.type, sum, from[at]);
        to[at] = exclusive ? before : now;
        before = now;
      }
    }
  });
  return one(std::move(out));
}

struct Box {
  float top, left, bottom, right;
  float area() const { return (bottom - top) * (right - left); }
};

Box read_box(const float* from, bool centred) {
  if (centred) {
    const float x = from[0];
    const float y = from[1];
    return {y - from[3] / 2, x - from[2] / 2, y + from[3] / 2, x + from[2] / 2};
  }
  return {std::min(from[0], from[2]), std::min(from[1], from[3]), std::max(from[0], from[2]),
          std::max(from[1], from[3])};
}

bool overlap(const Box& a, const Box& b, float threshold) {
  const float height = std::min(a.bottom, b.bottom) - std::max(a.top, b.top);
  const float width = std::min(a.right, b.right) - std::max(a.left, b.left);
  if (!(height > 0 && width > 0)) return false;
  const float both = height * width;
  const float either = a.area() + b.area() - both;
  return either > 0 && both / either > threshold;
}

// The indices of the boxes that are kept, best score first.
Ints suppress(const std::vector<Box>& boxes, const float* scores, Ints candidates, int64_t most,
              float threshold) {
  std::sort(candidates.begin(), candidates.end(), [&](int64_t a, int64_t b) {
    return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
  });
  Ints kept;
  for (const int64_t candidate : candidates) {
    if (static_cast<int64_t>(kept.size()) >= most) break;
    const bool hidden = std::any_of(kept.begin(), kept.end(), [&](int64_t other) {
      return overlap(boxes[candidate], boxes[other], threshold);
    });
    if (!hidden) kept.push_back(candidate);
  }
  return kept;
}

Result<Values> non_max_suppression(const Call& call) {
  const Ints& boxes_shape = call.in(0).shape;
  const Ints& shape = call.in(1).shape;
  if (boxes_shape.size() != 3 || shape.size() != 3 || boxes_shape[2] != 4 ||
      boxes_shape[0] != shape[0] || boxes_shape[1] != shape[2]) {
    return call.refuse("gets boxes and scores of shapes that do not fit together");
  }
  const int64_t most = call.has(2) ? TRY(call.integer(2)) : 0;
  const auto threshold = static_cast<float>(call.has(3) ? TRY(call.number(3)) : 0);
  const bool by_score = call.has(4);
  const auto least = static_cast<float>(by_score ? TRY(call.number(4)) : 0);
  const bool centred = call.node.attr_int("center_point_box", 0) != 0;
  Ints found;
  for (int64_t n = 0; n < shape[0]; ++n) {
    std::vector<Box> boxes;
    for (int64_t i = 0; i < shape[2]; ++i) {
      boxes.push_back(read_box(call.in(0).floats.data() + (n * shape[2] + i) * 4, centred));
    }
    for (int64_t c = 0; c < shape[1]; ++c) {
      const float* scores = call.in(1).floats.data() + (n * shape[1] + c) * shape[2];
      Ints candidates;
      for (int64_t i = 0; i < shape[2]; ++i) {
        if (!std::isnan(scores[i]) && (!by_score || scores[i] > least)) candidates.push_back(i);
      }
      for (const int64_t i : suppress(boxes, scores, std::move(candidates), most, threshold)) {
        found.insert(found.end(), {n, c, i});
      }
    }
  }
  Tensor out = TRY(call.make(ElementType::i64, {static_cast<int64_t>(found.size()) / 3, 3}));
  out.ints = std::move(found);
  return one(std::move(out));
}

constexpr Operator kOperators[] = {
    {"ArgMax", 1, 1, "n", arg_extreme<true>},
    {"ArgMin", 1, 1, "n", arg_extreme<false>},
    {"CumSum", 2, 2, "ni", cum_sum},
    {"NonMaxSuppression", 2, 5, "ffiff", non_max_suppression},
    {"TopK", 2, 2, "ni", top_k},
};

}  // namespace

std::span<const Operator> select_operators() { return kOperators; }

}  // namespace atelier::model::ops
