// SPDX-License-Identifier: Apache-2.0
// A 3x3 convolution with stride 1 for a quarter of the multiplications: Winograd's F(4x4, 3x3)
// (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015).
//
// Sixteen outputs of a 4x4 tile need 6x6 inputs. Both the tile and the kernel are taken to a domain
// of 36 points where the convolution is a product, point by point; over channels that is 36 matrix
// products instead of 144 multiply-adds a channel pair. Points 0, +-1, +-2 and infinity keep the
// transforms to additions and small constants; the price is rounding: errors about 1e-5 of the
// largest output instead of 1e-6 (asserted in the tests).
//
// Tiles are worked in blocks: transform in, 36 products, transform out, with everything
// of a block held in L2. A tile's bits do not depend on its block nor on the thread that computed
// it.
#pragma once

#include <vector>

#include "model/kernels/conv.h"
#include "model/kernels/tensor_view.h"

namespace atelier::model::kernels {

struct WinogradWeights {
  int in_channels = 0;
  int out_channels = 0;
  // [36 points][panels of 16 outputs (a last one of 8)][inputs][8 or 16]
  std::vector<float> packed;
  std::vector<float> bias;  // padded to 8; empty: none
};

// weights: [out][in][3][3]; bias may be empty.
WinogradWeights pack_winograd(const float* weights, const float* bias, int out_channels,
                              int in_channels);

// Floats of scratch that each thread needs.
int64_t winograd_scratch(const WinogradWeights& weights);

// Into how many blocks the tiles of an output of this size are cut.
int winograd_blocks(const WinogradWeights& weights, int out_h, int out_w);

// in: block 8; rows from -pad_top and columns from -pad_left to the end of the last whole tile must
// be readable (winograd_overhang tells how far beyond the picture). out: block 8.
void conv_winograd(Isa isa, const TensorView& in, int pad_top, int pad_left,
                   const WinogradWeights& weights, const ConvEpilogue& epilogue, float* scratch,
                   const TensorView& out, int threads);

// Rows (or columns) of input needed beyond the last output row, for `outputs` rows with `pad`.
int winograd_overhang(int outputs, int inputs, int pad);

}  // namespace atelier::model::kernels
