// SPDX-License-Identifier: Apache-2.0
#include "model/kernels/gemm.h"

#include <immintrin.h>

#include "model/kernels/finish16.h"

namespace atelier::model::kernels {
namespace {

#pragma GCC push_options
#pragma GCC target("avx2,fma")

// R pixels, B blocks of eight channels; R * B accumulators.
template <int R, int B>
void tile_avx2(const GemmArgs& g, int64_t pixel) {
  __m256 sum[R][B];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 2
    for (int b = 0; b < B; b++) sum[r][b] = _mm256_setzero_ps();
  const float* w = g.w;
  const float* base = g.a + pixel * g.a_stride;
  const int64_t stride = g.a_stride;
  for (int s = 0; s < g.segments; s++) {
    const float* a = base + g.offsets[s];
    const float* end = a + g.length;
    for (; a != end; a++, w += 8 * B) {
      __m256 weight[B];
#pragma GCC unroll 2
      for (int b = 0; b < B; b++) weight[b] = _mm256_loadu_ps(w + 8 * b);
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        const __m256 value = _mm256_broadcast_ss(a + r * stride);
#pragma GCC unroll 2
        for (int b = 0; b < B; b++) sum[r][b] = _mm256_fmadd_ps(value, weight[b], sum[r][b]);
      }
    }
  }
  const Epilogue& e = g.epilogue;
  const __m256 low = _mm256_set1_ps(e.low), high = _mm256_set1_ps(e.high);
#pragma GCC unroll 2
  for (int b = 0; b < B; b++) {
    const __m256 bias = e.bias ? _mm256_loadu_ps(e.bias + 8 * b) : _mm256_setzero_ps();
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const int64_t at = (pixel + r) * g.c_stride + b * g.c_block;
      __m256 v = sum[r][b];
      if (e.bias) v = _mm256_add_ps(v, bias);
      if (e.add) {
        const int64_t other = (pixel + r) * g.c_stride + b * g.add_block;
        v = _mm256_add_ps(v, _mm256_loadu_ps(e.add + other));
      }
      // The bound first: a NaN in the second operand passes through, as in the reference.
      v = _mm256_min_ps(high, _mm256_max_ps(low, v));
      _mm256_storeu_ps(g.c + at, v);
    }
  }
}

template <int B>
void row_avx2(const GemmArgs& g, int pixels) {
  int64_t p = 0;
  for (; p + 6 <= pixels; p += 6) tile_avx2<6, B>(g, p);
  switch (pixels - p) {
    case 5: return tile_avx2<5, B>(g, p);
    case 4: return tile_avx2<4, B>(g, p);
    case 3: return tile_avx2<3, B>(g, p);
    case 2: return tile_avx2<2, B>(g, p);
    case 1: return tile_avx2<1, B>(g, p);
    default: return;
  }
}

#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx2,fma")

// R pixels, P panels of sixteen channels; R * P accumulators.
template <int R, int P>
void tile_avx512(const GemmArgs& g, int64_t pixel) {
  __m512 sum[R][P];
#pragma GCC unroll 12
  for (int r = 0; r < R; r++)
#pragma GCC unroll 2
    for (int p = 0; p < P; p++) sum[r][p] = _mm512_setzero_ps();
  const float* w = g.w;
  const int64_t panel = int64_t{16} * g.segments * g.length;
  const float* base = g.a + pixel * g.a_stride;
  const int64_t stride = g.a_stride;
  for (int s = 0; s < g.segments; s++) {
    const float* a = base + g.offsets[s];
    const float* end = a + g.length;
    for (; a != end; a++, w += 16) {
      __m512 weight[P];
#pragma GCC unroll 2
      for (int p = 0; p < P; p++) weight[p] = _mm512_loadu_ps(w + p * panel);
#pragma GCC unroll 12
      for (int r = 0; r < R; r++) {
        const __m512 value = _mm512_set1_ps(a[r * stride]);
#pragma GCC unroll 2
        for (int p = 0; p < P; p++) sum[r][p] = _mm512_fmadd_ps(value, weight[p], sum[r][p]);
      }
    }
  }
#pragma GCC unroll 2
  for (int p = 0; p < P; p++) {
    Epilogue e = g.epilogue;
    if (e.bias) e.bias += 16 * p;
    float* c = g.c + pixel * g.c_stride + 2 * p * g.c_block;
    const float* add = e.add ? e.add + pixel * g.c_stride + 2 * p * g.add_block : nullptr;
#pragma GCC unroll 12
    for (int r = 0; r < R; r++) {
      finish16(e, sum[r][p], add ? add + r * g.c_stride : nullptr, g.add_block, c + r * g.c_stride,
               g.c_block);
    }
  }
}

template <int P>
void row_avx512(const GemmArgs& g, int pixels) {
  int64_t p = 0;
  for (; p + 12 <= pixels; p += 12) tile_avx512<12, P>(g, p);
  if (p + 8 <= pixels) {
    tile_avx512<8, P>(g, p);
    p += 8;
  }
  if (p + 4 <= pixels) {
    tile_avx512<4, P>(g, p);
    p += 4;
  }
  for (; p < pixels; p++) tile_avx512<1, P>(g, p);
}

#pragma GCC pop_options

}  // namespace

int blocks_at_once(Isa isa, int lanes) {
  if (isa != Isa::avx2 && lanes >= 4 * 8) return 4;
  return lanes >= 2 * 8 ? 2 : 1;
}

void gemm_row(Isa isa, const GemmArgs& args, int pixels, int blocks) {
  if (blocks == 1) return row_avx2<1>(args, pixels);
  if (isa != Isa::avx2) {
    return blocks == 4 ? row_avx512<2>(args, pixels) : row_avx512<1>(args, pixels);
  }
  row_avx2<2>(args, pixels);
}

}  // namespace atelier::model::kernels
