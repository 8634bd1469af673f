// SPDX-License-Identifier: Apache-2.0
// Normalisations and the softmax family. Statistics in double, in two passes.
#include <algorithm>
#include <cmath>
#include <limits>

#include "model/ops/walk.h"

namespace atelier::model::ops {
namespace {

struct Moments {
  double mean = 0;
  double variance = 0;  // of the population
};

Moments moments(const float* from, int64_t count) {
  Moments m;
  const auto n = static_cast<double>(std::max<int64_t>(count, 1));
  for (int64_t i = 0; i < count; ++i) m.mean += from[i];
  m.mean /= n;
  for (int64_t i = 0; i < count; ++i) m.variance += (from[i] - m.mean) * (from[i] - m.mean);
  m.variance /= n;
  return m;
}

Result<void> check_channels(const Call& call, size_t first, size_t last, int64_t channels) {
  for (size_t i = first; i <= last; ++i) {
    if (call.in(i).shape != Ints{channels})
      return call.refuse("gets other channels as input {}", i);
  }
  return {};
}

Result<Values> instance_norm(const Call& call) {
  const Tensor& in = call.in(0);
  if (in.shape.size() < 3) return call.refuse("gets {} axes", in.shape.size());
  const int64_t channels = in.shape[1];
  TRY(check_channels(call, 1, 2, channels));
  const double epsilon = call.node.attr_float("epsilon", 1e-5F);
  Tensor out = TRY(call.make(in.type, in.shape));
  const int64_t plane = product(in.shape, 2, in.shape.size());
  parallel(call.options.threads, in.shape[0] * channels, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const float* from = in.floats.data() + p * plane;
      const Moments m = moments(from, plane);
      const double scale = call.in(1).floats[p % channels] / std::sqrt(m.variance + epsilon);
      const double shift = call.in(2).floats[p % channels];
      for (int64_t i = 0; i < plane; ++i) {
        out.floats[p * plane + i] = static_cast<float>((from[i] - m.mean) * scale + shift);
      }
    }
  });
  return one(std::move(out));
}

Result<Values> batch_norm(const Call& call) {
  if (call.node.attr_int("training_mode", 0) != 0) return call.refuse("is in training mode");
  const Tensor& in = call.in(0);
  if (in.shape.size() < 2) return call.refuse("gets {} axes", in.shape.size());
  const int64_t channels = in.shape[1];
  TRY(check_channels(call, 1, 4, channels));
  const double epsilon = call.node.attr_float("epsilon", 1e-5F);
  Tensor out = TRY(call.make(in.type, in.shape));
  const int64_t plane = product(in.shape, 2, in.shape.size());
  parallel(call.options.threads, in.shape[0] * channels, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t c = p % channels;
      const double scale = call.in(1).floats[c] / std::sqrt(call.in(4).floats[c] + epsilon);
      const double mean = call.in(3).floats[c];
      const double shift = call.in(2).floats[c];
      for (int64_t i = p * plane; i < (p + 1) * plane; ++i) {
        out.floats[i] = static_cast<float>((in.floats[i] - mean) * scale + shift);
      }
    }
  });
  return one(std::move(out));
}

// Scale and bias for each channel (opset 21) or for each group (opset 18).
Result<Values> group_norm(const Call& call) {
  const Tensor& in = call.in(0);
  if (in.shape.size() < 2) return call.refuse("gets {} axes", in.shape.size());
  const int64_t channels = in.shape[1];
  const int64_t groups = call.node.attr_int("num_groups", 0);
  if (groups < 1 || channels % groups != 0) {
    return call.refuse("divides {} channels into {} groups", channels, groups);
  }
  const bool each = call.in(1).shape == Ints{channels};
  TRY(check_channels(call, 1, 2, each ? channels : groups));
  const double epsilon = call.node.attr_float("epsilon", 1e-5F);
  Tensor out = TRY(call.make(in.type, in.shape));
  const int64_t plane = product(in.shape, 2, in.shape.size());
  const int64_t members = channels / groups;
  parallel(call.options.threads, in.shape[0] * groups, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      const float* from = in.floats.data() + g * members * plane;
      const Moments m = moments(from, members * plane);
      const double deviation = std::sqrt(m.variance + epsilon);
      for (int64_t c = 0; c < members; ++c) {
        const int64_t at = each ? g % groups * members + c : g % groups;
        const double scale = call.in(1).floats[at] / deviation;
        const double shift = call.in(2).floats[at];
        for (int64_t i = c * plane; i < (c + 1) * plane; ++i) {
          out.floats[g * members * plane + i] =
              static_cast<float>((from[i] - m.mean) * scale + shift);
        }
      }
    }
  });
  return one(std::move(out));
}

