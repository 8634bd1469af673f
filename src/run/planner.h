// SPDX-License-Identifier: Apache-2.0
// Cuts a video into chunks: a pure function of the packet scan.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "media/packet_scan.h"

namespace atelier::run {

// The frames with first_pts <= pts < end_pts, in the video stream's time base. Intervals of
// neighbours touch, so every frame is in exactly one chunk whatever its time.
struct ChunkPlan {
  int index = 0;
  int64_t first_pts = 0;
  std::optional<int64_t> end_pts;  // unset: to the end
  std::optional<int64_t> key_dts;  // where decoding starts; unset: the file's start
  uint64_t first_frame =
      0;  // number of the first frame in display order, from 0, as far as packets tell
  uint64_t frames = 0;                 // shown packets in the interval
  std::optional<int64_t> context_pts;  // deinterlacing: the frame shown before; unset: none
  std::optional<int64_t> last_pts;     // of its packet that lies last in the file
  bool operator==(const ChunkPlan&) const = default;
};

// Chunks of about `chunk_seconds`: a cut falls on the key frame nearest to the wanted length if one
// lies within half a length of it, else on the frame itself. At least one frame a chunk. A stream
// whose packets have no times of their own is one chunk. A deinterlaced picture needs the frame
// before it, so with `deinterlace` decoding starts at or before that one. Errors: invalid_input (no
// frame in the range).
Result<std::vector<ChunkPlan>> plan_chunks(const media::PacketScan& scan,
                                           const media::TimeRange& range, double chunk_seconds,
                                           bool deinterlace = false);

// The dts of the key packet to start decoding from for the frame at `pts`: the last in decode order
// that is shown no later and lies no later in the file; nothing if there is none or it has no dts.
std::optional<int64_t> key_before(const std::vector<media::VideoPacket>& packets, int64_t pts);

}  // namespace atelier::run
