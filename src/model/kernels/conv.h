// SPDX-License-Identifier: Apache-2.0
// Direct convolutions and transposed convolutions of any kernel, stride and dilation, one group.
//
// Nothing is gathered into columns: the inner loop (gemm.h) reads the activations where they lie,
// as segments of neighbouring floats, and padding is the halo of the input. So a layer costs its
// multiply-adds, and a pass over its weights per output row.
//
// A transposed convolution of stride s is s*s ordinary ones ("phases"), each making every s-th
// pixel of every s-th row from the taps that reach it: no multiplication by the zeros in between.
//
// A convolution of a picture enlarged by repetition has phases too: taps that meet the same pixel
// are added beforehand. 3x3 after doubling is four 2x2 kernels: 4 multiplications instead of 9, and
// the enlarged tensor never exists.
//
// Pictures (fewer than 8 output channels) would leave most of a register empty. For them ("unfold")
// the taps along x become output channels: 9x9 to 3 channels is 9x1 to 27 lanes, which are then
// added along x, each shifted by its tap. 9/10 of the lanes work instead of 3/8.
#pragma once

#include <vector>

#include "model/kernels/gemm_bf16.h"
#include "model/kernels/tensor_view.h"

namespace atelier::model::kernels {

// A layer as ONNX states it. Weights: [out][in][kh][kw], or [in][out][kh][kw] if transposed.
struct ConvShape {
  int in_channels = 0;
  int out_channels = 0;
  int kernel_h = 0, kernel_w = 0;
  int stride_h = 1, stride_w = 1;
  int dilation_h = 1, dilation_w = 1;
  bool transposed = false;
  int enlarge = 1;  // each input pixel stands for enlarge x enlarge; stride 1 then
};

// One run of neighbouring inputs: group `group`, at (dy, dx) of the pixel's first input.
struct Segment {
  int group = 0;
  int dy = 0;
  int dx = 0;
};

struct Phase {
  int out_y = 0, out_x = 0;  // first output
  std::vector<Segment> segments;
  int length = 0;             // floats a segment
  std::vector<float> packed;  // [panels of 16 lanes, a last one of 8][segments][length][16 or 8]
};

// Packed for one padding (top, left), which decides the phases of a transposed convolution.
struct DirectWeights {
  ConvShape shape;
  int pad_top = 0, pad_left = 0;
  int in_block = kLanes;
  bool unfold = false;
  int lanes = 0;  // output lanes: channels, or taps along x times channels; padded to 8
  int out_step_y = 1, out_step_x = 1;
  int in_step_y = 1, in_step_x = 1;
  std::vector<Phase> phases;
  std::vector<float> bias;  // padded to 8; empty: none
};

// The same in eight bits (gemm_int8.h): each output lane of a phase has a scale of its own, such
// that its largest pair of neighbouring weights is the largest allowed. Or in bfloat16
// (gemm_bf16.h), without scales.
struct NarrowPhase {
  int length = 0;  // bytes a segment, a multiple of segment_unit() or, in bfloat16, of kTileBytes
  std::vector<int8_t>
      packed;                // [panels of 16 lanes, a last one of 8][segments][length / 4][16|8][4]
  std::vector<float> scale;  // per lane, of weights times activations
  std::vector<float> shift;  // per lane: takes the zero point out of the sum; with the bias
};

struct NarrowWeights {
  DirectWeights layout;  // its phases have no weights
  bool bf16 = false;
  std::vector<NarrowPhase> phases;
};

struct Halo {
  int top = 0, left = 0, bottom = 0, right = 0;
};

// For an input whose pixels have groups of `in_block` channels: float_block() or byte_block() of
// them all.
DirectWeights pack_direct(const ConvShape& shape, const float* weights, const float* bias,
                          int pad_top, int pad_left, int in_block);

// `weights` for an input in eight bits or bfloat16.
NarrowWeights narrow_direct(Isa isa, DirectWeights weights, const Quantization& input);

// What the input must have around it for an output of this size.
Halo direct_halo(const DirectWeights& weights, int in_h, int in_w, int out_h, int out_w);

struct ConvEpilogue {
  const TensorView* add = nullptr;  // as the output, its halo may differ; block 8 only
  float low = -std::numeric_limits<float>::infinity();
  float high = std::numeric_limits<float>::infinity();
  // Null, or where the moments of the output go (moments.h), which has block 8 then: a set for each
  // row of a direct convolution, winograd_blocks() of them else.
  float* moments = nullptr;
  // Null, or where the output goes in bytes or bfloat16, while its rows are in L1 or L2; it has
  // block 8 then. Of a direct convolution.
  const ByteView* bytes = nullptr;
  Quantization quantization{};
};

// Floats of scratch that each thread needs. `width`: 0, or that of an output without floats.
int64_t direct_scratch(const DirectWeights& weights, int width);

// `out` of any size that the input's halo allows; block 8, or 1 if it has fewer than 8 channels.
// Without data, but with bytes in the epilogue, nothing else is made.
void conv_direct(Isa isa, const TensorView& in, const DirectWeights& weights,
                 const ConvEpilogue& epilogue, float* scratch, const TensorView& out, int threads);
void conv_direct(Isa isa, const ByteView& in, const NarrowWeights& weights,
                 const ConvEpilogue& epilogue, float* scratch, const TensorView& out, int threads);

}  // namespace atelier::model::kernels
