// SPDX-License-Identifier: Apache-2.0
// Statistics of an activation, for instance normalisation.
//
// Of a set of pixels (a row, or some tiles) the mean and the sum of squared deviations from it (two
// passes over what lies in L1), then sets are merged in order in double (Chan, Golub and LeVeque
// 1979). So a large mean does not eat the variance, and the order of additions never depends on the
// number of threads. Whoever makes pixels may take their moments while they are in L1: that saves
// reading the tensor once (conv.h, winograd.h).
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

struct MomentsView {
  const float* data = nullptr;  // null: nobody took them
  int sets = 0;
};

int64_t moments_floats(int channels, int block, int sets);

// Of one row, as set `y` of as many as there are rows; any thread, rows in any order.
void row_moments(const TensorView& in, int group, int y, float* moments);

// Where set `set` of `sets` of `group` begins, in floats: [count, mean, deviation][8 lanes].
int64_t moments_slot(int group, int set, int sets);

// The factor and the shift of the eight lanes of `group`, at scale[8 * group] and shift likewise,
// once all sets of it are there. With block 1 sets are rows.
void merge_moments(const Norm& norm, const TensorView& in, const MomentsView& moments, int group,
                   float* scale, float* shift);

}  // namespace atelier::model::kernels
