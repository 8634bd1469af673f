// SPDX-License-Identifier: Apache-2.0
#include "model/range_finder.h"

#include <algorithm>
#include <cmath>

namespace atelier::model {
namespace {

constexpr int kRowStep = 3;
constexpr int kTries = 48;
constexpr double kLeastShare = 0.25;  // of the whole range
constexpr float kMostReach = 1e30f;   // beyond, a network computes nothing that means anything

}  // namespace

// Doubling the reach makes two bins one.
void RangeFinder::widen(float magnitude) {
  if (bins_.empty()) {
    bins_.assign(kBins, 0);
    reach_ = std::exp2(std::floor(std::log2(std::max(magnitude, 1e-20f))) + 1);
  }
  while (reach_ <= magnitude) {
    std::vector<int64_t> wider(kBins, 0);
    for (size_t i = 0; i < kBins; i++) wider[kBins / 4 + i / 2] += bins_[i];
    bins_ = std::move(wider);
    reach_ *= 2;
  }
}

void RangeFinder::add(float value) {
  const float magnitude = std::abs(value);
  if (!(magnitude < kMostReach)) return;
  if (magnitude >= reach_ || bins_.empty()) widen(magnitude);
  low_ = std::min(low_, value);
  high_ = std::max(high_, value);
  const int bin = static_cast<int>((static_cast<double>(value / reach_) + 1) * kHalf);
  bins_[static_cast<size_t>(std::clamp(bin, 0, kBins - 1))]++;
}

void RangeFinder::see(const kernels::TensorView& view) {
  for (int c = 0; c < view.channels; c++) {
    for (int y = 0; y < view.height; y += kRowStep) {
      const float* row = view.row_at(c / view.block, y) + c % view.block;
      for (int x = 0; x < view.width; x++) add(row[static_cast<int64_t>(x) * view.block]);
    }
  }
}

double RangeFinder::cost(double low, double high) const {
  const double step = (high - low) / 255;
  double sum = 0;
  int64_t count = 0;
  for (int i = 0; i < kBins; i++) {
    const int64_t n = bins_[static_cast<size_t>(i)];
    if (n == 0) continue;
    const double value = ((i + 0.5) / kHalf - 1) * static_cast<double>(reach_);
    const double cut = value < low ? low - value : value > high ? value - high : 0;
    sum += static_cast<double>(n) * cut * cut;
    count += n;
  }
  return sum + static_cast<double>(count) * step * step / 12;
}

Range RangeFinder::range() const {
  if (bins_.empty()) return {};
  double best = 1, least = cost(static_cast<double>(low_), static_cast<double>(high_));
  for (int i = 1; i < kTries; i++) {
    const double share = 1 - (1 - kLeastShare) * i / kTries;
    const double now = cost(static_cast<double>(low_) * share, static_cast<double>(high_) * share);
    if (now < least) {
      least = now;
      best = share;
    }
  }
  return {low_ * static_cast<float>(best), high_ * static_cast<float>(best)};
}

}  // namespace atelier::model
