// SPDX-License-Identifier: Apache-2.0
// The arithmetic of ITU-T H.273 (07/2021), clause 8.3: from R'G'B' to code values and back, as one
// affine map. Code values here are real numbers, not yet rounded or clipped.
#pragma once

#include <array>

#include "base/frame.h"
#include "base/result.h"

namespace atelier::model {

using Matrix3 = std::array<std::array<double, 3>, 3>;

// With E = (E'R, E'G, E'B), 0 black and 1 white, and `code` the samples of planes 0..2:
//   code[p] - centre[p] = sum_c encode[p][c] * E[c] + offset[p]
//   E[c] = sum_p decode[c][p] * (code[p] - centre[p]) + decode_offset[c]
// `centre` is the code of no colour for chroma and 0 elsewhere: with it apart, neutral samples give
// three equal values, to the last bit. Gray uses plane 0 only.
struct CodeMap {
  Matrix3 encode{};
  std::array<double, 3> offset{};
  Matrix3 decode{};
  std::array<double, 3> decode_offset{};
  std::array<double, 3> centre{};
  std::array<double, 3> luma{};  // weights of E for luma; they sum to 1
};

// `color` is resolved (see resolve_color in pixels.h). Errors: invalid_input: a matrix code point
// that is not supported for yuv.
Result<CodeMap> make_code_map(const ColorSpec& color, const PixelFormat& format);

}  // namespace atelier::model
