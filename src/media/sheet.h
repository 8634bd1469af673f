// SPDX-License-Identifier: Apache-2.0
// A sheet of pictures before and after, to look at.
#pragma once

#include <span>

#include "base/frame.h"
#include "base/result.h"

namespace atelier::media {

struct SheetRow {
  FrameView before;
  FrameView after;
};

// How pictures are shown, as a player shows the video they are from.
struct SheetLook {
  int max_width = 1600;     // of the sheet
  int quarter_turns = 0;    // clockwise
  double pixel_aspect = 1;  // width over height of one sample
};

// One row below the other, `before` left and `after` right, a thin dark gap between; 8-bit RGB,
// full range. Both pictures of a row get one size: the aspect of `before`, as wide as the wider of
// the two unless the sheet would be wider than `max_width`, then scaled down to fit. Colour as in
// picture.h.
// Errors: invalid_argument: no rows, or a sheet higher than 32,767 lines; those of picture.h.
Result<FrameBuffer> make_sheet(std::span<const SheetRow> rows, const SheetLook& look = {});

}  // namespace atelier::media
