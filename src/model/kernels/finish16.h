// SPDX-License-Identifier: Apache-2.0
// The epilogue of sixteen channels at once, with AVX-512: the same operations in the same order as
// eight at a time, hence the same bits. Internal to kernels/.
#pragma once

#include <immintrin.h>

#include "model/kernels/gemm.h"

namespace atelier::model::kernels {

#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx2,fma")

// GCC 12 warns of the undefined registers behind the intrinsics without a mask.
inline constexpr __mmask16 kAll = 0xffff;

// Two blocks of a pixel, `block` apart.
inline __attribute__((always_inline)) __m512 two_blocks(const float* at, int64_t block) {
  const __m512 low = _mm512_castps256_ps512(_mm256_loadu_ps(at));
  return _mm512_maskz_insertf32x8(0xffff, low, _mm256_loadu_ps(at + block), 1);
}

inline __attribute__((always_inline)) void store_bounded(__m512 v, __m512 low, __m512 high,
                                                         float* c, int64_t block) {
  // The bound first: a NaN in the second operand passes through, as in the reference.
  v = _mm512_maskz_max_ps(kAll, low, v);
  v = _mm512_maskz_min_ps(kAll, high, v);
  _mm256_storeu_ps(c, _mm512_maskz_extractf32x8_ps(0xff, v, 0));
  _mm256_storeu_ps(c + block, _mm512_maskz_extractf32x8_ps(0xff, v, 1));
}

// Of one pixel: two blocks, `c_block` apart at `c` and `add_block` apart at `add` (null: none).
inline __attribute__((always_inline)) void finish16(const Epilogue& e, __m512 v, const float* add,
                                                    int64_t add_block, float* c, int64_t c_block) {
  if (e.bias) v = _mm512_add_ps(v, _mm512_loadu_ps(e.bias));
  if (add) v = _mm512_add_ps(v, two_blocks(add, add_block));
  store_bounded(v, _mm512_set1_ps(e.low), _mm512_set1_ps(e.high), c, c_block);
}

#pragma GCC pop_options

}  // namespace atelier::model::kernels
