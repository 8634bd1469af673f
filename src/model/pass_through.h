// SPDX-License-Identifier: Apache-2.0
// A frame as it is, where one that a network made is missing.
#pragma once

#include "base/frame.h"
#include "base/result.h"

namespace atelier::model {

// Fills `out`, of any size and format, with the picture of `in`: scaled bicubically where the size
// differs, the same code values where size and format are equal. Alpha is not written. Errors:
// those of frame_to_planes().
Result<void> pass_through(const FrameView& in, const FrameView& out);

}  // namespace atelier::model
