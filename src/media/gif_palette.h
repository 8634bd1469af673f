// SPDX-License-Identifier: Apache-2.0
// Private to src/media: 256 colours for one picture.
//
// Median cut (Heckbert 1982) over a histogram of 15-bit colours: the box in which the colours lie
// farthest apart, weighted by its pixels, is cut at its median until there are 256 (255 when the
// picture has see-through pixels, which get the last entry); a box's colour is the mean of its
// pixels; each histogram colour takes the nearest. Integers alone, and nothing but this picture is
// looked at: equal pictures give equal bytes wherever a chunk begins. Cost: one pass over the
// pixels and at most 32768 x 256 distances.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/frame.h"

namespace atelier::media {

using GifPalette = std::array<uint32_t, 256>;  // 0xAARRGGBB, as AV_PIX_FMT_PAL8 has it

// `picture`: 8-bit RGB, with or without alpha (seen through below 128). Writes width x height
// indices, `stride` bytes a row.
GifPalette quantise(const FrameView& picture, uint8_t* indices, ptrdiff_t stride);

}  // namespace atelier::media
