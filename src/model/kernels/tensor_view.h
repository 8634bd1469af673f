// SPDX-License-Identifier: Apache-2.0
// How an activation lies in memory, for every kernel of the fast runner.
//
// One picture of C channels is cut into groups of `block` channels; each group is a plane of
// pixels, each pixel `block` floats. block 8 ("nChw8c") makes one AVX2 register a pixel, so no
// kernel ever shuffles; block 1 is plain NCHW, kept for pictures of fewer than 8 channels, where
// eight lanes would be mostly air. Around each plane there may be a halo: rows and columns that a
// consumer reads as padding and that the producer of the tensor filled (zeros). Kernels thus have
// no border cases. Lanes beyond the last channel hold finite numbers that nobody reads as data.
//
// Activations in bytes or bfloat16 have all channels of a pixel in one group (of four for a
// picture: RGBx): what a convolution multiplies then lies in long runs, as the widest instructions
// want it (gemm_amx.cc).
#pragma once

#include <cstdint>

namespace atelier::model::kernels {

inline constexpr int kLanes = 8;

// Channels of a group.
inline constexpr int kPictureBlock = 4;
constexpr int float_block(int channels) { return channels < kLanes ? 1 : kLanes; }
constexpr int byte_block(int channels) {
  if (channels == 1) return 1;
  return channels <= kPictureBlock ? kPictureBlock : (channels + kLanes - 1) / kLanes * kLanes;
}

template <class Element>
struct BasicView {
  Element* data = nullptr;  // pixel (0, 0) of group 0, inside the halo
  int channels = 0;
  int height = 0;
  int width = 0;
  int block = kLanes;
  int64_t row = 0;    // elements from one row to the next, halo included
  int64_t plane = 0;  // elements from one group to the next

  int groups() const { return (channels + block - 1) / block; }
  Element* at(int group, int y, int x) const {
    return data + group * plane + y * row + static_cast<int64_t>(x) * block;
  }
  Element* row_at(int group, int y) const { return data + group * plane + y * row; }
};

using TensorView = BasicView<float>;

// How activations are narrower than floats: in eight bits, where q stands for scale * (q -
// zero_point), or in two bytes of bfloat16. The halo holds zeros: zero_point in every byte.
struct Quantization {
  float scale = 1;
  int zero_point = 0;  // 0 to 255
  bool bf16 = false;   // then scale is 1 and zero_point 0
  int bytes() const { return bf16 ? 2 : 1; }
  bool operator==(const Quantization&) const = default;
};
inline constexpr Quantization kBf16{1, 0, true};
// Elements and blocks are bytes, also where a number takes two.
using ByteView = BasicView<uint8_t>;

}  // namespace atelier::model::kernels
