// SPDX-License-Identifier: Apache-2.0
// The products of gemm_int8.h by AMX: a register file of eight tiles, 16 rows of 64 bytes each, and
// one instruction (tdpbusd) that adds the products of 16 pixels x 64 bytes with 64 bytes x 16
// channels to a tile of 16 x 16 sums. Those of gemm_bf16.h are the same with another one
// (tdpbf16ps), of 32 numbers in the 64 bytes.
//
// It takes 16 cycles, whatever a tile really holds: 16,384 products in the time in which VNNI does
// 2,048. Its operands are what the loops of gemm_int8.h have anyway: a row of the first tile is 64
// bytes of a segment, rows are `a_stride` apart, and the packed weights of a panel are a row of
// the second for each four bytes. Segments are padded to 64 bytes of weights that are zero; what
// they are multiplied with may be anything. That is why bytes lie with all channels of a pixel
// together (Value::block): segments are long then, and tiles full.
//
// Four tiles of pixels share a tile of weights; four sums are also what it takes to hide the 52
// cycles until a sum can be added to again.
// Source: Intel 64 and IA-32 Architectures Optimization Reference Manual, chapter on AMX.
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "model/kernels/finish_bf16.h"
#include "model/kernels/finish_int8.h"

namespace atelier::model::kernels {
namespace {

constexpr int kRows = 16;  // pixels of a tile
constexpr int kSums = 16 * kRows;

// How all tiles are shaped: palette 1, each 16 rows of 64 bytes. The layout is the processor's.
struct alignas(64) TileShapes {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileShapes) == 64);

#pragma GCC push_options
#pragma GCC target("amx-tile,amx-int8,amx-bf16,avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")

// First pixels of R tiles.
template <int R>
struct Pixels {
  int64_t at[R];
};

template <class Args>
using Sum = typename Args::Sum;  // as a tile holds them

// Operands are names of registers, which no function can take.
#define MULTIPLY(sums, pixels)                        \
  if constexpr (std::is_same_v<Args, Bf16GemmArgs>) { \
    _tile_dpbf16ps(sums, pixels, 4);                  \
  } else {                                            \
    _tile_dpbusd(sums, pixels, 4);                    \
  }

// The sums of R tiles of pixels, [R][16 pixels][16 channels]. Of a panel of 8 channels the others
// are the next four bytes' weights: numbers that nobody reads.
template <int R, class Args>
void multiply(const Args& g, const Pixels<R>& pixels, int blocks, Sum<Args>* sums) {
  const int64_t stride = g.a_stride, wide = int64_t{32} * blocks;
  const int8_t* w = g.w;
  _tile_zero(0);
  if constexpr (R > 1) _tile_zero(1);
  if constexpr (R > 2) _tile_zero(2);
  if constexpr (R > 3) _tile_zero(3);
  for (int s = 0; s < g.segments; s++) {
    const uint8_t* a = g.a + g.offsets[s];
    const uint8_t* end = a + g.length;
    for (; a != end; a += kTileBytes, w += kTileBytes / 4 * wide) {
      _tile_loadd(4, w, wide);
      _tile_loadd(5, a + pixels.at[0] * stride, stride);
      MULTIPLY(0, 5);
      if constexpr (R > 1) {
        _tile_loadd(6, a + pixels.at[1] * stride, stride);
        MULTIPLY(1, 6);
      }
      if constexpr (R > 2) {
        _tile_loadd(7, a + pixels.at[2] * stride, stride);
        MULTIPLY(2, 7);
      }
      if constexpr (R > 3) {
        _tile_loadd(5, a + pixels.at[3] * stride, stride);
        MULTIPLY(3, 5);
      }
    }
  }
  _tile_stored(0, sums, 64);
  if constexpr (R > 1) _tile_stored(1, sums + kSums, 64);
  if constexpr (R > 2) _tile_stored(2, sums + 2 * kSums, 64);
  if constexpr (R > 3) _tile_stored(3, sums + 3 * kSums, 64);
}

#undef MULTIPLY

inline __attribute__((always_inline)) __m512 scale_of(const Int8GemmArgs& g) {
  return _mm512_loadu_ps(g.scale);
}
inline __attribute__((always_inline)) __m512 scale_of(const Bf16GemmArgs&) {
  return _mm512_setzero_ps();
}
inline __attribute__((always_inline)) __m512 value_of(const int32_t* sums, __m512 scale) {
  return _mm512_mul_ps(_mm512_maskz_cvtepi32_ps(kAll, _mm512_load_si512(sums)), scale);
}
inline __attribute__((always_inline)) __m512 value_of(const float* sums, __m512) {
  return _mm512_load_ps(sums);
}

// What finish_sums does, of `count` pixels in a row. What they have in common stays in registers:
// the compiler cannot know that no store changes it.
template <bool kAdd, class Args>
void finish_rows(const Args& g, const Sum<Args>* sum, int64_t pixel, int count) {
  const Epilogue& e = g.epilogue;
  const __m512 scale = scale_of(g);
  // Adding -0 changes nothing, not even a zero's sign.
  const __m512 bias = e.bias ? _mm512_loadu_ps(e.bias) : _mm512_set1_ps(-0.0F);
  const __m512 low = _mm512_set1_ps(e.low), high = _mm512_set1_ps(e.high);
  const int64_t stride = g.c_stride, block = g.c_block, add_block = g.add_block;
  float* c = g.c + pixel * stride;
  const float* add = kAdd ? e.add + pixel * stride : nullptr;
  for (int i = 0; i < count; i++, sum += 16, c += stride) {
    __m512 v = _mm512_add_ps(value_of(sum, scale), bias);
    if constexpr (kAdd) {
      v = _mm512_add_ps(v, two_blocks(add, add_block));
      add += stride;
    }
    store_bounded(v, low, high, c, block);
  }
}

// Of eight channels.
inline __attribute__((always_inline)) void finish_eight(const Int8GemmArgs& g, int64_t pixel,
                                                        const int32_t* sum) {
  finish_sums(g, pixel, 0, _mm256_load_si256(reinterpret_cast<const __m256i*>(sum)));
}
inline __attribute__((always_inline)) void finish_eight(const Bf16GemmArgs& g, int64_t pixel,
                                                        const float* sum) {
  finish_floats(g, pixel, 0, _mm256_load_ps(sum));
}

// Pixels `first` to `first` + `count`, at most R tiles of them, of which the last may begin earlier
// than its pixels: what it then makes twice is left out.
template <int R, class Args>
void tiles(const Args& g, int64_t first, int64_t count, int blocks) {
  Pixels<R> pixels;
  for (int r = 0; r < R; r++) pixels.at[r] = first + std::min<int64_t>(r * kRows, count - kRows);
  alignas(64) Sum<Args> sums[R * kSums];
  multiply<R>(g, pixels, blocks, sums);
  for (int r = 0; r < R; r++) {
    const int skip = static_cast<int>(first + r * kRows - pixels.at[r]);
    const Sum<Args>* sum = sums + r * kSums + skip * 16;
    const int64_t pixel = pixels.at[r] + skip;
    if (blocks == 1) {
      for (int i = 0; i < kRows - skip; i++) finish_eight(g, pixel + i, sum + i * 16);
    } else if (g.epilogue.add) {
      finish_rows<true>(g, sum, pixel, kRows - skip);
    } else {
      finish_rows<false>(g, sum, pixel, kRows - skip);
    }
  }
}

template <class Args>
void row(const Args& args, int pixels, int blocks) {
  int64_t p = 0;
  for (; p + 4 * kRows <= pixels; p += 4 * kRows) tiles<4>(args, p, 4 * kRows, blocks);
  const int64_t rest = pixels - p;
  // The last tile may begin among the pixels before: there are 16 at least.
  switch ((rest + kRows - 1) / kRows) {
    case 4: return tiles<4>(args, p, rest, blocks);
    case 3: return tiles<3>(args, p, rest, blocks);
    case 2: return tiles<2>(args, p, rest, blocks);
    case 1: return tiles<1>(args, p, rest, blocks);
    default: return;
  }
}

#pragma GCC pop_options

}  // namespace

TileScope::TileScope(Isa isa, bool flush) : on_(isa == Isa::avx512_amx), before_(_mm_getcsr()) {
  constexpr unsigned kFlushAndZero = 0x8040;  // of results and of operands
  if (flush) _mm_setcsr(before_ | kFlushAndZero);
  if (!on_) return;
  static constexpr TileShapes kShapes;
  asm volatile("ldtilecfg %0" : : "m"(kShapes));
}

TileScope::~TileScope() {
  if (on_) asm volatile("tilerelease");
  _mm_setcsr(before_);
}

void gemm_row_amx(const Int8GemmArgs& args, int pixels, int blocks) { row(args, pixels, blocks); }
void gemm_row_amx(const Bf16GemmArgs& args, int pixels, int blocks) { row(args, pixels, blocks); }

}  // namespace atelier::model::kernels
