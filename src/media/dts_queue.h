// SPDX-License-Identifier: Apache-2.0
// Private to src/media: decode times for copied packets, made without touching what is shown when.
//
// Matroska stores no dts and libav cannot know the first ones of a stream with B-frames; of a
// stream whose reorder depth it underestimates, later ones come after their pts. A muxer needs them
// strictly increasing and never above the pts. So a packet waits until as many packets of its
// stream as any codec reorders are known: its dts is the one it came with (its pts where it has
// none), but at most pts[j] - j and dts[j] - j for each packet that is j packets ahead. That leaves
// usable times alone, and puts unknown ones a tick apart before the first known one, as joiner.h.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "media/av.h"

namespace atelier::media {

// Packets of all streams come out in the order in which they went in, and only wait behind a packet
// of a stream that reorders. Holds at most kMostPackets or kMostBytes, whichever is first; a packet
// that must leave earlier gets its dts from what is known by then.
class DtsQueue {
 public:
  static constexpr size_t kLookahead = 16;  // the deepest reorder of H.264 and HEVC
  static constexpr size_t kMostPackets = 2000;
  static constexpr size_t kMostBytes = size_t{64} << 20;

  // From now on the packets of this stream get their dts here; those of others pass as they are.
  void reorders(int stream);
  void push(PacketPtr packet);
  // No packet will follow.
  void finish() { finished_ = true; }
  bool finished() const { return finished_; }
  // The next packet; null when another must be pushed first or, after finish(), at the end.
  PacketPtr pop();

 private:
  struct Stream {
    bool reorders = false;
    size_t waiting = 0;
    std::optional<int64_t> last_dts;
  };
  Stream& stream_of(const AVPacket& packet);
  void set_dts(AVPacket& packet, Stream& stream) const;

  std::deque<PacketPtr> packets_;
  std::vector<Stream> streams_;
  size_t bytes_ = 0;
  bool finished_ = false;
};

}  // namespace atelier::media
