// SPDX-License-Identifier: Apache-2.0
#include "model/kernels/gemm_int8.h"

#include <immintrin.h>

#include <cstring>

#include "model/kernels/finish_int8.h"

namespace atelier::model::kernels {
namespace {

#pragma GCC push_options
#pragma GCC target("avx2,fma")

inline __attribute__((always_inline)) __m256i four_bytes(const uint8_t* a) {
  int32_t bytes;
  std::memcpy(&bytes, a, sizeof bytes);
  return _mm256_set1_epi32(bytes);
}

// R pixels, B blocks of eight channels; R * B accumulators.
template <int R, int B>
void tile_avx2(const Int8GemmArgs& g, int64_t pixel) {
  __m256i sum[R][B];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 2
    for (int b = 0; b < B; b++) sum[r][b] = _mm256_setzero_si256();
  const __m256i one = _mm256_set1_epi16(1);
  const int8_t* w = g.w;
  const uint8_t* base = g.a + pixel * g.a_stride;
  const int64_t stride = g.a_stride;
  for (int s = 0; s < g.segments; s++) {
    const uint8_t* a = base + g.offsets[s];
    const uint8_t* end = a + g.length;
    for (; a != end; a += 4, w += 32 * B) {
      __m256i weight[B];
#pragma GCC unroll 2
      for (int b = 0; b < B; b++)
        weight[b] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 32 * b));
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        const __m256i value = four_bytes(a + r * stride);
#pragma GCC unroll 2
        for (int b = 0; b < B; b++) {
          const __m256i pairs = _mm256_maddubs_epi16(value, weight[b]);
          sum[r][b] = _mm256_add_epi32(sum[r][b], _mm256_madd_epi16(pairs, one));
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 2
    for (int b = 0; b < B; b++) finish_sums(g, pixel + r, b, sum[r][b]);
}

// Four pixels: with six, sums and products no longer fit sixteen registers (a seventh slower).
template <int B>
void row_avx2(const Int8GemmArgs& g, int pixels) {
  int64_t p = 0;
  for (; p + 4 <= pixels; p += 4) tile_avx2<4, B>(g, p);
  switch (pixels - p) {
    case 3: return tile_avx2<3, B>(g, p);
    case 2: return tile_avx2<2, B>(g, p);
    case 1: return tile_avx2<1, B>(g, p);
    default: return;
  }
}

#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx512vnni,avx2,fma")

// What _mm512_dpbusd_epi32 does. With that GCC 12 copies each sum before and after, and no longer
// keeps them all in registers.
inline __attribute__((always_inline)) void add_products(__m512i& sum, __m512i bytes,
                                                        __m512i weights) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(bytes), "v"(weights));
}

// R pixels, P panels of sixteen channels; R * P accumulators.
template <int R, int P>
void tile_vnni(const Int8GemmArgs& g, int64_t pixel) {
  __m512i sum[R][P];
#pragma GCC unroll 12
  for (int r = 0; r < R; r++)
#pragma GCC unroll 2
    for (int p = 0; p < P; p++) sum[r][p] = _mm512_setzero_si512();
  const int8_t* w = g.w;
  const int64_t panel = int64_t{16} * g.segments * g.length;
  const uint8_t* base = g.a + pixel * g.a_stride;
  const int64_t stride = g.a_stride;
  for (int s = 0; s < g.segments; s++) {
    const uint8_t* a = base + g.offsets[s];
    const uint8_t* end = a + g.length;
    for (; a != end; a += 4, w += 64) {
      __m512i weight[P];
#pragma GCC unroll 2
      for (int p = 0; p < P; p++) weight[p] = _mm512_loadu_si512(w + p * panel);
#pragma GCC unroll 12
      for (int r = 0; r < R; r++) {
        int32_t bytes;
        std::memcpy(&bytes, a + r * stride, sizeof bytes);
        const __m512i value = _mm512_set1_epi32(bytes);
#pragma GCC unroll 2
        for (int p = 0; p < P; p++) add_products(sum[r][p], value, weight[p]);
      }
    }
  }
#pragma GCC unroll 2
  for (int p = 0; p < P; p++) {
    const __m512 scale = _mm512_loadu_ps(g.scale + 16 * p);
#pragma GCC unroll 12
    for (int r = 0; r < R; r++) finish_sums(g, pixel + r, p, scale, sum[r][p]);
  }
}

template <int P>
void row_vnni(const Int8GemmArgs& g, int pixels) {
  int64_t p = 0;
  for (; p + 12 <= pixels; p += 12) tile_vnni<12, P>(g, p);
  for (; p + 4 <= pixels; p += 4) tile_vnni<4, P>(g, p);
  for (; p < pixels; p++) tile_vnni<1, P>(g, p);
}

#pragma GCC pop_options

}  // namespace

int int8_blocks_at_once(Isa isa, int lanes) {
  // AMX has tiles of sixteen channels.
  if (isa == Isa::avx512_vnni && lanes >= 4 * 8) return 4;
  return lanes >= 2 * 8 ? 2 : 1;
}

void gemm_row(Isa isa, const Int8GemmArgs& args, int pixels, int blocks) {
  if (isa == Isa::avx512_amx && pixels >= 16) return gemm_row_amx(args, pixels, blocks);
  if (blocks == 1) return row_avx2<1>(args, pixels);
  if (isa >= Isa::avx512_vnni) {
    return blocks == 4 ? row_vnni<2>(args, pixels) : row_vnni<1>(args, pixels);
  }
  row_avx2<2>(args, pixels);
}

}  // namespace atelier::model::kernels
