// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "model/ops/convolve.h"

namespace atelier::model::ops {

Result<Convolution> make_convolution(const Call& call, const Ints& in, const Ints& weights) {
  if (weights.size() != in.size() || in.size() < 3) {
    return call.refuse("gets {} axes and weights of {}", in.size(), weights.size());
  }
  const Ints kernel(weights.begin() + 2, weights.end());
  if (call.node.attr_ints("kernel_shape", kernel) != kernel) {
    return call.refuse("has a kernel_shape other than its weights");
  }
  Convolution c;
  c.groups = call.node.attr_int("group", 1);
  c.batch = in[0];
  c.channels = in[1];
  c.maps = weights[0];
  if (c.groups < 1 || c.groups > c.channels || c.channels % c.groups != 0 || c.maps < c.groups ||
      c.maps % c.groups != 0 || weights[1] != c.channels / c.groups) {
    return call.refuse("gets {} channels for weights of {} in {} groups", c.channels, weights[1],
                       c.groups);
  }
  c.window = TRY(make_window(call, in, kernel));
  c.shape = output_shape(in, c.maps, c.window.out);
  return c;
}

namespace {

Result<Values> conv(const Call& call) {
  const Tensor& in = call.in(0);
  const Convolution c = TRY(make_convolution(call, in.shape, call.in(1).shape));
  const float* bias = call.has(2) ? call.in(2).floats.data() : nullptr;
  if (call.has(2) && call.in(2).shape != Ints{c.maps}) return call.refuse("gets another bias");
  Tensor out = TRY(call.make(in.type, c.shape));
  if (out.count() == 0) return one(std::move(out));
  convolve(
      c, in.floats.data(), call.in(1).floats.data(), call.options.threads,
      [bias](int64_t map) { return bias != nullptr ? double{bias[map]} : 0.0; },
      [&](int64_t at, int64_t, const std::vector<double>& sums) {
        std::transform(sums.begin(), sums.end(), out.floats.begin() + at,
                       [](double sum) { return static_cast<float>(sum); });
      });
  return one(std::move(out));
}

// Sets the sizes of the output and, from auto_pad or output_shape, the padding (onnx Operators.md,
// ConvTranspose; up to opset 10 Changelog.md, ConvTranspose-1).
Result<void> transposed_size(const Call& call, size_t axes, Window& w) {
  const std::string automatic = call.node.attr_string("auto_pad", "NOTSET");
  const bool upper = automatic == "SAME_UPPER";
  const bool old = call.node.attr_int(kOddPaddingOfOpset10, 0) != 0;
  const bool same = upper || automatic == "SAME_LOWER";
  const Ints extra = call.node.attr_ints("output_padding", Ints(axes, 0));
  Ints wanted = call.node.attr_ints("output_shape", {});
  if (wanted.size() == axes + 2) wanted.erase(wanted.begin(), wanted.begin() + 2);
  if (extra.size() != axes || (!wanted.empty() && wanted.size() != axes)) {
    return call.refuse("has output_padding or output_shape of another length");
  }
  for (size_t i = 0; i < axes; ++i) {
    const size_t at = 3 - axes + i;
    if (extra[i] < 0 || extra[i] >= std::max(w.stride[at], w.dilation[at])) {
      return call.refuse("has output_padding of {}", extra[i]);
    }
    if (!wanted.empty() && wanted[i] < 1) return call.refuse("has output_shape of {}", wanted[i]);
    if (automatic == "VALID") w.begin[at] = w.end[at] = 0;
    const int64_t full = w.stride[at] * (w.in[at] - 1) + extra[i] + w.reach(at);
    if (same || !wanted.empty()) {
      w.out[at] = wanted.empty() ? w.in[at] * w.stride[at] : wanted[i];
      const int64_t total = std::max<int64_t>(full - w.out[at], 0);
      w.begin[at] = upper != old ? total / 2 : total - total / 2;
    } else {
      w.out[at] = full - w.begin[at] - w.end[at];
    }
    if (w.out[at] < 1 || w.in[at] < 1) return call.refuse("would make a picture of no size");
  }
  return {};
}

// Adds one plane of the input, spread by one kernel, to the sums of one plane of the output.
void spread(const Window& w, const float* in, const float* kernel, std::vector<double>& sums) {
  for (int64_t row = 0; row < w.in[0] * w.in[1]; ++row) {
    const int64_t z = row / w.in[1] * w.stride[0] - w.begin[0];
    const int64_t y = row % w.in[1] * w.stride[1] - w.begin[1];
    const float* line = in + row * w.in[2];
    const auto [k0, k1] = inside(z, w.dilation[0], w.kernel[0], w.out[0]);
    const auto [i0, i1] = inside(y, w.dilation[1], w.kernel[1], w.out[1]);
    for (int64_t k = k0; k < k1; ++k) {
      for (int64_t i = i0; i < i1; ++i) {
        const int64_t to_line =
            ((z + k * w.dilation[0]) * w.out[1] + y + i * w.dilation[1]) * w.out[2];
        for (int64_t j = 0; j < w.kernel[2]; ++j) {
          const double weight = kernel[(k * w.kernel[1] + i) * w.kernel[2] + j];
          const int64_t at = j * w.dilation[2] - w.begin[2];
          const auto [first, last] = inside(at, w.stride[2], w.in[2], w.out[2]);
          for (int64_t x = first; x < last; ++x) {
            sums[to_line + at + x * w.stride[2]] += weight * line[x];
          }
        }
      }
    }
  }
}

Result<Values> conv_transpose(const Call& call) {
  const Tensor& in = call.in(0);
  const Tensor& weights = call.in(1);
  if (weights.shape.size() != in.shape.size() || in.shape.size() < 3) {
    return call.refuse("gets {} axes and weights of {}", in.shape.size(), weights.shape.size());
  }
  const Ints kernel(weights.shape.begin() + 2, weights.shape.end());
  if (call.node.attr_ints("kernel_shape", kernel) != kernel) {
    return call.refuse("has a kernel_shape other than its weights");
  }
  const int64_t channels = in.shape[1];
  const int64_t groups = call.node.attr_int("group", 1);
  if (groups < 1 || groups > channels || channels % groups != 0 || weights.shape[0] != channels) {
    return call.refuse("gets {} channels for weights of {}", channels, weights.shape[0]);
  }
  Window w = TRY(window_attributes(call, in.shape, kernel));
  TRY(transposed_size(call, in.shape.size() - 2, w));
  const int64_t per_group = weights.shape[1];
  int64_t maps = 0;
  if (__builtin_mul_overflow(per_group, groups, &maps)) return call.refuse("has too many maps");
  if (call.has(2) && call.in(2).shape != Ints{maps}) return call.refuse("gets another bias");
  Tensor out = TRY(call.make(in.type, output_shape(in.shape, maps, w.out)));
  if (out.count() == 0) return one(std::move(out));
  const int64_t inputs = channels / groups;
  parallel(call.options.threads, in.shape[0] * maps, [&](int64_t begin, int64_t end) {
    std::vector<double> sums(static_cast<size_t>(w.out_size()));
    for (int64_t plane = begin; plane < end; ++plane) {
      const int64_t map = plane % maps;
      std::fill(sums.begin(), sums.end(), call.has(2) ? double{call.in(2).floats[map]} : 0.0);
      for (int64_t i = 0; i < inputs; ++i) {
        const int64_t c = map / per_group * inputs + i;
        spread(w, in.floats.data() + (plane / maps * channels + c) * w.in_size(),
               weights.floats.data() + (c * per_group + map % per_group) * w.kernel_size(), sums);
      }
      std::transform(sums.begin(), sums.end(), out.floats.begin() + plane * w.out_size(),
                     [](double sum) { return static_cast<float>(sum); });
    }
  });
  return one(std::move(out));
}

constexpr Operator kOperators[] = {
    {"Conv", 2, 3, "f", conv},
    {"ConvTranspose", 2, 3, "f", conv_transpose},
};

}  // namespace

std::span<const Operator> conv_operators() { return kOperators; }

}  // namespace atelier::model::ops
