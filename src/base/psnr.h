// SPDX-License-Identifier: Apache-2.0
// How far two pictures are apart.
#pragma once

#include "base/frame.h"

namespace atelier {

// Sum of squared differences of all samples of all planes but alpha, chroma as it is stored, and
// their number; sums of several frames may be added up.
struct SquaredError {
  double sum = 0;
  double samples = 0;
  int peak = 255;  // largest code value
  void add(const SquaredError& other);
  // 10 log10(peak^2 / mean), in dB; kSamePicture if there is no difference at all.
  double psnr() const;
};

// Stands for infinity, which JSON cannot say.
inline constexpr double kSamePicture = 200;

// Both of one size and format.
SquaredError squared_error(const FrameView& a, const FrameView& b);

}  // namespace atelier
