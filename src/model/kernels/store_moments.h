// SPDX-License-Identifier: Apache-2.0
// How kernels write the moments (moments.h) of a set of pixels. Internal to kernels/.
#pragma once

#include <immintrin.h>

#include "model/kernels/tensor_view.h"

namespace atelier::model::kernels {

#pragma GCC push_options
#pragma GCC target("avx2,fma")

inline __attribute__((always_inline)) void store_moments(float count, __m256 mean, __m256 deviation,
                                                         float* slot) {
  _mm256_storeu_ps(slot, _mm256_set1_ps(count));
  _mm256_storeu_ps(slot + kLanes, mean);
  _mm256_storeu_ps(slot + 2 * kLanes, deviation);
}

#pragma GCC pop_options

}  // namespace atelier::model::kernels
