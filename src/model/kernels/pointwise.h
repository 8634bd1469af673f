// SPDX-License-Identifier: Apache-2.0
// Everything that works pixel by pixel, as a short program run over each row while it is in L1, and
// instance normalisation, whose statistics come first.
//
// Statistics: per row the mean and the sum of squared deviations from it (two passes over a row in
// L1), then rows are merged in order in double (Chan, Golub and LeVeque 1979). So a large mean does
// not eat the variance, and the order of additions never depends on the number of threads.
// Cost of a normalisation: the tensor is read twice and written once; with enough channels a
// thread takes whole groups, whose second reading then comes from L2 or L3.
#pragma once

#include <vector>

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

// Statistics to normalise by: y = (x - mean) / sqrt(variance + epsilon) * gamma + beta, per
// channel.
struct Norm {
  std::vector<float> gamma, beta;
  float epsilon = 0;
};

// `in` and `out` may be the same view; others have the same size. All have the same block.
void run_program(const std::vector<PointOp>& ops, const std::vector<TensorView>& others,
                 const TensorView& in, const TensorView& out, int threads);

// The same into bytes: round((result) / scale) + zero_point, to the even one half-way, cut off to 0
// to 255. `ops` may be empty.
void run_program(const std::vector<PointOp>& ops, const std::vector<TensorView>& others,
                 const TensorView& in, const ByteView& out, const Quantization& quantization,
                 int threads);

// Floats of scratch for run_norm.
int64_t norm_scratch(int channels, int block, int height);

// Normalises, then `ops`, whose first is linear with empty scale and shift: it takes those of the
// statistics.
void run_norm(const Norm& norm, const std::vector<PointOp>& ops,
              const std::vector<TensorView>& others, const TensorView& in, float* scratch,
              const TensorView& out, int threads);
void run_norm(const Norm& norm, const std::vector<PointOp>& ops,
              const std::vector<TensorView>& others, const TensorView& in, float* scratch,
              const ByteView& out, const Quantization& quantization, int threads);

}  // namespace atelier::model::kernels
