// SPDX-License-Identifier: Apache-2.0
// Private to src/media: whether the end of a file is missing, where the demuxer does not tell.
#pragma once

#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace atelier::media {

// By what a container says of its own length (`container` is libav's name): Matroska and WebM by
// the size of the segment (RFC 8794, RFC 9559; live recordings say none), AVI by its RIFF chunks,
// MPEG-TS by packets of 188 bytes, of which the last is whole. False for all others and where
// nothing is said. Errors: the source's own.
Result<bool> is_cut_off(ByteSource& source, std::string_view container);

}  // namespace atelier::media
