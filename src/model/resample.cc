// SPDX-License-Identifier: Apache-2.0
#include "model/resample.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace atelier::model {
namespace {

struct Filter {
  int first = 0;
  std::vector<float> weights;
};

double keys(double x) {
  x = std::abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return ((-0.5 * x + 2.5) * x - 4) * x + 2;
  return 0;
}

// What of `from` samples makes sample `at` of `to`; beyond the ends the last one counts again.
Filter filter_at(int at, int from, int to) {
  const double scale = static_cast<double>(from) / to;
  const double widen = std::max(scale, 1.0);
  const double centre = (at + 0.5) * scale - 0.5;
  const int low = static_cast<int>(std::ceil(centre - 2 * widen));
  const int high = static_cast<int>(std::floor(centre + 2 * widen));
  Filter filter;
  filter.first = std::clamp(low, 0, from - 1);
  std::vector<double> sums(static_cast<size_t>(std::clamp(high, 0, from - 1) - filter.first) + 1);
  double total = 0;
  for (int i = low; i <= high; i++) {
    const double weight = keys((i - centre) / widen);
    sums[static_cast<size_t>(std::clamp(i, 0, from - 1) - filter.first)] += weight;
    total += weight;
  }
  for (const double sum : sums) filter.weights.push_back(static_cast<float>(sum / total));
  return filter;
}

std::vector<Filter> filters(int from, int to) {
  std::vector<Filter> all;
  for (int i = 0; i < to; i++) all.push_back(filter_at(i, from, to));
  return all;
}

}  // namespace

void resample(const Planes& in, const PictureRect& part, Planes& out) {
  const std::vector<Filter> across = filters(part.width, out.width());
  const std::vector<Filter> down = filters(part.height, out.height());
  Planes middle(in.channels(), out.width(), part.height);
  const int middle_rows = middle.channels() * middle.height();
#pragma omp parallel for schedule(static) if (middle_rows > 8)
  for (int i = 0; i < middle_rows; i++) {
    const int c = i / middle.height(), y = i % middle.height();
    const float* from = in.row(c, part.y + y) + part.x;
    float* to = middle.row(c, y);
    for (int x = 0; x < middle.width(); x++) {
      const Filter& filter = across[static_cast<size_t>(x)];
      float sum = 0;
      for (size_t k = 0; k < filter.weights.size(); k++) {
        sum += filter.weights[k] * from[static_cast<size_t>(filter.first) + k];
      }
      to[x] = sum;
    }
  }
  const int out_rows = out.channels() * out.height();
#pragma omp parallel for schedule(static) if (out_rows > 8)
  for (int i = 0; i < out_rows; i++) {
    const int c = i / out.height(), y = i % out.height();
    const Filter& filter = down[static_cast<size_t>(y)];
    float* to = out.row(c, y);
    std::fill_n(to, out.width(), 0.0f);
    for (size_t k = 0; k < filter.weights.size(); k++) {
      const float* from = middle.row(c, filter.first + static_cast<int>(k));
      for (int x = 0; x < out.width(); x++) to[x] += filter.weights[k] * from[x];
    }
  }
}

}  // namespace atelier::model
