// SPDX-License-Identifier: Apache-2.0
// Between a picture in the arena and dense samples. Internal to src/model.
#pragma once

#include "model/kernels/tensor_view.h"

namespace atelier::model {

// `samples`: C, H, W of the view. Lanes without a channel become zero.
void picture_to_tensor(const kernels::TensorView& view, int threads, float* samples);
void tensor_to_picture(const float* samples, const kernels::TensorView& view, int threads);

}  // namespace atelier::model
