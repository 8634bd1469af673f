// SPDX-License-Identifier: Apache-2.0
// What follows the exact sums of gemm_int8.h, the same operations in the same order for eight and
// for sixteen channels, hence the same bits. Internal to kernels/.
#pragma once

#include <immintrin.h>

#include "model/kernels/finish16.h"
#include "model/kernels/gemm_int8.h"

namespace atelier::model::kernels {

#pragma GCC push_options
#pragma GCC target("avx2,fma")

// Eight sums of one pixel, of block `b`.
inline __attribute__((always_inline)) void finish_sums(const Int8GemmArgs& g, int64_t pixel, int b,
                                                       __m256i sum) {
  const Epilogue& e = g.epilogue;
  __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(g.scale + 8 * b));
  if (e.bias) v = _mm256_add_ps(v, _mm256_loadu_ps(e.bias + 8 * b));
  if (e.add) {
    v = _mm256_add_ps(v, _mm256_loadu_ps(e.add + pixel * g.c_stride + b * g.add_block));
  }
  v = _mm256_min_ps(_mm256_set1_ps(e.high), _mm256_max_ps(_mm256_set1_ps(e.low), v));
  _mm256_storeu_ps(g.c + pixel * g.c_stride + b * g.c_block, v);
}

#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx2,fma")

// Sixteen sums of one pixel, of panel `p`, whose scales are `scale`.
inline __attribute__((always_inline)) void finish_sums(const Int8GemmArgs& g, int64_t pixel, int p,
                                                       __m512 scale, __m512i sum) {
  Epilogue e = g.epilogue;
  if (e.bias) e.bias += 16 * p;
  const __m512 v = _mm512_mul_ps(_mm512_maskz_cvtepi32_ps(kAll, sum), scale);
  finish16(e, v, e.add ? e.add + pixel * g.c_stride + 2 * p * g.add_block : nullptr, g.add_block,
           g.c + pixel * g.c_stride + 2 * p * g.c_block, g.c_block);
}

#pragma GCC pop_options

}  // namespace atelier::model::kernels
