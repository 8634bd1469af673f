// SPDX-License-Identifier: Apache-2.0
#include "model/tile_grid.h"

#include <algorithm>
#include <numeric>

#include "model/frame_fit.h"

namespace atelier::model {
namespace {

constexpr int kMostTiles = 64;  // along an axis

// By how much two neighbours of this length may be shifted, in units of `align`: so that a cut on
// the grid finds everything around it right in both.
int64_t most_shift(const AxisField& field, int64_t length) {
  const int64_t right = field.factor * length + field.rest - field.before - field.after -
                        int64_t{2} * kConversionMargin - (kCutGrid - 1);
  return std::max<int64_t>(right, 0) / field.factor / field.align;
}

// The cuts of tiles at these starts; empty if they are not in order within the frame.
std::vector<int> cuts_of(const AxisField& field, int64_t length, const std::vector<int>& starts,
                         int frame) {
  const int end = static_cast<int>(field.factor) * frame;
  std::vector<int> cuts{0};
  for (size_t i = 1; i < starts.size(); i++) {
    const int64_t first = field.factor * starts[i] + field.before + kConversionMargin;
    const int64_t last =
        field.factor * (starts[i - 1] + length) + field.rest - field.after - kConversionMargin;
    int64_t cut = (first + last) / 2 / kCutGrid * kCutGrid;
    if (cut < first) cut += kCutGrid;
    if (cut > last || cut <= cuts.back() || cut >= end) return {};
    cuts.push_back(static_cast<int>(cut));
  }
  cuts.push_back(end);
  return cuts;
}

// At most `count` tiles, as short as they can be. `net`: the length of the network's input, of
// which `frame` is the frame and the rest is padded.
std::optional<TileAxis> cut_axis(const AxisField& field, int net, int frame, int count) {
  if (count == 1) {
    return TileAxis{net, {0}, {0, static_cast<int>(field.factor) * frame}};
  }
  const int64_t padded = net - frame;
  // Reflection finds right pixels enough in the last tile.
  const int64_t least = 2 * padded + 4 * kInputMargin;
  for (int64_t units = (net - 1) / field.align; units > 0; units--) {
    const int64_t length = net - units * field.align;
    const int64_t shift = most_shift(field, length);
    if (length <= least || shift < 1) continue;
    std::vector<int> starts =
        tile_starts(static_cast<int>(units + shift), static_cast<int>(shift), 0);
    if (starts.size() > static_cast<size_t>(count)) continue;
    for (int& start : starts) start *= static_cast<int>(field.align);
    std::vector<int> cuts = cuts_of(field, length, starts, frame);
    if (cuts.empty()) continue;
    return TileAxis{static_cast<int>(length), std::move(starts), std::move(cuts)};
  }
  return std::nullopt;
}

std::vector<TileAxis> cut_axis_in_all_ways(const AxisField& field, int net, int frame) {
  std::vector<TileAxis> ways;
  for (int count = 1; count <= kMostTiles; count++) {
    std::optional<TileAxis> way = cut_axis(field, net, frame, count);
    // More tiles that are no shorter are of no use.
    if (!way || (!ways.empty() && way->length >= ways.back().length)) break;
    ways.push_back(std::move(*way));
  }
  return ways;
}

}  // namespace

int TileAxis::first_right(size_t i) const { return i == 0 ? 0 : cuts[i] - kConversionMargin; }

int TileAxis::end_right(size_t i) const {
  return i + 1 == starts.size() ? cuts[i + 1]
                                : std::min(cuts[i + 1] + kConversionMargin, cuts.back());
}

std::optional<TileGrid> choose_tiles(const ReceptiveField& network, const TileRequest& request) {
  // A tile begins with whole groups of chroma samples, too.
  ReceptiveField field = network;
  for (AxisField* axis : {&field.y, &field.x}) axis->align = std::lcm(axis->align, kCutGrid);
  const auto rows = cut_axis_in_all_ways(field.y, request.net.height, request.frame.height);
  const auto columns = cut_axis_in_all_ways(field.x, request.net.width, request.frame.width);
  const double whole = static_cast<double>(request.net.width) * request.net.height;
  std::optional<TileGrid> best;
  double best_bytes = 0, best_pixels = 0;
  for (const TileAxis& y : rows) {
    for (const TileAxis& x : columns) {
      const TileGrid grid{y, x};
      if (grid.count() == 1) continue;
      const double pixels = static_cast<double>(y.length) * x.length;
      const double bytes = request.bytes / whole * pixels;
      const double all = pixels * static_cast<double>(grid.count());
      const bool fits = bytes <= request.budget, best_fits = best_bytes <= request.budget;
      const bool better = fits && best_fits ? all < best_pixels : bytes < best_bytes;
      if (best && !better) continue;
      best = grid;
      best_bytes = bytes;
      best_pixels = all;
    }
  }
  return best;
}

}  // namespace atelier::model
