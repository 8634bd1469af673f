// SPDX-License-Identifier: Apache-2.0
// Everything that works pixel by pixel, as a short program run over each row while it is in L1, and
// instance normalisation, whose statistics (moments.h) come first.
//
// Cost of a normalisation: the tensor is read and written once where its maker took the moments,
// else read twice; with enough channels a thread then takes whole groups, whose second reading
// comes from L2 or L3.
#pragma once

#include <vector>

#include "model/kernels/moments.h"
#include "model/kernels/tensor_view.h"

namespace atelier::model::kernels {

struct PointOp {
  enum class Kind {
    linear,  // clip(x * scale + shift + other, low, high)
    tanh,
    subtract,       // x - other
    subtract_from,  // other - x
    multiply,
    divide,       // x / other
    divide_from,  // other / x
  };
  Kind kind = Kind::linear;
  // linear: per channel, padded to whole blocks. Kind divide_from without `other`: shift / x.
  std::vector<float> scale, shift;
  float low = 0, high = 0;
  int other = -1;  // index into `others` of run_program
};

// Where results go: to floats, to bytes, or to both. Bytes are round(result / scale) + zero_point,
// to the even one half-way, cut off to 0 to 255, of the floats that are written; or those of
// bfloat16 (bf16.h).
struct PointOutput {
  TensorView floats;  // without data: none. May be the input
  ByteView bytes;     // without data: none
  Quantization quantization;
  PointOutput(const TensorView& to) : floats(to) {}  // nothing else is needed
  PointOutput(const ByteView& to, const Quantization& q) : bytes(to), quantization(q) {}
  PointOutput(const TensorView& also, const ByteView& to, const Quantization& q)
      : floats(also), bytes(to), quantization(q) {}
};

// All views have the same size, those of floats the same block. `ops` may be empty if nothing but
// bytes is wanted.
void run_program(const std::vector<PointOp>& ops, const std::vector<TensorView>& others,
                 const TensorView& in, const PointOutput& out, int threads);

// All groups of row `y`, which have block 8, into bytes, by whoever makes it.
void quantize_groups(const TensorView& in, int y, const Quantization& quantization,
                     const ByteView& out);

// Lanes of `count` pixels in bfloat16 that hold no channel: what is multiplied with weights that
// are zero must be numbers.
void zero_spare_lanes(uint16_t* pixels, int count, int64_t lanes, int used);

// On one row, in place, by whoever makes it; `ops` have no others.
void run_program_row(const std::vector<PointOp>& ops, const TensorView& view, int group, int y);

// The rounding to bytes, of `count` floats, `step` bytes apart. What lies between
// them stays as it is, but is read and written.
void quantize_row(const float* from, int count, const Quantization& quantization, uint8_t* to,
                  int64_t step);

// Floats of scratch for run_norm.
int64_t norm_scratch(int channels, int block, int height);

// Normalises, then `ops`, whose first is linear with empty scale and shift: it takes those of the
// statistics. `moments`: of all of `in`, if its maker took them; else they are taken here.
void run_norm(const Norm& norm, const std::vector<PointOp>& ops,
              const std::vector<TensorView>& others, const TensorView& in,
              const MomentsView& moments, float* scratch, const PointOutput& out, int threads);

}  // namespace atelier::model::kernels
