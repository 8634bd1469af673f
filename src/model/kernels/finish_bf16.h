// SPDX-License-Identifier: Apache-2.0
// What follows the sums of gemm_bf16.h, for eight channels. Internal to kernels/.
#pragma once

#include <immintrin.h>

#include "model/kernels/gemm_bf16.h"

namespace atelier::model::kernels {

#pragma GCC push_options
#pragma GCC target("avx2,fma")

// Eight sums of one pixel, of block `b`.
inline __attribute__((always_inline)) void finish_floats(const Bf16GemmArgs& g, int64_t pixel,
                                                         int b, __m256 v) {
  const Epilogue& e = g.epilogue;
  if (e.bias) v = _mm256_add_ps(v, _mm256_loadu_ps(e.bias + 8 * b));
  if (e.add) {
    v = _mm256_add_ps(v, _mm256_loadu_ps(e.add + pixel * g.c_stride + b * g.add_block));
  }
  v = _mm256_min_ps(_mm256_set1_ps(e.high), _mm256_max_ps(_mm256_set1_ps(e.low), v));
  _mm256_storeu_ps(g.c + pixel * g.c_stride + b * g.c_block, v);
}

#pragma GCC pop_options

}  // namespace atelier::model::kernels
