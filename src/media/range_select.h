// SPDX-License-Identifier: Apache-2.0
// Private to src/media: which packets of the streams that are copied belong to a TimeRange. The
// scan hashes and the muxer copies by this one rule, or their hashes would not agree.
#pragma once

#include <optional>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "media/av.h"
#include "media/media_info.h"
#include "media/packet_scan.h"

namespace atelier::media {

// Absolute times on the file's clock; unset means open on that side.
struct PacketWindow {
  std::optional<MediaTime> from;
  std::optional<MediaTime> to;  // exclusive
};

// Frames before a file's clock zero have no time in some containers (Matroska cannot say negative
// times of a cluster, libav 5.1 gives none). They are shown before the first one that has a time,
// at the distance that packets say.
struct LeadingTimes {
  int64_t first = 0;  // of the first frame, in the stream's time base
  int64_t step = 1;
  uint64_t count = 0;
};
// Nothing where the first packet of `stream` has a time, or no packet has. Errors: the source's
// own.
Result<std::optional<LeadingTimes>> leading_times(ByteSource& source, int stream);

// TimeRange counts from the first frame shown: the lowest pts (dts where there is none) of the
// first 64 video packets that are not discarded; no codec reorders deeper. Reads nothing when
// `range` is open on both sides.
// Errors: invalid_input (no video packet), the source's own.
Result<PacketWindow> packet_window(ByteSource& source, const MediaInfo& info,
                                   const TimeRange& range);

// Whether `packet` of `stream` (not the scored one) is copied: its pts, or dts where it has no pts,
// lies in the window. Cover art always is, and so is a packet without any time.
bool packet_in_range(const AVPacket& packet, const AVStream& stream, const PacketWindow& window);

}  // namespace atelier::media
