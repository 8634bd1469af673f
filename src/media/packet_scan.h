// SPDX-License-Identifier: Apache-2.0
// One pass over every packet of a file, without decoding: what the planner needs to cut chunks, and
// a hash of every stream that is to be copied.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "media/media_info.h"

namespace atelier::media {

// The part of the video to score, in seconds from its first frame; packets of the other streams
// inside it are kept.
struct TimeRange {
  std::optional<double> from;
  std::optional<double> to;  // exclusive
};

struct VideoPacket {
  int64_t pts = 0;  // in the video stream's time base; the packet's pts, or what stands in for it
                    // (see pts_exact)
  int64_t dts = 0;
  int64_t duration = 0;
  bool key = false;
  bool discard = false;  // decoded but not shown (an edit list)
};

struct CopiedStream {
  int index = 0;
  std::string sha256;  // over each packet's size (8 bytes, little endian) and bytes, in file order
  uint64_t packets = 0;
};

struct PacketScan {
  Rational time_base{1, 1};          // of the video stream
  std::vector<VideoPacket> packets;  // of the video stream, in file (decode) order
  // Every packet had a pts of its own. Otherwise (AVI, raw streams) the decoder's best effort is
  // the time of a frame and the file is not cut inside.
  bool pts_exact = true;
  std::vector<CopiedStream> copied;  // every stream but the scored one, cover art included
  uint64_t damaged_packets = 0;      // flagged corrupt by the demuxer
  // The demuxer ended with an error rather than end of file, or the file's index (MP4 and MOV)
  // promises packets behind the end of the file.
  bool truncated = false;
  // Something is missing at the end, by what the container says of itself (media/cut_off.h), but
  // nothing says how much of the film: what is there is whole and can be scored.
  bool cut_off = false;
  // When truncated, in time_base on the file's clock: every packet of the streams that are scored
  // or copied that is shown before this time can be read.
  int64_t readable_until = 0;
};

// Errors: invalid_input (no video packet at all), cancelled, conflict (the source changed).
Result<PacketScan> scan_packets(ByteSource& source, const MediaInfo& info, const TimeRange& range,
                                std::stop_token stop);

}  // namespace atelier::media
