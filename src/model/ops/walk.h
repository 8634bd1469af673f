// SPDX-License-Identifier: Apache-2.0
// Visits the elements of a box in row-major order for N operands, each with its own step for every
// axis (0 repeats, negative runs backwards). Axes that run on into one another are joined, so that
// tensors of one shape are one long row. No division and no recursion per element.
#pragma once

#include <array>
#include <vector>

#include "model/ops/call.h"

namespace atelier::model::ops {

template <size_t N>
class Walk {
 public:
  using Offsets = std::array<int64_t, N>;

  Walk(const Ints& shape, const std::array<Ints, N>& steps) {
    for (size_t i = 0; i < shape.size(); ++i) {
      if (shape[i] == 0) rows_ = 0;
      if (shape[i] == 1) continue;
      Axis axis{shape[i], {}};
      for (size_t n = 0; n < N; ++n) axis.step[n] = steps[n][i];
      if (!axes_.empty() && runs_on(axes_.back(), axis)) axis.size *= axes_.back().size;
      if (axis.size != shape[i]) axes_.pop_back();
      axes_.push_back(axis);
    }
    if (axes_.empty()) axes_.push_back({1, {}});
    inner_ = axes_.back();
    axes_.pop_back();
    for (const Axis& axis : axes_) rows_ *= axis.size;
  }

  int64_t rows() const { return rows_; }
  int64_t length() const { return inner_.size; }
  int64_t step(size_t n) const { return inner_.step[n]; }

  // row(index of its first element, offset of each operand there) for rows [begin, end).
  template <class F>
  void run(int64_t begin, int64_t end, F row, Offsets base = {}) const {
    if (begin >= end) return;
    std::vector<int64_t> index(axes_.size());
    int64_t rest = begin;
    for (size_t i = axes_.size(); i-- > 0;) {
      index[i] = rest % axes_[i].size;
      rest /= axes_[i].size;
      for (size_t n = 0; n < N; ++n) base[n] += index[i] * axes_[i].step[n];
    }
    for (int64_t r = begin; r < end; ++r) {
      row(r * inner_.size, base);
      for (size_t i = axes_.size(); i-- > 0;) {
        const Axis& axis = axes_[i];
        for (size_t n = 0; n < N; ++n) base[n] += axis.step[n];
        if (++index[i] < axis.size) break;
        for (size_t n = 0; n < N; ++n) base[n] -= axis.step[n] * axis.size;
        index[i] = 0;
      }
    }
  }
  template <class F>
  void run(F row, Offsets base = {}) const {
    run(0, rows_, row, base);
  }
  // element(index, offsets), for what is not worth a loop of its own.
  template <class F>
  void each(F element, Offsets base = {}) const {
    run(
        [&](int64_t first, Offsets at) {
          for (int64_t i = 0; i < inner_.size; ++i) {
            element(first + i, at);
            for (size_t n = 0; n < N; ++n) at[n] += inner_.step[n];
          }
        },
        base);
  }

 private:
  struct Axis {
    int64_t size = 1;
    Offsets step{};
  };
  static bool runs_on(const Axis& outer, const Axis& inner) {
    for (size_t n = 0; n < N; ++n) {
      if (outer.step[n] != inner.step[n] * inner.size) return false;
    }
    return true;
  }

  std::vector<Axis> axes_;
  Axis inner_;
  int64_t rows_ = 1;
};

// Numpy's rule: aligned at their ends, a dimension of one repeats.
Result<Ints> broadcast_shape(const Call& call, const Ints& a, const Ints& b);
// Steps of a tensor of `shape` over a box that it broadcasts to.
Ints broadcast_steps(const Ints& shape, const Ints& box);
// Refused unless `in` broadcasts to `shape` itself.
Result<Tensor> expand_to(const Call& call, const Tensor& in, const Ints& shape);

struct View {
  int64_t base = 0;
  Ints steps;
};
// to[walk] = from[walk] over a box; both tensors of one kind, every index inside.
void copy_box(const Ints& box, const Tensor& from, const View& read, Tensor& to, const View& write);

}  // namespace atelier::model::ops
