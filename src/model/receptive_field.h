// SPDX-License-Identifier: Apache-2.0
// Whether a part of a picture gives the same bits as the whole does there, and how near to the
// part's edges that ends.
//
// A convolution, a pool or a crop looks at pixels near the one that it makes. So the network over
// a tile makes what it makes over the whole picture, but near those edges of the tile that lie
// inside the picture: there it pads where the whole has pixels. Walking from the input to the
// output, each value is known by its scale and by how many of its rows are wrong at such an edge:
//
//   rows of the input wrong  ->  a convolution of reach k, stride s, padding p  ->  (wrong + p) / s
//
// Equal bits need more than equal mathematics. Strides must fall on the same pixels, so a tile
// begins at a multiple of `align`; and Winograd's outputs come by fours, each of which depends, in
// its rounding, on all of the six rows that are read for them: four more rows are wrong at every
// such layer, and `align` puts its grid where the whole picture's is.
//
// What looks at the whole picture (a normalisation by its own statistics, a mean over all pixels)
// or is not known here cannot be cut. The cost is one pass over the nodes and one over the
// constants. Both axes are walked alike and separately. Pure. Tested by receptive_field_test.cc
// and, bit for bit, tiled_runner_test.cc. Internal to src/model.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "model/plan_fast.h"

namespace atelier::model {

// Of the output, along one axis of the picture.
struct AxisField {
  int64_t align = 1;   // pixels of the input: tiles begin at multiples of it
  int64_t factor = 1;  // pixels of the output for one of the input
  // Pixels of the output that are wrong where the tile's first or last edge lies inside the
  // picture. At the picture's own edges none are. They hold for inputs whose length is that of the
  // graph's but for a multiple of `align`.
  int64_t before = 0;
  int64_t after = 0;
  int64_t rest = 0;  // the output is factor * input + rest long
  bool operator==(const AxisField&) const = default;
};

struct ReceptiveField {
  AxisField y, x;
  // What else must be the same in the tile's graph as in the picture's: how each node reads, the
  // sizes beside the scale, the constants. Without meaning of its own.
  std::vector<int64_t> trace;
  bool operator==(const ReceptiveField&) const = default;
};

// Of a graph with one output, a picture, made of one input, a picture, both of known size. A tile
// stands for a part of the picture if both graphs' fields are equal. `margin`: pixels of a tile's
// input that are wrong already at an inner edge. Errors: invalid_argument: the sentence says what
// cannot be cut, and why.
Result<ReceptiveField> receptive_field(const FastGraph& graph, int margin);

}  // namespace atelier::model
