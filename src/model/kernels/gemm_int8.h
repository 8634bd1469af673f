// SPDX-License-Identifier: Apache-2.0
// The inner loop of gemm.h in eight bits: unsigned activations times signed weights, summed in 32
// bits.
//
//   c[p][o] = scale[o] * sum over segments s, over i < length:  a[offset[s] + p*a_stride + i] *
//             w[s][i][o]                                        + bias[o] + add, then bounded
//
// AVX2 multiplies 32 pairs at once (vpmaddubsw), but adds two products in 16 bits, which saturate:
// 255 * 127 * 2 does not fit. So weights are limited in pairs, |w[2j]| + |w[2j+1]| <= 128, and
// nothing is ever cut off. Two more instructions widen and add. That is three for 32 multiply-adds
// instead of four FMAs, on more ports: measured 196 against 101 GOP/s on one Zen 3 core. AVX-512
// VNNI does all of it in one (vpdpbusd), for two panels of sixteen channels at once where there are
// as many, as gemm.h does; AMX that for 256 sums at once (gemm_amx.cc). Sums are exact, so bits are
// the same everywhere.
#pragma once

#include <limits>

#include "model/kernels/gemm.h"

namespace atelier::model::kernels {

// Most that the magnitudes of two neighbouring weights may add up to.
inline constexpr int kMostWeightPair = 128;
// Products an output whose sum 32 bits hold, whatever they are.
inline constexpr int kMostInt8Products =
    std::numeric_limits<int32_t>::max() / (255 * kMostWeightPair) * 2;

// Bytes of a segment that AMX multiplies at once.
inline constexpr int kTileBytes = 64;

// What lengths of segments are padded to, by weights that are zero.
constexpr int segment_unit(Isa isa) { return isa == Isa::avx512_amx ? kTileBytes : 4; }

struct Int8GemmArgs {
  using Input = uint8_t;
  using Sum = int32_t;
  const uint8_t* a = nullptr;        // whole segments are read, with their padding
  const int64_t* offsets = nullptr;  // bytes, one a segment
  int segments = 1;
  int length = 0;        // bytes, a multiple of segment_unit()
  int64_t a_stride = 0;  // bytes from pixel to pixel
  // A panel is [segments][length / 4][8 * blocks][4], of four blocks two of two; kWeightSlack more
  // are read.
  const int8_t* w = nullptr;
  float* c = nullptr;
  int64_t c_stride = 0;          // floats from pixel to pixel
  int64_t c_block = 0;           // floats from one block of eight channels to the next
  int64_t add_block = 0;         // the same for what is added
  const float* scale = nullptr;  // per output channel, padded to whole blocks
  Epilogue epilogue;
};

inline constexpr int kWeightSlack = 32;  // bytes

// A thread needs one of these, with the same instruction set, around its calls of gemm_row. With
// `flush` numbers below the normal ones are zero meanwhile, as they are to gemm_bf16.h.
class TileScope {
 public:
  explicit TileScope(Isa isa, bool flush = false);
  ~TileScope();
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;

 private:
  bool on_;
  unsigned before_;  // of the register that says how floats are rounded
};

// As blocks_at_once (gemm.h).
int int8_blocks_at_once(Isa isa, int lanes);

// `pixels` any number, `blocks` (of eight output channels) as int8_blocks_at_once says or fewer of
// them.
void gemm_row(Isa isa, const Int8GemmArgs& args, int pixels, int blocks);

// The same by AMX, of at least 16 pixels. Internal to kernels/.
void gemm_row_amx(const Int8GemmArgs& args, int pixels, int blocks);

}  // namespace atelier::model::kernels
