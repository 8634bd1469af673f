// SPDX-License-Identifier: Apache-2.0
// Private to src/media: the encoders Atelier knows and the pixel formats they take.
#pragma once

#include <string>

#include "media/av.h"

namespace atelier::media {

// Errors: invalid_argument.
Result<const AVCodec*> find_encoder(const std::string& name);
// The encoder's own format that holds `format`: packed for RGB in ffv1 and png, PAL8 for gif;
// AV_PIX_FMT_NONE when it has none.
AVPixelFormat encoder_pixel_format(const AVCodec& codec, const PixelFormat& format);
// Ends an encoder that may not have seen all its frames. SVT-AV1 1.4 waits forever for its last
// packet when it is freed without an end, or without a frame: it gets both. `fed`: whether it had a
// frame.
void close_encoder(CodecContextPtr encoder, bool fed);

}  // namespace atelier::media
