// SPDX-License-Identifier: Apache-2.0
// swscale resamples, but does not choose coefficients for every matrix, nor exactly: the last step
// is ours. It is for pictures to look at, one at a time, so it is plain rather than fast.
#include "media/to_rgb.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "media/frame_convert.h"

namespace atelier::media {
namespace {

using Family = PixelFormat::Family;

// R, G and B are sums of y, second and third component: what remains of H.273, 8.3 on the way back.
struct ToRgb {
  double luma_offset = 0;
  double luma_gain = 1;
  double chroma_offset = 0;
  double chroma_gain = 1;
  std::array<std::array<double, 3>, 3> rows{{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
  bool chroma = false;  // components 1 and 2 are signed differences
};

std::array<std::array<double, 3>, 3> difference_rows(double kr, double kb) {
  const double kg = 1 - kr - kb;
  return {{{1, 0, 2 * (1 - kr)},
           {1, -2 * kb * (1 - kb) / kg, -2 * kr * (1 - kr) / kg},
           {1, 2 * (1 - kb), 0}}};
}

Result<ToRgb> conversion(const FrameView& frame) {
  const PixelFormat& f = frame.format;
  const bool yuv = f.family == Family::yuv;
  ToRgb result;
  const double unit = std::ldexp(1.0, f.depth - 8);
  const bool limited = frame.color.range == ColorSpec::Range::limited ||
                       (frame.color.range == ColorSpec::Range::unspecified && yuv);
  result.luma_offset = limited ? 16 * unit : 0;
  result.luma_gain = limited ? 219 * unit : std::ldexp(1.0, f.depth) - 1;
  if (!yuv) return result;
  int matrix = frame.color.matrix;
  const bool subsampled = f.chroma_shift_x != 0 || f.chroma_shift_y != 0;
  if (matrix == 2 || (matrix == 0 && subsampled)) {
    matrix = frame.width <= 1024 && frame.height <= 576 ? 6 : 1;
  }
  result.chroma = matrix != 0;
  result.chroma_offset = 128 * unit;
  result.chroma_gain = limited && matrix != 8 ? 224 * unit : result.luma_gain;
  switch (matrix) {
    case 0: result.rows = {{{0, 0, 1}, {1, 0, 0}, {0, 1, 0}}}; break;
    case 1: result.rows = difference_rows(0.2126, 0.0722); break;
    case 4: result.rows = difference_rows(0.30, 0.11); break;
    case 5:
    case 6: result.rows = difference_rows(0.299, 0.114); break;
    case 7: result.rows = difference_rows(0.212, 0.087); break;
    case 8: result.rows = {{{1, -1, 1}, {1, 1, 0}, {1, -1, -1}}}; break;
    case 9: result.rows = difference_rows(0.2627, 0.0593); break;
    default:
      return make_error(Code::invalid_input,
                        "Colour matrix {} (ITU-T H.273 matrix_coefficients) is not supported; "
                        "supported are 0, 1, 4, 5, 6, 7, 8 and 9: convert the video first.",
                        matrix);
  }
  return result;
}

template <class T>
const T* row_of(const FrameView& frame, int p, int y) {
  const auto& plane = frame.plane[static_cast<size_t>(p)];
  return reinterpret_cast<const T*>(plane.data + plane.stride * y);
}

template <class In, class Out>
void convert_row(const FrameView& in, const ToRgb& c, const FrameView& out, int y) {
  const bool gray = in.format.family == Family::gray;
  const double max = std::ldexp(1.0, out.format.depth) - 1;
  std::array<const In*, 3> source{};
  std::array<Out*, 3> target{};
  for (int p = 0; p < 3; ++p) {
    source[static_cast<size_t>(p)] = row_of<In>(in, gray ? 0 : p, y);
    target[static_cast<size_t>(p)] = const_cast<Out*>(row_of<Out>(out, p, y));
  }
  for (int x = 0; x < in.width; ++x) {
    std::array<double, 3> v{};
    for (size_t p = 0; p < 3; ++p) {
      const double offset = p > 0 && c.chroma ? c.chroma_offset : c.luma_offset;
      v[p] = (source[p][x] - offset) / (p > 0 && c.chroma ? c.chroma_gain : c.luma_gain);
    }
    for (size_t i = 0; i < 3; ++i) {
      const double e = c.rows[i][0] * v[0] + c.rows[i][1] * v[1] + c.rows[i][2] * v[2];
      target[i][x] = static_cast<Out>(std::clamp(e, 0.0, 1.0) * max + 0.5);
    }
  }
}

}  // namespace

Result<FrameBuffer> to_rgb(const FrameView& frame, int width, int height, int depth) {
  if (frame.width <= 0 || frame.height <= 0 || width <= 0 || height <= 0) {
    return make_error(Code::invalid_input, "A picture of {}x{} cannot be made from one of {}x{}.",
                      width, height, frame.width, frame.height);
  }
  const ToRgb how = TRY(conversion(frame));
  FrameView opaque = frame;
  opaque.format.alpha = false;
  PixelFormat whole = opaque.format;
  whole.chroma_shift_x = whole.chroma_shift_y = 0;
  PictureScaler scaler(width, height, whole);
  const PlanarPicture picture = TRY(scaler.fit(PlanarPicture{opaque, nullptr}));
  PixelFormat rgb{Family::rgb, static_cast<uint8_t>(depth), 0, 0, false};
  ColorSpec color = frame.color;
  color.matrix = 0;
  color.range = ColorSpec::Range::full;
  color.siting = ColorSpec::Siting::unspecified;
  FrameBuffer out(width, height, rgb, color);
  const bool wide_in = frame.format.depth > 8;
  const auto row =
      wide_in ? (depth > 8 ? convert_row<uint16_t, uint16_t> : convert_row<uint16_t, uint8_t>)
              : (depth > 8 ? convert_row<uint8_t, uint16_t> : convert_row<uint8_t, uint8_t>);
  for (int y = 0; y < height; ++y) row(picture.view, how, out.view(), y);
  return out;
}

}  // namespace atelier::media
