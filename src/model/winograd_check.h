// SPDX-License-Identifier: Apache-2.0
// Whether Winograd is accurate enough for one layer's weights. Its transforms divide weights by up
// to 576 and add activations multiplied by up to 25 before anything is multiplied: weights near the
// ends of the range of floats are lost on the way, and a hostile model may have them. So nothing is
// assumed of weights. Internal to src/model.
#pragma once

#include "model/kernels/gemm.h"

namespace atelier::model {

// Of the layer's largest output: what Winograd may be away from the direct convolution.
inline constexpr double kMostWinogradError = 1e-3;

// The largest difference between both, over the largest output of the direct one: the worst of two
// small made-up pictures of every input channel, noise around zero and faint noise on a bright
// ground. Infinity if either computes what is not finite. Without a bias, which could only hide it.
// Costs 128 outputs of each channel twice. weights: [out][in][3][3]. The same everywhere.
double winograd_error(kernels::Isa isa, const float* weights, int out_channels, int in_channels);

}  // namespace atelier::model
