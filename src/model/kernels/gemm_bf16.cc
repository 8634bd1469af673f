// SPDX-License-Identifier: Apache-2.0
#include "model/kernels/gemm_bf16.h"

#include <immintrin.h>

#include <cstring>

#include "model/kernels/finish_bf16.h"

namespace atelier::model::kernels {
namespace {

#pragma GCC push_options
#pragma GCC target("avx2,fma")

inline __attribute__((always_inline)) __m256 even_of(__m256i pairs) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
}
inline __attribute__((always_inline)) __m256 odd_of(__m256i pairs) {
  return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(-65536)));
}

// R pixels, B blocks of eight channels.
template <int R, int B>
void tile(const Bf16GemmArgs& g, int64_t pixel) {
  __m256 sum[R][B] = {};
  const int8_t* w = g.w;
  const int64_t stride = g.a_stride;
  for (int s = 0; s < g.segments; s++) {
    const uint8_t* a = g.a + pixel * stride + g.offsets[s];
    for (const uint8_t* end = a + g.length; a != end;) {
      __m256 even[R][B] = {}, odd[R][B] = {};
      for (int k = 0; k < kTileBytes / 4; k++, a += 4, w += 32 * B) {
#pragma GCC unroll 2
        for (int b = 0; b < B; b++) {
          const __m256i weights = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 32 * b));
#pragma GCC unroll 2
          for (int r = 0; r < R; r++) {
            int32_t bits;
            std::memcpy(&bits, a + r * stride, sizeof bits);
            const __m256i pair = _mm256_set1_epi32(bits);
            even[r][b] = _mm256_fmadd_ps(even_of(pair), even_of(weights), even[r][b]);
            odd[r][b] = _mm256_fmadd_ps(odd_of(pair), odd_of(weights), odd[r][b]);
          }
        }
      }
      for (int r = 0; r < R; r++)
        for (int b = 0; b < B; b++)
          sum[r][b] = _mm256_add_ps(sum[r][b], _mm256_add_ps(even[r][b], odd[r][b]));
    }
  }
  for (int r = 0; r < R; r++)
    for (int b = 0; b < B; b++) finish_floats(g, pixel + r, b, sum[r][b]);
}

template <int B>
void row(const Bf16GemmArgs& g, int pixels) {
  int64_t p = 0;
  for (; p + 2 <= pixels; p += 2) tile<2, B>(g, p);
  if (p < pixels) tile<1, B>(g, p);
}

#pragma GCC pop_options

}  // namespace

void gemm_row(Isa isa, const Bf16GemmArgs& args, int pixels, int blocks) {
  if (isa == Isa::avx512_amx && pixels >= 16) return gemm_row_amx(args, pixels, blocks);
  if (blocks == 1) return row<1>(args, pixels);
  row<2>(args, pixels);
}

}  // namespace atelier::model::kernels
