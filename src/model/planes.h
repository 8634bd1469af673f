// SPDX-License-Identifier: Apache-2.0
// Float planes that own their samples, for the ways of a frame through a network that are not
// straight: tiles, letterboxes, luma alone. Internal to src/model.
#pragma once

#include <vector>

#include "model/pixels.h"

namespace atelier::model {

class Planes {
 public:
  Planes() = default;
  Planes(int channels, int width, int height)
      : channels_(channels),
        width_(width),
        height_(height),
        samples_(static_cast<size_t>(channels) * static_cast<size_t>(width) *
                 static_cast<size_t>(height)) {}
  int channels() const { return channels_; }
  int width() const { return width_; }
  int height() const { return height_; }
  float* row(int channel, int y) { return samples_.data() + offset(channel, y); }
  const float* row(int channel, int y) const { return samples_.data() + offset(channel, y); }
  PlanesView view() {
    return {samples_.data(), channels_, width_, height_, width_, plane_stride()};
  }
  ConstPlanesView view() const {
    return {samples_.data(), channels_, width_, height_, width_, plane_stride()};
  }

 private:
  ptrdiff_t plane_stride() const { return static_cast<ptrdiff_t>(width_) * height_; }
  ptrdiff_t offset(int channel, int y) const {
    return channel * plane_stride() + static_cast<ptrdiff_t>(y) * width_;
  }
  int channels_ = 0;
  int width_ = 0;
  int height_ = 0;
  std::vector<float> samples_;
};

}  // namespace atelier::model
