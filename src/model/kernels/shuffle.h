// SPDX-License-Identifier: Apache-2.0
// Operators that move pixels and compute nothing. Each costs one pass over its output; threads
// share the output's rows.
#pragma once

#include <vector>

#include "model/kernels/conv.h"
#include "model/kernels/tensor_view.h"

namespace atelier::model::kernels {

enum class PadMode { constant, reflect, edge };

// Output (y, x) is input (source_y[y], source_x[x]); -1 is `value`. Same channels and block: Pad,
// Slice and Resize (nearest) are all this.
void gather(const TensorView& in, const std::vector<int>& source_y,
            const std::vector<int>& source_x, float value, const TensorView& out, int threads);

// The same where `in` is a part of `out`, from row `top` and column `left`, whose sources are
// itself: only what lies around it is written.
void gather_around(const TensorView& in, int top, int left, const std::vector<int>& source_y,
                   const std::vector<int>& source_x, float value, const TensorView& out,
                   int threads);

// Coordinates of one axis for gather. reflect: without repeating the edge; `before` and `after`
// below `size`.
std::vector<int> pad_axis(int size, int before, int after, PadMode mode);
std::vector<int> slice_axis(int start, int step, int count);
std::vector<int> enlarge_axis(int size, int factor);

// ONNX DepthToSpace; `crd`: mode CRD, otherwise DCR. Any blocks.
void depth_to_space(const TensorView& in, int factor, bool crd, const TensorView& out, int threads);

// Channels first, first + step... of the input. Any blocks.
void take_channels(const TensorView& in, int first, int step, const TensorView& out, int threads);

// Writes zeros around the picture.
void zero_halo(const TensorView& view, const Halo& halo);
void fill_halo(const ByteView& view, const Halo& halo, uint8_t value);

}  // namespace atelier::model::kernels
