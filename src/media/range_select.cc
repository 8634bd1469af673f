// SPDX-License-Identifier: Apache-2.0
#include "media/range_select.h"

#include <algorithm>
#include <vector>

namespace atelier::media {
namespace {

constexpr int kDeepestReorder = 64;

// More than anybody shows before zero; then the times are not missing, there are none.
constexpr int kMostLeading = 4096;

Result<int64_t> first_shown_time(ByteSource& source, int stream) {
  if (const auto leading = TRY(leading_times(source, stream))) return leading->first;
  auto input = TRY(Input::open(source, "The input"));
  const PacketPtr packet = make_packet();
  std::optional<int64_t> first;
  for (int seen = 0; seen < kDeepestReorder;) {
    if (!TRY(input->read(*packet))) break;
    if (packet->stream_index != stream || (packet->flags & AV_PKT_FLAG_DISCARD)) continue;
    ++seen;
    const int64_t time = packet->pts != AV_NOPTS_VALUE ? packet->pts : packet->dts;
    if (time == AV_NOPTS_VALUE) continue;
    first = first ? std::min(*first, time) : time;
  }
  if (!first) {
    return make_error(Code::invalid_input,
                      "Stream {} has no video packet with a time, so no range can be cut from it.",
                      stream);
  }
  return *first;
}

int64_t smallest_step(std::vector<int64_t>& times) {
  std::sort(times.begin(), times.end());
  int64_t step = 0;
  for (size_t i = 1; i < times.size(); ++i) {
    int64_t gap = 0;
    if (__builtin_sub_overflow(times[i], times[i - 1], &gap) || gap <= 0) continue;
    step = step == 0 ? gap : std::min(step, gap);
  }
  return std::max<int64_t>(step, 1);
}

}  // namespace

Result<std::optional<LeadingTimes>> leading_times(ByteSource& source, int stream) {
  auto input = TRY(Input::open(source, "The input"));
  const PacketPtr packet = make_packet();
  std::vector<int64_t> known;
  LeadingTimes leading;
  int64_t duration = 0;
  for (int seen = 0; seen < kMostLeading && known.size() < kDeepestReorder;) {
    if (!TRY(input->read(*packet))) break;
    if (packet->stream_index != stream || (packet->flags & AV_PKT_FLAG_DISCARD)) continue;
    const int64_t time = packet->pts != AV_NOPTS_VALUE ? packet->pts : packet->dts;
    if (seen++ == 0 && time != AV_NOPTS_VALUE) return std::optional<LeadingTimes>();
    if (time != AV_NOPTS_VALUE) {
      known.push_back(time);
    } else {
      ++leading.count;
      if (duration == 0) duration = packet->duration;
    }
  }
  if (known.empty()) return std::optional<LeadingTimes>();
  const int64_t gap = smallest_step(known);
  leading.step = duration > 0 ? duration : gap;
  int64_t before = 0;
  if (__builtin_mul_overflow(leading.step, static_cast<int64_t>(leading.count), &before) ||
      __builtin_sub_overflow(known.front(), before, &leading.first)) {
    return std::optional<LeadingTimes>();
  }
  return std::optional(leading);
}

Result<PacketWindow> packet_window(ByteSource& source, const MediaInfo& info,
                                   const TimeRange& range) {
  PacketWindow window;
  if (!range.from && !range.to) return window;
  if (info.video_stream < 0) {
    return make_error(Code::invalid_input, "The input has no video stream to cut a range from.");
  }
  const Rational base = info.streams[static_cast<size_t>(info.video_stream)].time_base;
  const int64_t origin = TRY(first_shown_time(source, info.video_stream));
  const auto at = [&](double seconds) {
    int64_t ticks = 0;
    if (__builtin_add_overflow(origin, ticks_at_or_after(seconds, base), &ticks)) {
      ticks = INT64_MAX;
    }
    return MediaTime{ticks, base};
  };
  if (range.from) window.from = at(*range.from);
  if (range.to) window.to = at(*range.to);
  return window;
}

bool packet_in_range(const AVPacket& packet, const AVStream& stream, const PacketWindow& window) {
  if (stream.disposition & AV_DISPOSITION_ATTACHED_PIC) return true;
  const int64_t ticks = packet.pts != AV_NOPTS_VALUE ? packet.pts : packet.dts;
  if (ticks == AV_NOPTS_VALUE) return true;
  const MediaTime time{ticks, from_av(stream.time_base)};
  if (window.from && compare(time, *window.from) < 0) return false;
  return !window.to || compare(time, *window.to) < 0;
}

}  // namespace atelier::media