Result<Values> layer_norm(const Call& call) {
  const Tensor& in = call.in(0);
  const size_t axis = TRY(call.axis(call.node.attr_int("axis", -1), in.shape.size()));
  const Ints inner(in.shape.begin() + static_cast<std::ptrdiff_t>(axis), in.shape.end());
  const Tensor scale = TRY(expand_to(call, call.in(1), inner));
  Tensor bias;
  if (call.has(2)) bias = TRY(expand_to(call, call.in(2), inner));
  const double epsilon = call.node.attr_float("epsilon", 1e-5F);
  Ints kept = in.shape;
  std::fill(kept.begin() + static_cast<std::ptrdiff_t>(axis), kept.end(), 1);
  Values values = one(TRY(call.make(in.type, in.shape)));
  values.push_back(TRY(call.make(ElementType::f32, kept)));
  values.push_back(TRY(call.make(ElementType::f32, kept)));
  const int64_t count = product(inner, 0, inner.size());
  parallel(call.options.threads, values[1].count(), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* from = in.floats.data() + row * count;
      const Moments m = moments(from, count);
      const double inverse = 1 / std::sqrt(m.variance + epsilon);
      values[1].floats[row] = static_cast<float>(m.mean);
      values[2].floats[row] = static_cast<float>(inverse);
      for (int64_t i = 0; i < count; ++i) {
        const double shift = call.has(2) ? bias.floats[i] : 0;
        values[0].floats[row * count + i] =
            static_cast<float>((from[i] - m.mean) * inverse * scale.floats[i] + shift);
      }
    }
  });
  return values;
}

Result<Values> mean_variance_norm(const Call& call) {
  const Tensor& in = call.in(0);
  const size_t rank = in.shape.size();
  const auto axes = TRY(call.axes(call.node.attr_ints("axes", {0, 2, 3}), rank));
  const Ints steps = strides(in.shape);
  Ints kept = in.shape;
  Ints summed;
  Ints summed_steps;
  for (const size_t axis : axes) {
    kept[axis] = 1;
    summed.push_back(in.shape[axis]);
    summed_steps.push_back(steps[axis]);
  }
  Tensor out = TRY(call.make(in.type, in.shape));
  if (out.count() == 0) return one(std::move(out));
  const auto count = static_cast<double>(product(summed, 0, summed.size()));
  const Walk<1> inner(summed, {summed_steps});
  Walk<1>(kept, {steps}).each([&](int64_t, const std::array<int64_t, 1>& base) {
    double mean = 0;
    double squares = 0;
    inner.each([&](int64_t, const auto& at) { mean += in.floats[at[0]]; }, base);
    mean /= count;
    inner.each(
        [&](int64_t, const auto& at) {
          squares += (in.floats[at[0]] - mean) * (in.floats[at[0]] - mean);
        },
        base);
    const double deviation = std::sqrt(squares / count) + 1e-9;
    inner.each(
        [&](int64_t, const auto& at) {
          out.floats[at[0]] = static_cast<float>((in.floats[at[0]] - mean) / deviation);
        },
        base);
  });
  return one(std::move(out));
}

// A line whose norm is 0 stays 0.
Result<Values> lp_norm(const Call& call) {
  const Tensor& in = call.in(0);
  const size_t rank = in.shape.size();
  const size_t axis = TRY(call.axis(call.node.attr_int("axis", -1), rank));
  const int64_t p = call.node.attr_int("p", 2);
  if (p != 1 && p != 2) return call.refuse("has a norm of order {}", p);
  Tensor out = TRY(call.make(in.type, in.shape));
  if (out.count() == 0) return one(std::move(out));
  const int64_t inner = product(in.shape, axis + 1, rank);
  const int64_t size = in.shape[axis];
  parallel(call.options.threads, out.count() / size, [&](int64_t begin, int64_t end) {
    for (int64_t l = begin; l < end; ++l) {
      const int64_t base = l / inner * inner * size + l % inner;
      double sum = 0;
      for (int64_t i = 0; i < size; ++i) {
        const double v = in.floats[base + i * inner];
        sum += p == 1 ? std::abs(v) : v * v;
      }
      const double norm = p == 1 ? sum : std::sqrt(sum);
      for (int64_t i = base; i < base + size * inner; i += inner) {
        out.floats[i] = norm == 0 ? 0 : static_cast<float>(in.floats[i] / norm);
      }
    }
  });
  return one(std::move(out));
}

