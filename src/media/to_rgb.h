// SPDX-License-Identifier: Apache-2.0
// Private to src/media: any frame as full-range planar RGB, for picture files.
#pragma once

#include "base/frame.h"
#include "base/result.h"

namespace atelier::media {

// `depth` 8 to 16. Scales to width x height first if that is another size, and chroma to the luma
// grid, both by swscale; then undoes range and matrix by H.273's equations, in the picture's own
// terms (see picture.h), and clips to black..white.
Result<FrameBuffer> to_rgb(const FrameView& frame, int width, int height, int depth);

}  // namespace atelier::media
