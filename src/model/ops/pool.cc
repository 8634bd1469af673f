// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>

#include "model/ops/walk.h"
#include "model/ops/window.h"

namespace atelier::model::ops {
namespace {

// place(plane, index in the plane of the output, taps of each axis) for every output.
template <class F>
void slide(const Call& call, const Window& w, int64_t planes, F place) {
  parallel(call.options.threads, planes * w.out[0] * w.out[1], [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t line = row % (w.out[0] * w.out[1]);
      std::array<Taps, 3> at{taps(w, 0, line / w.out[1]), taps(w, 1, line % w.out[1]), Taps{}};
      for (int64_t x = 0; x < w.out[2]; ++x) {
        at[2] = taps(w, 2, x);
        place(row / (w.out[0] * w.out[1]), line * w.out[2] + x, at);
      }
    }
  });
}

// f(index in the plane of the input) for every tap inside it.
template <class F>
void for_each_tap(const Window& w, const std::array<Taps, 3>& at, F f) {
  for (int64_t k = at[0].first; k < at[0].last; ++k) {
    const int64_t z = at[0].start + k * w.dilation[0];
    for (int64_t i = at[1].first; i < at[1].last; ++i) {
      const int64_t line = (z * w.in[1] + at[1].start + i * w.dilation[1]) * w.in[2];
      for (int64_t j = at[2].first; j < at[2].last; ++j) {
        f(line + at[2].start + j * w.dilation[2]);
      }
    }
  }
}

Result<Window> pool_window(const Call& call) {
  return make_window(call, call.in(0).shape, call.node.attr_ints("kernel_shape", {}));
}

// What a window that sees only padding yields.
float nothing(const float*) { return -std::numeric_limits<float>::infinity(); }
int64_t nothing(const int64_t*) { return 0; }

Result<Values> max_pool(const Call& call) {
  const Tensor& in = call.in(0);
  const Window w = TRY(pool_window(call));
  const Ints shape = output_shape(in.shape, in.shape[1], w.out);
  Tensor out = TRY(call.make(in.type, shape));
  const bool wants_indices = call.node.outputs.size() > 1;
  Tensor indices = TRY(call.make(ElementType::i64, wants_indices ? shape : Ints{0}));
  const bool column_major = call.node.attr_int("storage_order", 0) != 0;
  with_elements(in, out, [&](const auto* from, auto* to) {
    slide(call, w, in.shape[0] * in.shape[1],
          [&](int64_t plane, int64_t index, const std::array<Taps, 3>& at) {
            const auto* source = from + plane * w.in_size();
            int64_t best = -1;
            for_each_tap(w, at, [&](int64_t i) {
              if (best < 0 || source[i] > source[best] || source[i] != source[i]) best = i;
            });
            to[plane * w.out_size() + index] = best < 0 ? nothing(from) : source[best];
            if (!wants_indices || best < 0) return;
            const int64_t x = best % w.in[2];
            const int64_t y = best / w.in[2] % w.in[1];
            const int64_t z = best / w.in[2] / w.in[1];
            const int64_t place = column_major ? (x * w.in[1] + y) * w.in[0] + z : best;
            indices.ints[plane * w.out_size() + index] = plane * w.in_size() + place;
          });
  });
  Values values = one(std::move(out));
  values.push_back(std::move(indices));
  return values;
}

// How many taps lie inside the data and its padding.
int64_t padded_taps(const Window& w, size_t axis, int64_t start) {
  const auto [first, last] = inside(start + w.begin[axis], w.dilation[axis], w.kernel[axis],
                                    w.in[axis] + w.begin[axis] + w.end[axis]);
  return last - first;
}

Result<Values> average_pool(const Call& call) {
  const Tensor& in = call.in(0);
  const Window w = TRY(pool_window(call));
  Tensor out = TRY(call.make(in.type, output_shape(in.shape, in.shape[1], w.out)));
  const bool padding_too = call.node.attr_int("count_include_pad", 0) != 0;
  slide(call, w, in.shape[0] * in.shape[1],
        [&](int64_t plane, int64_t index, const std::array<Taps, 3>& at) {
          double sum = 0;
          const float* source = in.floats.data() + plane * w.in_size();
          for_each_tap(w, at, [&](int64_t i) { sum += source[i]; });
          double count = 1;
          for (size_t i = 0; i < 3; ++i) {
            count *= static_cast<double>(padding_too ? padded_taps(w, i, at[i].start)
                                                     : at[i].last - at[i].first);
          }
          out.floats[plane * w.out_size() + index] =
              count > 0 ? static_cast<float>(sum / count) : 0;
        });
  return one(std::move(out));
}

double root_of_powers(double sum, double p) {
  return p == 2 ? std::sqrt(sum) : p == 1 ? sum : std::pow(sum, 1 / p);
}
double power_of(double v, double p) {
  return p == 2 ? v * v : p == 1 ? std::abs(v) : std::pow(std::abs(v), p);
}

Result<double> norm_order(const Call& call) {
  const auto p = static_cast<double>(call.node.attr_int("p", 2));
  if (p < 1) return call.refuse("has a norm of order {}", p);
  return p;
}

Result<Values> lp_pool(const Call& call) {
  const Tensor& in = call.in(0);
  const double p = TRY(norm_order(call));
  const Window w = TRY(pool_window(call));
  Tensor out = TRY(call.make(in.type, output_shape(in.shape, in.shape[1], w.out)));
  slide(call, w, in.shape[0] * in.shape[1],
        [&](int64_t plane, int64_t index, const std::array<Taps, 3>& at) {
          double sum = 0;
          const float* source = in.floats.data() + plane * w.in_size();
          for_each_tap(w, at, [&](int64_t i) { sum += power_of(source[i], p); });
          out.floats[plane * w.out_size() + index] = static_cast<float>(root_of_powers(sum, p));
        });
  return one(std::move(out));
}

// reduce(first, count) for each plane.
template <class F>
Result<Values> global(const Call& call, F reduce) {
  const Tensor& in = call.in(0);
  if (in.shape.size() < 2) return call.refuse("gets {} axes", in.shape.size());
  Ints shape(in.shape.size(), 1);
  shape[0] = in.shape[0];
  shape[1] = in.shape[1];
  const int64_t plane = product(in.shape, 2, in.shape.size());
  if (plane == 0) return call.refuse("gets an empty picture");
  Tensor out = TRY(call.make(in.type, shape));
  parallel(call.options.threads, out.count(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      out.floats[i] = static_cast<float>(reduce(in.floats.data() + i * plane, plane));
    }
  });
  return one(std::move(out));
}

Result<Values> global_average(const Call& call) {
  return global(call, [](const float* from, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += from[i];
    return sum / static_cast<double>(count);
  });
}

Result<Values> global_max(const Call& call) {
  return global(call, [](const float* from, int64_t count) {
    float best = from[0];
    for (int64_t i = 1; i < count; ++i) {
      if (from[i] > best || std::isnan(from[i])) best = from[i];
    }
    return best;
  });
}

Result<Values> global_lp(const Call& call) {
  const double p = TRY(norm_order(call));
  return global(call, [p](const float* from, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += power_of(from[i], p);
    return root_of_powers(sum, p);
  });
}

constexpr Operator kOperators[] = {
    {"AveragePool", 1, 1, "f", average_pool}, {"GlobalAveragePool", 1, 1, "f", global_average},
    {"GlobalLpPool", 1, 1, "f", global_lp},   {"GlobalMaxPool", 1, 1, "f", global_max},
    {"LpPool", 1, 1, "f", lp_pool},           {"MaxPool", 1, 1, "n", max_pool},
};

}  // namespace

std::span<const Operator> pool_operators() { return kOperators; }

}  // namespace atelier::model::ops