Result<Values> lrn(const Call& call) {
  const Tensor& in = call.in(0);
  if (in.shape.size() < 2) return call.refuse("gets {} axes", in.shape.size());
  const int64_t size = call.node.attr_int("size", 0);
  if (size < 1) return call.refuse("has a size of {}", size);
  const double alpha = call.node.attr_float("alpha", 1e-4F) / static_cast<double>(size);
  const double beta = call.node.attr_float("beta", 0.75F);
  const double bias = call.node.attr_float("bias", 1);
  Tensor out = TRY(call.make(in.type, in.shape));
  const int64_t plane = product(in.shape, 2, in.shape.size());
  const int64_t channels = in.shape[1];
  parallel(call.options.threads, in.shape[0] * channels, [&](int64_t begin, int64_t end) {
    std::vector<double> squares(static_cast<size_t>(plane));
    for (int64_t p = begin; p < end; ++p) {
      const int64_t c = p % channels;
      const int64_t first = std::max<int64_t>(0, c - (size - 1) / 2);
      const int64_t last = size / 2 >= channels - c ? channels - 1 : c + size / 2;
      std::fill(squares.begin(), squares.end(), 0.0);
      for (int64_t other = first; other <= last; ++other) {
        const float* from = in.floats.data() + (p - c + other) * plane;
        for (int64_t i = 0; i < plane; ++i) squares[i] += double{from[i]} * from[i];
      }
      for (int64_t i = 0; i < plane; ++i) {
        out.floats[p * plane + i] = static_cast<float>(in.floats[p * plane + i] /
                                                       std::pow(bias + alpha * squares[i], beta));
      }
    }
  });
  return one(std::move(out));
}

enum class Kind { soft, log, hard };

template <class Line>
void soft_line(Kind kind, int64_t size, Line line, const float* from, float* to) {
  double top = -std::numeric_limits<double>::infinity();
  int64_t best = 0;
  for (int64_t i = 0; i < size; ++i) {
    if (from[line(i)] > top) top = from[line(i)], best = i;
  }
  if (kind == Kind::hard) {
    to[line(best)] = 1;
    return;
  }
  double sum = 0;
  for (int64_t i = 0; i < size; ++i) sum += std::exp(from[line(i)] - top);
  const double log_sum = std::log(sum);
  for (int64_t i = 0; i < size; ++i) {
    const double shifted = from[line(i)] - top;
    to[line(i)] =
        static_cast<float>(kind == Kind::soft ? std::exp(shifted) / sum : shifted - log_sum);
  }
}

template <Kind kKind>
Result<Values> softmax(const Call& call) {
  const Tensor& in = call.in(0);
  const size_t rank = in.shape.size();
  const size_t axis = TRY(call.axis(call.node.attr_int("axis", -1), rank));
  Tensor out = TRY(call.make(in.type, in.shape));
  if (out.count() == 0) return one(std::move(out));
  const int64_t inner = product(in.shape, axis + 1, rank);
  const int64_t size = in.shape[axis];
  parallel(call.options.threads, out.count() / size, [&](int64_t begin, int64_t end) {
    for (int64_t l = begin; l < end; ++l) {
      const int64_t base = l / inner * inner * size + l % inner;
      soft_line(
          kKind, size, [inner](int64_t i) { return i * inner; }, in.floats.data() + base,
          out.floats.data() + base);
    }
  });
  return one(std::move(out));
}

constexpr Operator kOperators[] = {
    {"BatchNormalization", 5, 5, "f", batch_norm},
    {"GroupNormalization", 3, 3, "f", group_norm},
    {"Hardmax", 1, 1, "f", softmax<Kind::hard>},
    {"InstanceNormalization", 3, 3, "f", instance_norm},
    {"LRN", 1, 1, "f", lrn},
    {"LayerNormalization", 2, 3, "f", layer_norm},
    {"LogSoftmax", 1, 1, "f", softmax<Kind::log>},
    {"LpNormalization", 1, 1, "f", lp_norm},
    {"MeanVarianceNormalization", 1, 1, "f", mean_variance_norm},
    {"Softmax", 1, 1, "f", softmax<Kind::soft>},
};

}  // namespace

std::span<const Operator> norm_operators() { return kOperators; }

}  // namespace atelier::model::ops
