// SPDX-License-Identifier: Apache-2.0
#include "model/ops/window.h"

#include <algorithm>

namespace atelier::model::ops {
namespace {

// Attributes beyond this make no sense, and within it no product of two of them overflows.
constexpr int64_t kMost = int64_t{1} << 30;

Result<void> read(const Call& call, const char* key, size_t axes, int64_t least,
                  Window::Axes& into) {
  const Ints values = call.node.attr_ints(key, {});
  if (values.empty()) return {};
  if (values.size() != axes) return call.refuse("has {} of another length", key);
  for (size_t i = 0; i < axes; ++i) {
    if (values[i] < least || values[i] > kMost) return call.refuse("has {} of {}", key, values[i]);
    into[3 - axes + i] = values[i];
  }
  return {};
}

Result<void> read_pads(const Call& call, size_t axes, Window& window) {
  const Ints pads = call.node.attr_ints("pads", {});
  if (pads.empty()) return {};
  if (pads.size() != 2 * axes) return call.refuse("has pads of another length");
  for (size_t i = 0; i < axes; ++i) {
    for (const int64_t pad : {pads[i], pads[axes + i]}) {
      if (pad < -kMost || pad > kMost) return call.refuse("has pads of {}", pad);
    }
    window.begin[3 - axes + i] = pads[i];
    window.end[3 - axes + i] = pads[axes + i];
  }
  return {};
}

}  // namespace

Result<Window> window_attributes(const Call& call, const Ints& shape, const Ints& kernel) {
  if (shape.size() < 3 || shape.size() > 5) {
    return call.refuse("gets {} axes instead of a batch of channels with 1 to 3 axes",
                       shape.size());
  }
  const size_t axes = shape.size() - 2;
  if (kernel.size() != axes) return call.refuse("has a kernel of {} axes", kernel.size());
  Window window;
  for (size_t i = 0; i < axes; ++i) {
    window.in[3 - axes + i] = shape[2 + i];
    if (kernel[i] < 1 || kernel[i] > kMost || shape[2 + i] > kMost) {
      return call.refuse("slides a kernel of {} over {}", kernel[i], shape[2 + i]);
    }
    window.kernel[3 - axes + i] = kernel[i];
  }
  TRY(read(call, "strides", axes, 1, window.stride));
  TRY(read(call, "dilations", axes, 1, window.dilation));
  TRY(read_pads(call, axes, window));
  return window;
}

Result<Window> make_window(const Call& call, const Ints& shape, const Ints& kernel) {
  Window window = TRY(window_attributes(call, shape, kernel));
  const std::string automatic = call.node.attr_string("auto_pad", "NOTSET");
  const bool same = automatic == "SAME_UPPER" || automatic == "SAME_LOWER";
  const bool valid = automatic == "VALID";
  if (!same && !valid && automatic != "NOTSET") return call.refuse("has an unknown auto_pad");
  const bool ceil = call.node.attr_int("ceil_mode", 0) != 0;
  for (size_t i = 5 - shape.size(); i < 3; ++i) {
    const int64_t in = window.in[i];
    const int64_t stride = window.stride[i];
    if (valid) window.begin[i] = window.end[i] = 0;
    if (same) {
      window.out[i] = (in + stride - 1) / stride;
      const int64_t total =
          std::max<int64_t>((window.out[i] - 1) * stride + window.reach(i) - in, 0);
      window.begin[i] = automatic == "SAME_UPPER" ? total / 2 : total - total / 2;
      window.end[i] = total - window.begin[i];
    } else {
      const int64_t room = in + window.begin[i] + window.end[i] - window.reach(i);
      if (room < 0) return call.refuse("gets a picture smaller than its kernel");
      window.out[i] = room / stride + 1;
      if (ceil && room % stride != 0 && window.out[i] * stride < in + window.begin[i]) {
        ++window.out[i];
      }
    }
    if (window.out[i] < 1) return call.refuse("gets a picture smaller than its kernel");
  }
  return window;
}

Ints output_shape(const Ints& in, int64_t channels, const Window::Axes& out) {
  Ints shape{in[0], channels};
  for (size_t i = 5 - in.size(); i < 3; ++i) shape.push_back(out[i]);
  return shape;
}

std::pair<int64_t, int64_t> inside(int64_t start, int64_t step, int64_t count, int64_t size) {
  const int64_t first = start >= 0 ? 0 : (-start + step - 1) / step;
  const int64_t last = start >= size ? 0 : std::min(count, (size - start + step - 1) / step);
  return {first, std::max(first, last)};
}

Taps taps(const Window& window, size_t axis, int64_t position) {
  Taps found;
  found.start = position * window.stride[axis] - window.begin[axis];
  const auto [first, last] =
      inside(found.start, window.dilation[axis], window.kernel[axis], window.in[axis]);
  found.first = first;
  found.last = last;
  return found;
}

}  // namespace atelier::model::ops
