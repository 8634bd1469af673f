// SPDX-License-Identifier: Apache-2.0
// The sum of products behind Conv, ConvInteger and QLinearConv.
#pragma once

#include "model/ops/window.h"

namespace atelier::model::ops {

struct Convolution {
  Window window;
  int64_t batch = 0;
  int64_t channels = 0;  // of the input
  int64_t maps = 0;      // channels of the output
  int64_t groups = 1;
  Ints shape;  // of the output
};

// Of [N, C, ...] with weights [M, C / group, ...]; the output is not yet bounded.
Result<Convolution> make_convolution(const Call& call, const Ints& in, const Ints& weights);

// store(index of the row's first output, map, sums of the row) for every row of the output. Sums
// start with start(map). In double, in the order of channels, then of taps.
template <class Start, class Store>
void convolve(const Convolution& c, const float* in, const float* weights, int threads, Start start,
              Store store) {
  const Window& w = c.window;
  const int64_t per_map = c.channels / c.groups;
  const int64_t per_group = c.maps / c.groups;
  // The outputs of a row that tap j reaches, the same for every row.
  std::vector<std::pair<int64_t, int64_t>> reached;
  for (int64_t j = 0; j < w.kernel[2]; ++j) {
    reached.push_back(inside(j * w.dilation[2] - w.begin[2], w.stride[2], w.out[2], w.in[2]));
  }
  parallel(threads, c.batch * c.maps * w.out[0] * w.out[1], [&](int64_t begin, int64_t end) {
    std::vector<double> sums(static_cast<size_t>(w.out[2]));
    for (int64_t row = begin; row < end; ++row) {
      const int64_t map = row / w.out[1] / w.out[0] % c.maps;
      const Taps zs = taps(w, 0, row / w.out[1] % w.out[0]);
      const Taps ys = taps(w, 1, row % w.out[1]);
      std::fill(sums.begin(), sums.end(), start(map));
      const int64_t image = row / w.out[1] / w.out[0] / c.maps * c.channels;
      for (int64_t ch = 0; ch < per_map; ++ch) {
        const float* plane = in + (image + map / per_group * per_map + ch) * w.in_size();
        const float* kernel = weights + (map * per_map + ch) * w.kernel_size();
        for (int64_t k = zs.first; k < zs.last; ++k) {
          const int64_t z = zs.start + k * w.dilation[0];
          for (int64_t i = ys.first; i < ys.last; ++i) {
            const float* line = plane + (z * w.in[1] + ys.start + i * w.dilation[1]) * w.in[2];
            for (int64_t j = 0; j < w.kernel[2]; ++j) {
              const double weight = kernel[(k * w.kernel[1] + i) * w.kernel[2] + j];
              const int64_t at = j * w.dilation[2] - w.begin[2];
              const auto [first, last] = reached[j];
              if (w.stride[2] == 1) {
                for (int64_t x = first; x < last; ++x) sums[x] += weight * line[at + x];
              } else {
                for (int64_t x = first; x < last; ++x) {
                  sums[x] += weight * line[at + x * w.stride[2]];
                }
              }
            }
          }
        }
      }
      store(row * w.out[2], map, sums);
    }
  });
}

}  // namespace atelier::model::ops
