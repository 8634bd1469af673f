// SPDX-License-Identifier: Apache-2.0
// Operators that move pixels and compute nothing. Each costs one pass over its output; threads
// share the output's rows.
#pragma once

#include <vector>

#include "model/kernels/conv.h"
#include "model/kernels/pointwise.h"
#include "model/kernels/tensor_view.h"

namespace atelier::model::kernels {

enum class PadMode { constant, reflect, edge };

// Output (y, x) is input (source_y[y], source_x[x]); -1 is `value`. Same channels and block: Pad,
// Slice and Resize (nearest) are all this.
void gather(const TensorView& in, const std::vector<int>& source_y,
            const std::vector<int>& source_x, float value, const TensorView& out, int threads);
void gather(const ByteView& in, const std::vector<int>& source_y, const std::vector<int>& source_x,
            uint8_t value, const ByteView& out, int threads);

// The same where `in` is a part of `out`, from row `top` and column `left`, whose sources are
// itself: only what lies around it is written.
void gather_around(const TensorView& in, int top, int left, const std::vector<int>& source_y,
                   const std::vector<int>& source_x, float value, const TensorView& out,
                   int threads);
void gather_around(const ByteView& in, int top, int left, const std::vector<int>& source_y,
                   const std::vector<int>& source_x, uint8_t value, const ByteView& out,
                   int threads);

// Coordinates of one axis for gather. reflect: without repeating the edge; `before` and `after`
// below `size`.
std::vector<int> pad_axis(int size, int before, int after, PadMode mode);
std::vector<int> slice_axis(int start, int step, int count);
std::vector<int> enlarge_axis(int size, int factor);

// ONNX DepthToSpace, and what of it is kept: from row `top` and column `left`, a multiple of
// `factor`. Any blocks. Then `ops`, which have no others, over each row while it is in L1.
struct DepthToSpace {
  int factor = 1;
  bool crd = false;  // mode CRD, otherwise DCR
  int top = 0, left = 0;
};
void depth_to_space(const TensorView& in, const DepthToSpace& how, const std::vector<PointOp>& ops,
                    const TensorView& out, int threads);

// Channels first, first + step... of the input. Any blocks.
void take_channels(const TensorView& in, int first, int step, const TensorView& out, int threads);

// Writes zeros around the picture.
void zero_halo(const TensorView& view, const Halo& halo);
void fill_halo(const ByteView& view, const Halo& halo, uint8_t value);

}  // namespace atelier::model::kernels
