// SPDX-License-Identifier: Apache-2.0
// What the tests of pixels.h share: frames of random samples, planes with guarded edges, and the
// formulas of H.273 written out again, in double and without tables or matrices shared with the
// code under test.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "model/chroma.h"
#include "model/pixels.h"

namespace atelier::model::pixels_testing {

using Family = PixelFormat::Family;
using Range = ColorSpec::Range;
using Siting = ColorSpec::Siting;
using Rgb = std::array<double, 3>;

inline PixelFormat format(Family family, int depth, int sx = 0, int sy = 0) {
  return {family, static_cast<uint8_t>(depth), static_cast<uint8_t>(sx), static_cast<uint8_t>(sy),
          false};
}

inline ColorSpec color(int matrix, Range range, Siting siting = Siting::left) {
  ColorSpec c;
  c.matrix = static_cast<uint8_t>(matrix);
  c.range = range;
  c.siting = siting;
  return c;
}

inline int get(const FrameView& f, int p, int x, int y) {
  const auto& plane = f.plane[static_cast<size_t>(p)];
  const std::byte* row = plane.data + plane.stride * y;
  return f.format.bytes_per_sample() == 1 ? reinterpret_cast<const uint8_t*>(row)[x]
                                          : reinterpret_cast<const uint16_t*>(row)[x];
}

inline void put(const FrameView& f, int p, int x, int y, int value) {
  const auto& plane = f.plane[static_cast<size_t>(p)];
  std::byte* row = plane.data + plane.stride * y;
  if (f.format.bytes_per_sample() == 1) {
    reinterpret_cast<uint8_t*>(row)[x] = static_cast<uint8_t>(value);
  } else {
    reinterpret_cast<uint16_t*>(row)[x] = static_cast<uint16_t>(value);
  }
}

inline void fill_random(const FrameView& f, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> code(0, (1 << f.format.depth) - 1);
  for (int p = 0; p < f.format.planes(); ++p) {
    for (int y = 0; y < f.plane_height(p); ++y) {
      for (int x = 0; x < f.plane_width(p); ++x) put(f, p, x, y, code(random));
    }
  }
}

// Planes with rows longer than needed, the excess holding a mark that nobody may touch.
class Planes {
 public:
  static constexpr float kMark = -12345;
  Planes(int channels, int width, int height)
      : floats_(static_cast<size_t>(channels * (height + 1) * (width + 3)), kMark) {
    view_ = {floats_.data(), channels,  width,
             height,         width + 3, ptrdiff_t{width + 3} * (height + 1)};
  }
  const PlanesView& view() const { return view_; }
  float& at(int c, int x, int y) {
    return view_.data[view_.plane_stride * c + view_.row_stride * y + x];
  }
  bool marks_kept() {
    for (int c = 0; c < view_.channels; ++c) {
      for (int y = 0; y <= view_.height; ++y) {
        for (int x = 0; x < view_.width + 3; ++x) {
          const bool outside = x >= view_.width || y == view_.height;
          if (outside != (at(c, x, y) == kMark)) return false;
        }
      }
    }
    return true;
  }

 private:
  std::vector<float> floats_;
  PlanesView view_;
};

// E'R, E'G, E'B of (possibly fractional) code values.
inline Rgb decode(const ColorSpec& c, const PixelFormat& f, double s0, double s1, double s2) {
  const double unit = std::pow(2.0, f.depth - 8);
  const double max = std::pow(2.0, f.depth) - 1;
  const bool full = c.range == Range::full;
  const auto luma = [&](double v) { return full ? v / max : (v / unit - 16) / 219; };
  const auto chroma = [&](double v) {
    const double centred = v - 128 * unit;
    return full ? centred / max : centred / unit / 224;
  };
  if (f.family == Family::gray) return {luma(s0), luma(s0), luma(s0)};
  if (f.family == Family::rgb) return {luma(s0), luma(s1), luma(s2)};
  if (c.matrix == 0) return {luma(s2), luma(s0), luma(s1)};
  if (c.matrix == 8) {
    const double cg = s1 - 128 * unit;
    const double co = s2 - 128 * unit;
    const double t = s0 - cg;
    return {luma(t + co), luma(s0 + cg), luma(t - co)};
  }
  double kr = 0.299, kb = 0.114;
  if (c.matrix == 1) kr = 0.2126, kb = 0.0722;
  if (c.matrix == 4) kr = 0.30, kb = 0.11;
  if (c.matrix == 7) kr = 0.212, kb = 0.087;
  if (c.matrix == 9) kr = 0.2627, kb = 0.0593;
  const double y = luma(s0);
  const double b = y + 2 * (1 - kb) * chroma(s1);
  const double r = y + 2 * (1 - kr) * chroma(s2);
  return {r, (y - kr * r - kb * b) / (1 - kr - kb), b};
}

inline double apply2d(const Taps& rows, const Taps& columns,
                      const std::function<double(int, int)>& at) {
  double sum = 0;
  for (int j = 0; j < rows.count; ++j) {
    for (int i = 0; i < columns.count; ++i) {
      sum += static_cast<double>(rows.weight[static_cast<size_t>(j)]) *
             static_cast<double>(columns.weight[static_cast<size_t>(i)]) *
             at(columns.first + i, rows.first + j);
    }
  }
  return sum;
}

// The slow, obvious decoding of one pixel, chroma resampling included.
inline Rgb decode_at(const FrameView& f, const ColorSpec& c, int x, int y) {
  std::array<double, 3> s{};
  for (int p = 0; p < std::min(3, f.format.planes()); ++p) {
    const bool chroma = f.is_chroma(p);
    s[static_cast<size_t>(p)] = apply2d(
        upsample_taps(y, f.height, chroma ? f.format.chroma_shift_y : 0, vertical_phase(c.siting)),
        upsample_taps(x, f.width, chroma ? f.format.chroma_shift_x : 0, horizontal_phase(c.siting)),
        [&](int i, int j) { return get(f, p, i, j); });
  }
  return decode(c, f.format, s[0], s[1], s[2]);
}

inline int count_differences(const FrameView& a, const FrameView& b, int tolerance) {
  int count = 0;
  for (int p = 0; p < a.format.planes(); ++p) {
    for (int y = 0; y < a.plane_height(p); ++y) {
      for (int x = 0; x < a.plane_width(p); ++x) {
        if (std::abs(get(a, p, x, y) - get(b, p, x, y)) > tolerance) ++count;
      }
    }
  }
  return count;
}

inline int round_trip_differences(const FrameView& in, const ModelSpec& spec, int pad,
                                  PlaneOffset at) {
  Planes planes(3, in.width + pad, in.height + pad);
  EXPECT_TRUE(frame_to_planes(in, spec, planes.view(), at).ok());
  EXPECT_TRUE(planes.marks_kept());
  FrameBuffer out(in.width, in.height, in.format, in.color);
  const ColorSpec coded = resolve_color(in.color, in.width, in.height, in.format);
  EXPECT_TRUE(planes_to_frame(planes.view(), spec, coded, out.view(), at).ok());
  return count_differences(in, out.view(), in.format.depth == 16 ? 1 : 0);
}

inline const std::vector<int> kMatrices{0, 1, 2, 4, 5, 6, 7, 8, 9};
inline const std::vector<Siting> kSitings{Siting::unspecified, Siting::left, Siting::center,
                                          Siting::top_left,    Siting::top,  Siting::bottom_left,
                                          Siting::bottom};

}  // namespace atelier::model::pixels_testing
