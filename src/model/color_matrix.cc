// SPDX-License-Identifier: Apache-2.0
#include "model/color_matrix.h"

#include <cmath>
#include <optional>

#include "model/pixels.h"

namespace atelier::model {
namespace {

// K_R and K_B of H.273, table 4, and K_G between them; nothing where luma is no fixed weighting.
std::optional<std::array<double, 3>> luma_weights(uint8_t matrix) {
  const auto weights = [](double kr, double kb) {
    return std::array<double, 3>{kr, 1 - kr - kb, kb};
  };
  switch (matrix) {
    case 1: return weights(0.2126, 0.0722);
    case 4: return weights(0.30, 0.11);
    case 5:
    case 6: return weights(0.299, 0.114);
    case 7: return weights(0.212, 0.087);
    case 8: return weights(0.25, 0.25);  // YCgCo
    case 9: return weights(0.2627, 0.0593);
    default: return std::nullopt;
  }
}

// Rows Y, second and third component, before quantisation.
Matrix3 component_matrix(uint8_t matrix, const std::array<double, 3>& k) {
  if (matrix == 8) return {{{0.25, 0.5, 0.25}, {-0.25, 0.5, -0.25}, {0.5, 0, -0.5}}};
  const double cb = 0.5 / (1 - k[2]);
  const double cr = 0.5 / (1 - k[0]);
  return {{{k[0], k[1], k[2]},
           {-k[0] * cb, -k[1] * cb, (1 - k[2]) * cb},
           {(1 - k[0]) * cr, -k[1] * cr, -k[2] * cr}}};
}

// By cofactors: the matrices here are well conditioned.
Matrix3 inverse(const Matrix3& m) {
  Matrix3 result{};
  const auto at = [&m](size_t r, size_t c) { return m[r % 3][c % 3]; };
  const auto cofactor = [&at](size_t r, size_t c) {
    return at(r + 1, c + 1) * at(r + 2, c + 2) - at(r + 1, c + 2) * at(r + 2, c + 1);
  };
  const double determinant =
      m[0][0] * cofactor(0, 0) + m[0][1] * cofactor(0, 1) + m[0][2] * cofactor(0, 2);
  for (size_t r = 0; r < 3; ++r) {
    for (size_t c = 0; c < 3; ++c) result[r][c] = cofactor(c, r) / determinant;
  }
  return result;
}

struct Quantisation {
  double gain = 255;
  double offset = 0;
  double chroma_gain = 255;
};

Quantisation quantisation(const ColorSpec& color, int depth, bool ycgco) {
  const double unit = std::ldexp(1.0, depth - 8);
  const double full = std::ldexp(1.0, depth) - 1;
  if (color.range == ColorSpec::Range::full) return {full, 0, full};
  // H.273 scales Cg and Co like luma, for they are made of already quantised R, G and B.
  return {219 * unit, 16 * unit, (ycgco ? 219 : 224) * unit};
}

void scale_row(std::array<double, 3>& row, double gain) {
  for (double& v : row) v *= gain;
}

CodeMap gray_map(const Quantisation& q, const std::array<double, 3>& weights) {
  CodeMap map;
  map.luma = weights;
  map.encode[0] = weights;
  scale_row(map.encode[0], q.gain);
  map.offset[0] = q.offset;
  for (size_t c = 0; c < 3; ++c) {
    map.decode[c][0] = 1 / q.gain;
    map.decode_offset[c] = -q.offset / q.gain;
  }
  return map;
}

}  // namespace

ColorSpec resolve_color(const ColorSpec& color, int width, int height, const PixelFormat& format) {
  ColorSpec result = color;
  const bool yuv = format.family == PixelFormat::Family::yuv;
  const bool subsampled = format.chroma_shift_x != 0 || format.chroma_shift_y != 0;
  const bool guess = yuv ? color.matrix == 2 || (color.matrix == 0 && subsampled)
                         : !luma_weights(color.matrix).has_value();
  if (guess) result.matrix = height <= 576 && width <= 1024 ? 6 : 1;
  if (color.range == ColorSpec::Range::unspecified) {
    result.range = yuv ? ColorSpec::Range::limited : ColorSpec::Range::full;
  }
  if (color.siting == ColorSpec::Siting::unspecified) result.siting = ColorSpec::Siting::left;
  return result;
}

Result<CodeMap> make_code_map(const ColorSpec& color, const PixelFormat& format) {
  const bool yuv = format.family == PixelFormat::Family::yuv;
  const bool identity = format.family == PixelFormat::Family::rgb || (yuv && color.matrix == 0);
  const auto known = luma_weights(color.matrix);
  if (!known && !identity) {
    return make_error(Code::invalid_input,
                      "Colour matrix {} (ITU-T H.273 matrix_coefficients) is not supported; "
                      "supported are 0, 1, 4, 5, 6, 7, 8 and 9: convert the video first.",
                      color.matrix);
  }
  // A luma of RGB samples without a luma weighting of their own: BT.709's.
  const std::array<double, 3> weights = known.value_or(*luma_weights(1));
  const Quantisation q = quantisation(color, format.depth, yuv && color.matrix == 8);
  if (format.family == PixelFormat::Family::gray) return gray_map(q, weights);
  CodeMap map;
  map.luma = weights;
  if (identity) {
    // Planes of rgb are R, G, B; H.273 puts G, B, R into Y, Cb, Cr.
    const std::array<size_t, 3> source =
        yuv ? std::array<size_t, 3>{1, 2, 0} : std::array<size_t, 3>{0, 1, 2};
    for (size_t p = 0; p < 3; ++p) {
      map.encode[p][source[p]] = q.gain;
      map.offset[p] = q.offset;
    }
  } else {
    map.encode = component_matrix(color.matrix, weights);
    scale_row(map.encode[0], q.gain);
    scale_row(map.encode[1], q.chroma_gain);
    scale_row(map.encode[2], q.chroma_gain);
    map.offset[0] = q.offset;
    map.centre[1] = map.centre[2] = std::ldexp(1.0, format.depth - 1);
  }
  map.decode = inverse(map.encode);
  for (size_t c = 0; c < 3; ++c) {
    for (size_t p = 0; p < 3; ++p) map.decode_offset[c] -= map.decode[c][p] * map.offset[p];
  }
  return map;
}

}  // namespace atelier::model
