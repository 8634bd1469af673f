// SPDX-License-Identifier: Apache-2.0
// The inner loop of gemm.h with activations and weights in bfloat16, summed in floats.
//
//   c[p][o] = sum over segments s, over i < length / 2:  a[offset[s] + p * a_stride + i] *
//             w[s][i][o]                                 + bias[o] + add, then bounded
//
// For matrix units: AMX multiplies 16 pixels x 32 numbers by 32 numbers x 16 channels in 16 cycles
// (tdpbf16ps), half as fast as bytes and sixteen times as fast as floats. A product of two is exact
// in a float, so what decides the bits is the order of the additions, and that is documented: of
// each 32 numbers of a segment the even ones are added up in order, and the odd ones, then both,
// then that to the sum; all rounded to nearest, numbers below the normal ones being zero. Whoever
// has no AMX does just that with multiply-adds of floats (gemm_bf16.cc), for the same bits, at
// their speed: plans choose bfloat16 only where there is AMX, and may be obeyed anywhere.
// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, TDPBF16PS; that a processor
// does what it says there is gemm_test.cc's to show.
#pragma once

#include "model/kernels/gemm_int8.h"

namespace atelier::model::kernels {

struct Bf16GemmArgs {
  using Input = uint8_t;
  using Sum = float;
  const uint8_t* a = nullptr;        // whole segments are read, with their padding: finite numbers
  const int64_t* offsets = nullptr;  // bytes, one a segment
  int segments = 1;
  int length = 0;        // bytes, a multiple of kTileBytes
  int64_t a_stride = 0;  // bytes from pixel to pixel
  // [segments][length / 4][8 * blocks][2 of bfloat16], kWeightSlack more are read
  const int8_t* w = nullptr;
  float* c = nullptr;
  int64_t c_stride = 0;   // floats from pixel to pixel
  int64_t c_block = 0;    // floats from one block of eight channels to the next
  int64_t add_block = 0;  // the same for what is added
  Epilogue epilogue;
};

// `pixels` any number, `blocks` 1 or 2 (of eight output channels). Inside a TileScope with `flush`.
void gemm_row(Isa isa, const Bf16GemmArgs& args, int pixels, int blocks);

// The same by AMX, of at least 16 pixels. Internal to kernels/.
void gemm_row_amx(const Bf16GemmArgs& args, int pixels, int blocks);

}  // namespace atelier::model::kernels
