// SPDX-License-Identifier: Apache-2.0
// How a frame is cut into tiles whose results, side by side, are those of the whole frame, bit for
// bit. Pure. Internal to src/model.
//
// All tiles have one size, so that one plan serves them. Along an axis the first begins at 0, the
// last ends at the end, and neighbours overlap by what is wrong near their inner edges
// (receptive_field.h). Where one tile's pixels end and the next one's begin is a cut. The overlap
// is computed twice, so the grid is the one that computes the fewest pixels: as few cuts as the
// memory allows, and across the longer side first.
#pragma once

#include <optional>
#include <vector>

#include "model/receptive_field.h"
#include "model/runner.h"

namespace atelier::model {

struct TileAxis {
  int length = 0;           // of every tile, pixels of the network's input
  std::vector<int> starts;  // multiples of the field's align and of kCutGrid
  // Pixels of the frame that comes out: tile i makes those from cuts[i] to cuts[i + 1]. Multiples
  // of kCutGrid but for the last.
  std::vector<int> cuts;
  // What of the frame that comes out is right in tile i: kConversionMargin more at an inner edge,
  // for conversions that look at neighbours.
  int first_right(size_t i) const;
  int end_right(size_t i) const;
};

struct TileGrid {
  TileAxis y, x;
  Size tile() const { return {x.length, y.length}; }
  size_t count() const { return y.starts.size() * x.starts.size(); }
};

inline constexpr int kCutGrid = 4;           // groups of chroma samples stay whole
inline constexpr int kConversionMargin = 8;  // decimating chroma by four looks so far
inline constexpr int kInputMargin = 4;       // so near to a cut, enlarging chroma is not exact

struct TileRequest {
  Size net;           // the frame as the network gets it: padded on the right and below
  Size frame;         // the frame that comes in
  double bytes = 0;   // that the whole would take; a tile takes its share of them
  double budget = 0;  // that a tile may take
};

// The grid that computes the fewest pixels within the budget; if no grid keeps it, the one whose
// tiles are smallest. Nothing if a frame this small cannot be cut.
std::optional<TileGrid> choose_tiles(const ReceptiveField& network, const TileRequest& request);

}  // namespace atelier::model
