// SPDX-License-Identifier: Apache-2.0
// Statistics of an activation, for instance normalisation.
//
// Per row the mean and the sum of squared deviations from it (two passes over a row in L1), then
// rows are merged in order in double (Chan, Golub and LeVeque 1979). So a large mean does not eat
// the variance, and the order of additions never depends on the number of threads. Whoever makes a
// row may take its moments while it is in L1: that saves reading the tensor once (conv.h).
#pragma once

#include <vector>

#include "model/kernels/tensor_view.h"

namespace atelier::model::kernels {

// Statistics to normalise by: y = (x - mean) / sqrt(variance + epsilon) * gamma + beta, per
// channel.
struct Norm {
  std::vector<float> gamma, beta;
  float epsilon = 0;
};

// Floats that the moments of all rows take.
int64_t moments_floats(int channels, int block, int height);

// Of one row; any thread, rows in any order.
void row_moments(const TensorView& in, int group, int y, float* moments);

// The factor and the shift of the eight lanes of `group`, at scale[8 * group] and shift likewise,
// once all rows of it have moments.
void merge_moments(const Norm& norm, const TensorView& in, const float* moments, int group,
                   float* scale, float* shift);

}  // namespace atelier::model::kernels
