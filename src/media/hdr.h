// SPDX-License-Identifier: Apache-2.0
// HDR10 static metadata (SMPTE ST 2086 mastering display, CTA-861.3 content light) of an input.
#pragma once

#include "base/bytes.h"
#include "base/result.h"
#include "media/frame_writer.h"
#include "media/media_info.h"

namespace atelier::media {

// From the scored stream's container, and what is not there from its first decoded frame. Empty
// parts mean that the input says nothing. Without a video stream both are empty.
// Errors: the source's own.
Result<HdrMetadata> read_hdr_metadata(ByteSource& source, const MediaInfo& info);

}  // namespace atelier::media
