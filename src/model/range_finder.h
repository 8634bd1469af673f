// SPDX-License-Identifier: Apache-2.0
// Which range of a tensor's values is worth 256 steps. Internal to src/model.
//
// A wide range cuts nothing off but rounds all values coarsely. Of a histogram of what was seen,
// the range is taken that makes the expected squared error least: what is cut off, plus
// step * step / 12 for what is not. The cost is one pass over every third row of a tensor.
#pragma once

#include <cstdint>
#include <vector>

#include "model/kernels/tensor_view.h"
#include "model/runner.h"

namespace atelier::model {

class RangeFinder {
 public:
  // What is not finite is not counted.
  void see(const kernels::TensorView& view);
  // {0, 0} if nothing was seen. Contains zero.
  Range range() const;

 private:
  static constexpr int kBins = 4096;
  static constexpr double kHalf = kBins * 0.5;  // zero is in the middle
  void add(float value);
  void widen(float magnitude);
  double cost(double low, double high) const;

  float reach_ = 0;            // bins cover [-reach, reach), a power of two
  std::vector<int64_t> bins_;  // kBins
  float low_ = 0, high_ = 0;
};

}  // namespace atelier::model
