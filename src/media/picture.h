// SPDX-License-Identifier: Apache-2.0
// One frame as a picture file in memory: kept frames and previews.
#pragma once

#include <cstddef>
#include <vector>

#include "base/frame.h"
#include "base/result.h"

namespace atelier::media {

// The frame's own matrix, range and siting are obeyed (ITU-T H.273: 0, 1, 4, 5, 6, 7, 8, 9); an
// unspecified matrix is BT.601 up to 1024x576 and BT.709 above, an unspecified range is limited for
// yuv and full otherwise. Transfer and primaries stay what they are, and no tag for them is
// written. Alpha is dropped. Equal frames give equal bytes. Any thread.
// Errors: invalid_input: a matrix that is not supported, an empty frame; internal.

// RGB, 8 bits a sample, or 16 when the frame has more than 8.
Result<std::vector<std::byte>> encode_png(const FrameView& frame);

// JFIF (BT.601 full range), 4:4:4. `quality` is 1 to 100 on the scale that libjpeg made usual, to
// the nearest of libav's 31 quantisers.
Result<std::vector<std::byte>> encode_jpeg(const FrameView& frame, int quality);

}  // namespace atelier::media
