// SPDX-License-Identifier: Apache-2.0
// Private to src/media: what a user may ask of an encoder, and the options that libav then gets.
#pragma once

#include <string>

#include "media/encoder_table.h"
#include "media/frame_writer.h"

namespace atelier::media {

// Whether the encoder takes this quality, preset and these further options; every key is looked up
// where it will be used: in libav's own list, or by the parser of the library behind the encoder,
// since some of them print by themselves or ignore in silence what they do not know.
// Errors: invalid_argument naming what is wrong and what there is.
Result<void> check_options(const EncodeSettings& settings);
// The options of the encoder: what is fixed, quality, preset, HDR10 metadata, the user's own last.
// Pure. `settings` was checked.
OptionMap encoder_options(const EncodeSettings& settings);

}  // namespace atelier::media
