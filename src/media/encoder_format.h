// SPDX-License-Identifier: Apache-2.0
// Private to src/media: the encoders Atelier knows and the pixel formats they take.
#pragma once

#include <string>

#include "media/av.h"

namespace atelier::media {

// Errors: invalid_argument.
Result<const AVCodec*> find_encoder(const std::string& name);
// The encoder's own format that holds `format`, AV_PIX_FMT_BGR0 and BGRA for 8-bit RGB in ffv1;
// AV_PIX_FMT_NONE when it has none.
AVPixelFormat encoder_pixel_format(const AVCodec& codec, const PixelFormat& format);

}  // namespace atelier::media
