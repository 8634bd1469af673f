// SPDX-License-Identifier: Apache-2.0
#include "run/planner.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace atelier::run {
namespace {

using media::VideoPacket;

struct Window {
  int64_t from;
  int64_t to;  // exclusive
};

int64_t sum(int64_t a, int64_t b) {
  int64_t result = 0;
  if (!__builtin_add_overflow(a, b, &result)) return result;
  return b < 0 ? std::numeric_limits<int64_t>::min() : std::numeric_limits<int64_t>::max();
}

Window window_of(const media::TimeRange& range, int64_t origin, Rational base) {
  Window window{std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()};
  if (range.from) window.from = sum(origin, ticks_at_or_after(*range.from, base));
  if (range.to) window.to = sum(origin, ticks_at_or_after(*range.to, base));
  return window;
}

// Index of the frame at which the chunk that starts with frame `start` ends.
size_t cut_after(const std::vector<int64_t>& times, const std::vector<int64_t>& keys, size_t start,
                 int64_t length) {
  const int64_t begin = times[start];
  const int64_t goal = sum(begin, length);
  if (times.back() < sum(goal, length / 2)) return times.size();
  std::optional<int64_t> best;
  for (auto key = std::upper_bound(keys.begin(), keys.end(), sum(begin, length / 2));
       key != keys.end() && *key <= sum(goal, length / 2); ++key) {
    if (!best || std::abs(*key - goal) < std::abs(*best - goal)) best = *key;
  }
  const auto cut = std::lower_bound(times.begin(), times.end(), best.value_or(goal));
  return std::max(static_cast<size_t>(cut - times.begin()), start + 1);
}

}  // namespace

std::optional<int64_t> key_before(const std::vector<VideoPacket>& packets, int64_t pts) {
  std::optional<int64_t> dts;
  for (const VideoPacket& packet : packets) {
    if (packet.key && packet.pts <= pts && packet.dts != std::numeric_limits<int64_t>::min())
      dts = packet.dts;
  }
  return dts;
}

Result<std::vector<ChunkPlan>> plan_chunks(const media::PacketScan& scan,
                                           const media::TimeRange& range, double chunk_seconds,
                                           bool deinterlace) {
  std::vector<int64_t> times;
  std::vector<int64_t> keys;
  for (const VideoPacket& packet : scan.packets) {
    if (packet.discard) continue;
    times.push_back(packet.pts);
    if (packet.key) keys.push_back(packet.pts);
  }
  if (times.empty()) return make_error(Code::invalid_input, "The video stream shows no frame.");
  std::sort(times.begin(), times.end());
  std::sort(keys.begin(), keys.end());
  const double length_seconds = MediaTime{times.back() - times.front(), scan.time_base}.seconds();
  const std::vector<int64_t> all_times = deinterlace ? times : std::vector<int64_t>();
  const Window window = window_of(range, times.front(), scan.time_base);
  std::erase_if(times, [&](int64_t t) { return t < window.from || t >= window.to; });
  if (times.empty()) {
    return make_error(Code::invalid_input,
                      "No frame lies between --from and --to: the last one is at {:.3f} s.",
                      length_seconds);
  }

  const auto end_of_run = range.to ? std::optional(window.to) : std::nullopt;
  std::vector<ChunkPlan> chunks;
  if (!scan.pts_exact) {
    const int64_t first = range.from ? window.from : times.front();
    chunks.push_back({0, first, end_of_run, std::nullopt, 0, times.size(), std::nullopt});
    return chunks;
  }
  const int64_t length = std::max<int64_t>(1, std::llround(chunk_seconds / scan.time_base.value()));
  for (size_t start = 0; start < times.size();) {
    const size_t end = cut_after(times, keys, start, length);
    ChunkPlan chunk;
    chunk.index = static_cast<int>(chunks.size());
    chunk.first_pts = times[start];
    chunk.end_pts = end < times.size() ? std::optional(times[end]) : end_of_run;
    const auto here = std::lower_bound(all_times.begin(), all_times.end(), chunk.first_pts);
    if (here != all_times.begin()) chunk.context_pts = *std::prev(here);
    chunk.key_dts = key_before(scan.packets, chunk.context_pts.value_or(chunk.first_pts));
    chunk.first_frame = start;
    chunk.frames = end - start;
    chunks.push_back(chunk);
    start = end;
  }
  return chunks;
}

}  // namespace atelier::run
