// SPDX-License-Identifier: Apache-2.0
#include "media/dts_queue.h"

#include <algorithm>

namespace atelier::media {
namespace {

// Times near the ends of 64 bits come only from broken files: such a time is no bound.
int64_t minus(int64_t time, int64_t ticks) {
  int64_t result = 0;
  return __builtin_sub_overflow(time, ticks, &result) ? INT64_MAX : result;
}

}  // namespace

void DtsQueue::reorders(int stream) {
  const auto index = static_cast<size_t>(stream);
  if (index >= streams_.size()) streams_.resize(index + 1);
  streams_[index].reorders = true;
}

DtsQueue::Stream& DtsQueue::stream_of(const AVPacket& packet) {
  const auto index = static_cast<size_t>(packet.stream_index);
  if (index >= streams_.size()) streams_.resize(index + 1);
  return streams_[index];
}

void DtsQueue::push(PacketPtr packet) {
  ++stream_of(*packet).waiting;
  bytes_ += static_cast<size_t>(packet->size);
  packets_.push_back(std::move(packet));
}

PacketPtr DtsQueue::pop() {
  if (packets_.empty()) return nullptr;
  Stream& stream = stream_of(*packets_.front());
  const bool known = !stream.reorders || stream.waiting > kLookahead || finished_;
  if (!known && packets_.size() < kMostPackets && bytes_ < kMostBytes) return nullptr;
  PacketPtr packet = std::move(packets_.front());
  packets_.pop_front();
  --stream.waiting;
  bytes_ -= static_cast<size_t>(packet->size);
  if (stream.reorders) set_dts(*packet, stream);
  return packet;
}

void DtsQueue::set_dts(AVPacket& packet, Stream& stream) const {
  // Without any time of its own it follows the one before it, which is the muxer's matter.
  if (packet.dts == AV_NOPTS_VALUE && packet.pts == AV_NOPTS_VALUE) return;
  int64_t dts = packet.dts != AV_NOPTS_VALUE ? packet.dts : packet.pts;
  if (packet.pts != AV_NOPTS_VALUE) dts = std::min(dts, packet.pts);
  int64_t ahead = 0;
  size_t left = stream.waiting;
  for (auto at = packets_.begin(); at != packets_.end() && left > 0; ++at) {
    const AVPacket& later = **at;
    if (later.stream_index != packet.stream_index) continue;
    --left;
    ++ahead;
    if (later.pts != AV_NOPTS_VALUE) dts = std::min(dts, minus(later.pts, ahead));
    if (later.dts != AV_NOPTS_VALUE) dts = std::min(dts, minus(later.dts, ahead));
  }
  // Where the times themselves jump back, a tick after the last one is what is left.
  if (stream.last_dts && dts <= *stream.last_dts && *stream.last_dts < INT64_MAX) {
    dts = *stream.last_dts + 1;
  }
  packet.dts = dts;
  stream.last_dts = dts;
}

}  // namespace atelier::media
