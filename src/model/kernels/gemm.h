// SPDX-License-Identifier: Apache-2.0
// The one inner loop of all our convolutions: a few pixels times sixteen output channels, held in
// registers.
//
//   c[p][o] = sum over segments s, over i < length:  a[offset[s] + p * a_stride + i] * w[s][i][o]
//
// A segment is a run of inputs that lie next to each other: the eight channels of one tap of a
// convolution (nChw8c), the taps of one kernel row (NCHW), or all channels of a Winograd tile. That
// is all that distinguishes these layers; the arithmetic is the same and runs at the same speed.
// Per step of i: two loads of weights, six broadcasts, twelve fused multiply-adds (AVX2), which is
// bound by the multiply-adds. With AVX-512 sixteen channels are one register and twelve pixels are
// kept, of two panels of sixteen channels where there are as many: fourteen loads then serve 24
// multiply-adds (83 % of the peak on Sapphire Rapids; thirteen for twelve gave 68 %). The order of
// additions for each output is the same, and so are the bits.
#pragma once

#include <cstdint>
#include <limits>

namespace atelier::model::kernels {

// Each can do what the ones before it can. The last two have products of bytes (gemm_int8.h), too.
enum class Isa { avx2, avx512, avx512_vnni, avx512_amx };

// What follows the sum: c = min(max(sum + bias + add, low), high).
struct Epilogue {
  const float* bias = nullptr;  // per output channel, padded to whole blocks; null: none
  const float* add = nullptr;   // c_stride from pixel to pixel; null: none
  float low = -std::numeric_limits<float>::infinity();
  float high = std::numeric_limits<float>::infinity();
};

struct GemmArgs {
  using Input = float;
  const float* a = nullptr;
  const int64_t* offsets = nullptr;  // floats, one a segment
  int segments = 1;
  int length = 0;
  int64_t a_stride = 0;      // floats from pixel to pixel
  const float* w = nullptr;  // a panel is [segments][length][8 * blocks], of four blocks two of two
  float* c = nullptr;
  int64_t c_stride = 0;   // floats from pixel to pixel
  int64_t c_block = 0;    // floats from one block of eight channels to the next
  int64_t add_block = 0;  // the same for what is added
  Epilogue epilogue;
};

// How many blocks a call of gemm_row takes when `lanes` output channels, a multiple of eight, are
// left: 1, 2 or, with AVX-512, 4.
int blocks_at_once(Isa isa, int lanes);

// `pixels` any number, `blocks` (of eight output channels) as blocks_at_once says or fewer of them.
void gemm_row(Isa isa, const GemmArgs& args, int pixels, int blocks);

}  // namespace atelier::model::kernels
