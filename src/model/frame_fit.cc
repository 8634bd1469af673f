// SPDX-License-Identifier: Apache-2.0
#include "model/frame_fit.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "model/resample.h"

namespace atelier::model {
namespace {

int reflect(int i, int n) {
  if (n == 1) return 0;
  const int period = 2 * (n - 1);
  i = ((i % period) + period) % period;
  return i < n ? i : period - i;
}

// Pixel (x, y) of `to` is pixel (x - at.x, y - at.y) of `part` of `from`, reflected beyond it.
void place(const Planes& from, const PictureRect& part, PlaneOffset at, Planes& to) {
  for (int c = 0; c < to.channels(); c++) {
    for (int y = 0; y < to.height(); y++) {
      const float* row = from.row(c, part.y + reflect(y - at.y, part.height)) + part.x;
      float* target = to.row(c, y);
      const int end = std::min(to.width(), at.x + part.width);
      for (int x = 0; x < at.x; x++) target[x] = row[reflect(x - at.x, part.width)];
      std::copy_n(row, std::max(end - at.x, 0), target + at.x);
      for (int x = end; x < to.width(); x++) target[x] = row[reflect(x - at.x, part.width)];
    }
  }
}

// How much each pixel of a tile counts along one axis, in pixels of the output.
std::vector<float> tile_weights(const std::vector<int>& starts, size_t index, int tile, int length,
                                const FrameFit& fit) {
  const float ramp = static_cast<float>(std::max(1, fit.overlap - 2 * fit.halo));
  const auto rise = [&](int inside) {
    return std::clamp((static_cast<float>(inside - fit.halo) + 0.5f) / ramp, 0.0f, 1.0f);
  };
  std::vector<float> weights;
  for (int x = 0; x < std::min(tile, length) * fit.factor; x++) {
    const int at = x / fit.factor;
    float weight = 1;
    if (index > 0) weight *= rise(at);
    if (index + 1 < starts.size()) weight *= rise(tile - 1 - at);
    weights.push_back(weight);
  }
  return weights;
}

struct Axis {
  std::vector<int> starts;
  std::vector<std::vector<float>> weights;  // of each tile; they sum to 1 at every pixel
};

Axis make_axis(int length, int tile, const FrameFit& fit) {
  Axis axis;
  axis.starts = tile_starts(length, tile, fit.overlap);
  std::vector<float> total(static_cast<size_t>(length) * static_cast<size_t>(fit.factor));
  for (size_t i = 0; i < axis.starts.size(); i++) {
    axis.weights.push_back(tile_weights(axis.starts, i, tile, length, fit));
    const size_t first = static_cast<size_t>(axis.starts[i] * fit.factor);
    for (size_t x = 0; x < axis.weights[i].size(); x++) total[first + x] += axis.weights[i][x];
  }
  for (size_t i = 0; i < axis.starts.size(); i++) {
    const size_t first = static_cast<size_t>(axis.starts[i] * fit.factor);
    for (size_t x = 0; x < axis.weights[i].size(); x++) axis.weights[i][x] /= total[first + x];
  }
  return axis;
}

// Pixels that do not count are not read: beyond the halo a network may make anything, NaN too.
void blend(const Planes& tile, const std::vector<float>& down, const std::vector<float>& across,
           PlaneOffset at, Planes& out) {
  for (int c = 0; c < out.channels(); c++) {
    for (size_t y = 0; y < down.size(); y++) {
      const float* from = tile.row(c, static_cast<int>(y));
      float* to = out.row(c, at.y + static_cast<int>(y)) + at.x;
      for (size_t x = 0; x < across.size(); x++) {
        const float weight = down[y] * across[x];
        if (weight > 0) to[x] += weight * from[x];
      }
    }
  }
}

Result<Planes> fit_tiles(const FrameFit& fit, const Planes& in, int out_channels,
                         const NetFunction& net) {
  const Axis x_axis = make_axis(in.width(), fit.net.width, fit);
  const Axis y_axis = make_axis(in.height(), fit.net.height, fit);
  Planes out(out_channels, in.width() * fit.factor, in.height() * fit.factor);
  Planes tile(in.channels(), fit.net.width, fit.net.height);
  Planes made(out_channels, fit.net.width * fit.factor, fit.net.height * fit.factor);
  for (size_t j = 0; j < y_axis.starts.size(); j++) {
    for (size_t i = 0; i < x_axis.starts.size(); i++) {
      const int x = x_axis.starts[i], y = y_axis.starts[j];
      const PictureRect part{x, y, std::min(fit.net.width, in.width() - x),
                             std::min(fit.net.height, in.height() - y)};
      place(in, part, {}, tile);
      TRY(net(tile, made));
      blend(made, y_axis.weights[j], x_axis.weights[i], {x * fit.factor, y * fit.factor}, out);
    }
  }
  return out;
}

Result<Planes> fit_scaled(const FrameFit& fit, const Planes& in, int out_channels,
                          const NetFunction& net) {
  Size inner = fit.net;
  if (fit.fit == ModelSpec::Fit::letterbox) {
    const double scale = std::min(static_cast<double>(fit.net.width) / in.width(),
                                  static_cast<double>(fit.net.height) / in.height());
    inner.width = std::clamp(static_cast<int>(std::lround(in.width() * scale)), 1, fit.net.width);
    inner.height =
        std::clamp(static_cast<int>(std::lround(in.height() * scale)), 1, fit.net.height);
  }
  const PlaneOffset at{(fit.net.width - inner.width) / 2, (fit.net.height - inner.height) / 2};
  Planes scaled(in.channels(), inner.width, inner.height);
  resample(in, {0, 0, in.width(), in.height()}, scaled);
  Planes given(in.channels(), fit.net.width, fit.net.height);
  place(scaled, {0, 0, inner.width, inner.height}, at, given);
  Planes made(out_channels, fit.net.width * fit.factor, fit.net.height * fit.factor);
  TRY(net(given, made));
  Planes out(out_channels, in.width() * fit.factor, in.height() * fit.factor);
  resample(
      made,
      {at.x * fit.factor, at.y * fit.factor, inner.width * fit.factor, inner.height * fit.factor},
      out);
  return out;
}

}  // namespace

std::vector<int> tile_starts(int length, int tile, int overlap) {
  if (length <= tile) return {0};
  const int step = tile - overlap;
  const int count = (length - overlap + step - 1) / step;
  std::vector<int> starts;
  for (int i = 0; i < count; i++) {
    starts.push_back(static_cast<int>(static_cast<int64_t>(i) * (length - tile) / (count - 1)));
  }
  return starts;
}

Result<Planes> fit_planes(const FrameFit& fit, const Planes& in, int out_channels,
                          const NetFunction& net) {
  if (fit.fit == ModelSpec::Fit::letterbox || fit.fit == ModelSpec::Fit::stretch) {
    return fit_scaled(fit, in, out_channels, net);
  }
  return fit_tiles(fit, in, out_channels, net);
}

Planes with_luma(const Planes& rgb, const Planes& luma, const Planes& made) {
  // The luma weights sum to one: what is added to all three changes luma alone.
  Planes chroma = rgb;
  for (int c = 0; c < 3; c++) {
    for (int y = 0; y < rgb.height(); y++) {
      float* row = chroma.row(c, y);
      for (int x = 0; x < rgb.width(); x++) row[x] -= luma.row(0, y)[x];
    }
  }
  Planes out(3, made.width(), made.height());
  resample(chroma, {0, 0, rgb.width(), rgb.height()}, out);
  for (int c = 0; c < 3; c++) {
    for (int y = 0; y < out.height(); y++) {
      float* row = out.row(c, y);
      for (int x = 0; x < out.width(); x++) row[x] += made.row(0, y)[x];
    }
  }
  return out;
}

}  // namespace atelier::model
