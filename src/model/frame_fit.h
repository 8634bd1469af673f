// SPDX-License-Identifier: Apache-2.0
// Frames of one size through a network of another: in tiles, letterboxed or stretched, as the spec
// says; and networks that see luma alone. Pure but for the network, which is a function here.
// Internal to src/model.
#pragma once

#include <functional>

#include "model/planes.h"
#include "model/runner.h"

namespace atelier::model {

// Where the tiles of one axis begin, all of the same length: the first at 0, the last at the end,
// evenly between; neighbours share at least `overlap` pixels. One tile, at 0, where the axis is no
// longer than a tile. `overlap` is below `tile`.
std::vector<int> tile_starts(int length, int tile, int overlap);

struct FrameFit {
  ModelSpec::Fit fit = ModelSpec::Fit::tile;
  Size net;         // what the network takes
  int factor = 1;   // by which it enlarges
  int halo = 0;     // of a tile, pixels at an inner border that are never shown
  int overlap = 0;  // of tiles, at least 2 * halo: what is more blends one into the other
};

// Fills `out`, of fit.net, from `in`, of the same size. Errors are passed on.
using NetFunction = std::function<Result<void>(const Planes& in, Planes& out)>;

// The whole of `in`, through the network, enlarged by fit.factor. A picture smaller than a tile is
// padded by reflection, and so is a letterbox.
Result<Planes> fit_planes(const FrameFit& fit, const Planes& in, int out_channels,
                          const NetFunction& net);

// `rgb` (0..1) enlarged by bicubic interpolation with its luma replaced: `luma` is its own, `made`
// what the network made of that (both 0..1). The size is that of `made`.
Planes with_luma(const Planes& rgb, const Planes& luma, const Planes& made);

}  // namespace atelier::model
