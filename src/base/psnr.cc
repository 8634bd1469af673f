// SPDX-License-Identifier: Apache-2.0
#include "base/psnr.h"

#include <algorithm>
#include <cmath>

namespace atelier {
namespace {

template <class Sample>
double row_error(const std::byte* a, const std::byte* b, int count) {
  const Sample* left = reinterpret_cast<const Sample*>(a);
  const Sample* right = reinterpret_cast<const Sample*>(b);
  uint64_t sum = 0;
  for (int x = 0; x < count; x++) {
    const int64_t difference = int64_t{left[x]} - int64_t{right[x]};
    sum += static_cast<uint64_t>(difference * difference);
  }
  return static_cast<double>(sum);
}

}  // namespace

void SquaredError::add(const SquaredError& other) {
  sum += other.sum;
  samples += other.samples;
  peak = std::max(peak, other.peak);
}

double SquaredError::psnr() const {
  if (sum == 0) return kSamePicture;
  return std::min(kSamePicture, 10 * std::log10(peak * (peak * samples / sum)));
}

SquaredError squared_error(const FrameView& a, const FrameView& b) {
  SquaredError error;
  error.peak = (1 << a.format.depth) - 1;
  const int planes = a.format.planes() - (a.format.alpha ? 1 : 0);
  for (int p = 0; p < planes; p++) {
    const size_t i = static_cast<size_t>(p);
    for (int y = 0; y < a.plane_height(p); y++) {
      const std::byte* left = a.plane[i].data + y * a.plane[i].stride;
      const std::byte* right = b.plane[i].data + y * b.plane[i].stride;
      error.sum += a.format.bytes_per_sample() == 2
                       ? row_error<uint16_t>(left, right, a.plane_width(p))
                       : row_error<uint8_t>(left, right, a.plane_width(p));
    }
    error.samples += static_cast<double>(a.plane_width(p)) * a.plane_height(p);
  }
  return error;
}

}  // namespace atelier
