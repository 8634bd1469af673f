// SPDX-License-Identifier: Apache-2.0
#include "model/winograd_check.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>

#include "model/kernels/conv.h"
#include "model/kernels/winograd.h"

namespace atelier::model {

namespace k = kernels;

namespace {

constexpr int kSide = 8;  // of the output: two tiles; the input has a pixel more on each side
constexpr double kHopeless = std::numeric_limits<double>::infinity();

struct Free {
  void operator()(float* p) const { std::free(p); }
};

// Zeros, as aligned as the kernels' vectors.
class Memory {
 public:
  explicit Memory(int64_t floats)
      : count_((floats + 15) / 16 * 16),
        floats_(static_cast<float*>(
            std::aligned_alloc(64, static_cast<size_t>(count_) * sizeof(float)))) {
    if (!floats_) throw std::bad_alloc();
    std::fill_n(floats_.get(), count_, 0.0F);
  }
  float* get() const { return floats_.get(); }

 private:
  int64_t count_;
  std::unique_ptr<float, Free> floats_;
};

struct Picture {
  Picture(int channels, int side)
      : memory(int64_t{(channels + k::kLanes - 1) / k::kLanes * k::kLanes} * side * side) {
    view.data = memory.get();
    view.channels = channels;
    view.height = view.width = side;
    view.row = int64_t{side} * k::kLanes;
    view.plane = view.row * side;
  }
  Memory memory;
  k::TensorView view;
};

// std::mt19937 is the same everywhere; the library's distributions are not.
void fill(const k::TensorView& view, float ground, float reach) {
  std::mt19937 random(1);
  for (int c = 0; c < view.channels; c++) {
    for (int y = 0; y < view.height; y++) {
      for (int x = 0; x < view.width; x++) {
        const float unit = static_cast<float>(random() >> 8) * 0x1p-23F - 1;
        view.at(c / k::kLanes, y, x)[c % k::kLanes] = ground + reach * unit;
      }
    }
  }
}

double error_between(const k::TensorView& got, const k::TensorView& expected) {
  double most = 0, largest = 0;
  for (int c = 0; c < expected.channels; c++) {
    for (int i = 0; i < kSide * kSide; i++) {
      const auto of = [&](const k::TensorView& v) {
        return double{v.at(c / k::kLanes, i / kSide, i % kSide)[c % k::kLanes]};
      };
      if (!std::isfinite(of(got)) || !std::isfinite(of(expected))) return kHopeless;
      most = std::max(most, std::abs(of(got) - of(expected)));
      largest = std::max(largest, std::abs(of(expected)));
    }
  }
  if (most == 0) return 0;
  return largest > 0 ? most / largest : kHopeless;
}

}  // namespace

double winograd_error(k::Isa isa, const float* weights, int out_channels, int in_channels) {
  k::ConvShape shape;
  shape.in_channels = in_channels;
  shape.out_channels = out_channels;
  shape.kernel_h = shape.kernel_w = 3;
  const k::WinogradWeights fast = k::pack_winograd(weights, nullptr, out_channels, in_channels);
  const k::DirectWeights direct =
      k::pack_direct(shape, weights, nullptr, 0, 0, k::float_block(in_channels));
  const Memory scratch(std::max(k::winograd_scratch(fast), k::direct_scratch(direct, 0)) + 16);
  const Picture in(in_channels, kSide + 2), got(out_channels, kSide), expected(out_channels, kSide);
  double worst = 0;
  for (const auto& [ground, reach] : {std::pair{0.0F, 1.0F}, {128.0F, 8.0F}}) {
    fill(in.view, ground, reach);
    k::conv_winograd(isa, in.view, 0, 0, fast, {}, scratch.get(), got.view, 1);
    k::conv_direct(isa, in.view, direct, {}, scratch.get(), expected.view, 1);
    worst = std::max(worst, error_between(got.view, expected.view));
  }
  return worst;
}

}  // namespace atelier::model
