// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "model/ops/product.h"
#include "model/ops/walk.h"

namespace atelier::model::ops {

Result<MatrixProduct> make_product(const Call& call, Ints a, Ints b) {
  if (a.empty() || b.empty()) return call.refuse("multiplies a scalar");
  const bool row = a.size() == 1;
  const bool column = b.size() == 1;
  if (row) a.insert(a.begin(), 1);
  if (column) b.push_back(1);
  MatrixProduct p;
  p.rows = a[a.size() - 2];
  p.inner = a[a.size() - 1];
  p.columns = b[b.size() - 1];
  if (b[b.size() - 2] != p.inner) {
    return call.refuse("multiplies matrices of {} columns and {} rows", p.inner, b[b.size() - 2]);
  }
  const Ints a_outer(a.begin(), a.end() - 2);
  const Ints b_outer(b.begin(), b.end() - 2);
  p.batch = TRY(broadcast_shape(call, a_outer, b_outer));
  p.a_steps = broadcast_steps(a_outer, p.batch);
  p.b_steps = broadcast_steps(b_outer, p.batch);
  for (int64_t& step : p.a_steps) step *= std::max<int64_t>(p.rows * p.inner, 1);
  for (int64_t& step : p.b_steps) step *= std::max<int64_t>(p.inner * p.columns, 1);
  p.shape = p.batch;
  if (!row) p.shape.push_back(p.rows);
  if (!column) p.shape.push_back(p.columns);
  return p;
}

namespace {

Result<Values> matmul(const Call& call) {
  const Tensor& a = call.in(0);
  const Tensor& b = call.in(1);
  const MatrixProduct p = TRY(make_product(call, a.shape, b.shape));
  Tensor out = TRY(call.make(a.type, p.shape));
  if (a.is_int()) {
    Walk<2>(p.batch, {p.a_steps, p.b_steps}).each([&](int64_t i, const auto& at) {
      for (int64_t r = 0; r < p.rows; ++r) {
        for (int64_t c = 0; c < p.columns; ++c) {
          uint64_t sum = 0;
          for (int64_t k = 0; k < p.inner; ++k) {
            sum += static_cast<uint64_t>(a.ints[at[0] + r * p.inner + k]) *
                   static_cast<uint64_t>(b.ints[at[1] + k * p.columns + c]);
          }
          out.ints[(i * p.rows + r) * p.columns + c] = wrap(a.type, static_cast<int64_t>(sum));
        }
      }
    });
    return one(std::move(out));
  }
  multiply(p, a.floats.data(), b.floats.data(), call.options.threads,
           [&](int64_t at, int64_t, const std::vector<double>& sums) {
             std::transform(sums.begin(), sums.end(), out.floats.begin() + at,
                            [](double sum) { return static_cast<float>(sum); });
           });
  return one(std::move(out));
}

Tensor transposed(const Tensor& in) {
  Tensor out = in;
  std::swap(out.shape[0], out.shape[1]);
  copy_box(out.shape, in, {0, {1, in.shape[1]}}, out, {0, {in.shape[0], 1}});
  return out;
}

Result<Values> gemm(const Call& call) {
  if (call.in(0).shape.size() != 2 || call.in(1).shape.size() != 2) {
    return call.refuse("multiplies what are not matrices");
  }
  const bool turn_a = call.node.attr_int("transA", 0) != 0;
  const bool turn_b = call.node.attr_int("transB", 0) != 0;
  const Tensor a = turn_a ? transposed(call.in(0)) : call.in(0);
  const Tensor b = turn_b ? transposed(call.in(1)) : call.in(1);
  const MatrixProduct p = TRY(make_product(call, a.shape, b.shape));
  const double alpha = call.node.attr_float("alpha", 1);
  const double beta = call.node.attr_float("beta", 1);
  Tensor out = TRY(call.make(a.type, p.shape));
  Tensor bias;
  if (call.has(2)) bias = TRY(expand_to(call, call.in(2), p.shape));
  multiply(p, a.floats.data(), b.floats.data(), call.options.threads,
           [&](int64_t at, int64_t, const std::vector<double>& sums) {
             for (int64_t c = 0; c < p.columns; ++c) {
               const double added = call.has(2) ? beta * bias.floats[at + c] : 0;
               out.floats[at + c] = static_cast<float>(alpha * sums[c] + added);
             }
           });
  return one(std::move(out));
}

constexpr Operator kOperators[] = {
    {"Gemm", 2, 3, "f", gemm},
    {"MatMul", 2, 2, "ns", matmul},
};

}  // namespace

std::span<const Operator> matmul_operators() { return kOperators; }

}  // namespace atelier::model::ops
