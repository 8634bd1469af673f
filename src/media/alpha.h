// SPDX-License-Identifier: Apache-2.0
// The alpha channel beside a network that paints colour only.
#pragma once

#include "base/frame.h"
#include "base/result.h"

namespace atelier::media {

// Fills the alpha plane of `to` with that of `from`, scaled (bicubic) to its size and depth; opaque
// where `from` has none. Equal size and depth change no sample. Any thread.
// Errors: invalid_argument (`to` has no alpha), internal.
Result<void> copy_alpha(const FrameView& from, const FrameView& to);

}  // namespace atelier::media
