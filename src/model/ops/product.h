// SPDX-License-Identifier: Apache-2.0
// The sum of products behind MatMul, Gemm, MatMulInteger and QLinearMatMul.
#pragma once

#include "model/ops/walk.h"

namespace atelier::model::ops {

struct MatrixProduct {
  Ints batch, a_steps, b_steps;  // one matrix product for each
  int64_t rows = 0;
  int64_t inner = 0;
  int64_t columns = 0;
  Ints shape;  // of the output
};

// As numpy.matmul: outer axes broadcast, a vector counts as a row or a column. The output is not
// yet bounded.
Result<MatrixProduct> make_product(const Call& call, Ints a, Ints b);

// store(index of the row's first output, row of its matrix, sums) for each row of the output. In
// double, in the order of the inner axis.
template <class Store>
void multiply(const MatrixProduct& p, const float* a, const float* b, int threads, Store store) {
  const Walk<2> batch(p.batch, {p.a_steps, p.b_steps});
  batch.each([&](int64_t matrix, const std::array<int64_t, 2>& at) {
    parallel(threads, p.rows, [&](int64_t begin, int64_t end) {
      std::vector<double> sums(static_cast<size_t>(p.columns));
      for (int64_t row = begin; row < end; ++row) {
        std::fill(sums.begin(), sums.end(), 0.0);
        for (int64_t k = 0; k < p.inner; ++k) {
          const double left = a[at[0] + row * p.inner + k];
          const float* right = b + at[1] + k * p.columns;
          for (int64_t c = 0; c < p.columns; ++c) sums[c] += left * right[c];
        }
        store((matrix * p.rows + row) * p.columns, row, sums);
      }
    });
  });
}

}  // namespace atelier::model::ops
