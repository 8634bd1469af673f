// SPDX-License-Identifier: Apache-2.0
// Bicubic scaling of float planes (Keys 1981, a = -1/2), pixel centres aligned, edges repeated.
// When a side shrinks the filter widens with it, so that nothing aliases. Separable: rows, then
// columns. Sums are in a fixed order: bits do not depend on threads. Internal to src/model.
#pragma once

#include "model/planes.h"

namespace atelier::model {

// The part of `in` from (x, y) of `width` x `height` in pixels, scaled to fill `out`, whose
// channels are those of `in`. The part must lie within `in`.
struct PictureRect {
  int x = 0;
  int y = 0;
  int width = 0;
  int height = 0;
};
void resample(const Planes& in, const PictureRect& part, Planes& out);

}  // namespace atelier::model
