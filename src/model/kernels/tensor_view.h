// SPDX-License-Identifier: Apache-2.0
// How an activation lies in memory, for every kernel of the fast runner.
//
// One picture of C channels is cut into groups of `block` channels; each group is a plane of
// pixels, each pixel `block` floats. block 8 ("nChw8c") makes one AVX2 register a pixel, so no
// kernel ever shuffles; block 1 is plain NCHW, kept for pictures of fewer than 8 channels, where
// eight lanes would be mostly air. Around each plane there may be a halo: rows and columns that a
// consumer reads as padding and that the producer of the tensor filled (zeros). Kernels thus have
// no border cases. Lanes beyond the last channel hold finite numbers that nobody reads as data.
#pragma once

#include <cstdint>

namespace atelier::model::kernels {

inline constexpr int kLanes = 8;

struct TensorView {
  float* data = nullptr;  // pixel (0, 0) of group 0, inside the halo
  int channels = 0;
  int height = 0;
  int width = 0;
  int block = kLanes;
  int64_t row = 0;    // floats from one row to the next, halo included
  int64_t plane = 0;  // floats from one group to the next

  int groups() const { return (channels + block - 1) / block; }
  float* at(int group, int y, int x) const {
    return data + group * plane + y * row + static_cast<int64_t>(x) * block;
  }
  float* row_at(int group, int y) const { return data + group * plane + y * row; }
};

}  // namespace atelier::model::kernels
