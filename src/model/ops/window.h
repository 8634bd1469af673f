// SPDX-License-Identifier: Apache-2.0
// The sliding window of convolutions and pools, over one, two or three axes.
#pragma once

#include <array>
#include <vector>

#include "model/ops/call.h"

namespace atelier::model::ops {

// Three spatial axes; the missing ones come first and have a size of one.
struct Window {
  using Axes = std::array<int64_t, 3>;
  Axes in{1, 1, 1}, out{1, 1, 1}, kernel{1, 1, 1}, stride{1, 1, 1}, dilation{1, 1, 1};
  Axes begin{0, 0, 0}, end{0, 0, 0};  // padding; negative cuts

  int64_t in_size() const { return in[0] * in[1] * in[2]; }
  int64_t out_size() const { return out[0] * out[1] * out[2]; }
  int64_t kernel_size() const { return kernel[0] * kernel[1] * kernel[2]; }
  int64_t reach(size_t axis) const { return (kernel[axis] - 1) * dilation[axis] + 1; }
};

// Attributes kernel_shape (which `kernel` must equal if there), strides, dilations, pads, auto_pad
// and ceil_mode. `shape` is [N, C, ...] with one to three spatial axes. Sizes of the output are at
// least 1, and checked no further. With ceil_mode, a last window that would begin behind the data
// and its padding is dropped: it would see nothing.
Result<Window> make_window(const Call& call, const Ints& shape, const Ints& kernel);
// The same without the size of the output: kernel, strides, dilations and pads.
Result<Window> window_attributes(const Call& call, const Ints& shape, const Ints& kernel);

// N, C and the `axes` spatial sizes of the output.
Ints output_shape(const Ints& in, int64_t channels, const Window::Axes& out);

// The taps of one output position that lie inside the data: source = first_source + i * dilation
// for taps first <= i < last.
struct Taps {
  int64_t first = 0;
  int64_t last = 0;
  int64_t start = 0;  // source of tap 0
};
Taps taps(const Window& window, size_t axis, int64_t position);

// All i in [0, count) with 0 <= start + i * step < size, as [first, last).
std::pair<int64_t, int64_t> inside(int64_t start, int64_t step, int64_t count, int64_t size);

}  // namespace atelier::model::ops
