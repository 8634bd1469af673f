// SPDX-License-Identifier: Apache-2.0
#include "run/planner.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

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

// A packet that is shown, and its place in the file.
struct Shown {
  int64_t pts;
  size_t place;
  auto operator<=>(const Shown&) const = default;
};

std::vector<Shown> shown_packets(const std::vector<VideoPacket>& packets) {
  std::vector<Shown> shown;
  for (size_t place = 0; place < packets.size(); ++place) {
    if (!packets[place].discard) shown.push_back({packets[place].pts, place});
  }
  std::sort(shown.begin(), shown.end());
  return shown;
}

// Of the packets that are shown in [from, last], those that lie first and last in the file.
std::pair<Shown, Shown> ends_in_file(const std::vector<Shown>& shown, int64_t from, int64_t last) {
  const auto by_place = [](const Shown& a, const Shown& b) { return a.place < b.place; };
  const auto begin = std::lower_bound(shown.begin(), shown.end(), Shown{from, 0});
  const auto end = std::find_if(begin, shown.end(), [&](const Shown& s) { return s.pts > last; });
  if (begin == end) return {{from, std::numeric_limits<size_t>::max()}, {from, 0}};
  const auto [lowest, highest] = std::minmax_element(begin, end, by_place);
  return {*lowest, *highest};
}

// Of a sound file every key packet shown before a frame precedes it, too. Damage may give a frame
// a time far from where it is decoded: no decoder that starts behind it would find it.
std::optional<int64_t> latest_key(const std::vector<VideoPacket>& packets, int64_t pts,
                                  size_t place) {
  std::optional<int64_t> dts;
  for (size_t i = 0; i < packets.size() && i <= place; ++i) {
    const VideoPacket& packet = packets[i];
    if (packet.key && packet.pts <= pts && packet.dts != std::numeric_limits<int64_t>::min())
      dts = packet.dts;
  }
  return dts;
}

}  // namespace

std::optional<int64_t> key_before(const std::vector<VideoPacket>& packets, int64_t pts) {
  return latest_key(packets, pts, ends_in_file(shown_packets(packets), pts, pts).first.place);
}

Result<std::vector<ChunkPlan>> plan_chunks(const media::PacketScan& scan,
                                           const media::TimeRange& range, double chunk_seconds,
                                           bool deinterlace) {
  const std::vector<Shown> shown = shown_packets(scan.packets);
  std::vector<int64_t> times;
  std::vector<int64_t> keys;
  for (const Shown& each : shown) {
    times.push_back(each.pts);
    if (scan.packets[each.place].key) keys.push_back(each.pts);
  }
  if (times.empty()) return make_error(Code::invalid_input, "The video stream shows no frame.");
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
    chunks.push_back(
        {0, first, end_of_run, std::nullopt, 0, times.size(), std::nullopt, std::nullopt});
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
    const int64_t from = chunk.context_pts.value_or(chunk.first_pts);
    const auto [first, last] = ends_in_file(shown, from, times[end - 1]);
    chunk.key_dts = latest_key(scan.packets, from, first.place);
    chunk.last_pts = last.pts;
    chunk.first_frame = start;
    chunk.frames = end - start;
    chunks.push_back(chunk);
    start = end;
  }
  return chunks;
}

}  // namespace atelier::run
