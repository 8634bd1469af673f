// SPDX-License-Identifier: Apache-2.0
// Mean and variance of what enters each InstanceNormalization, over all frames that were scored
// while it looked. Internal to src/model; see Runner::measure.
//
// Two passes over each plane in double, planes merged as Chan, Golub and LeVeque (1979) do. Merging
// is the law of total variance: the variance of all frames together is the mean of their variances
// and the variance of their means, so frames of one shot that differ in brightness widen it. Each
// channel is summed by one thread in one order: the bits do not depend on the number of threads.
// The cost is two more passes over the tensors that are normalised: a tenth of scoring the frame.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "model/kernels/tensor_view.h"
#include "model/runner.h"

namespace atelier::model {

class StatisticsTaker {
 public:
  // What `node` is about to normalise.
  void see(const std::string& node, const kernels::TensorView& view, int threads);
  // Of every node that was seen, over all pixels of all frames.
  Statistics result() const;

 private:
  struct Moments {
    double count = 0, mean = 0, deviation = 0;  // deviation: sum of squares from the mean
    void merge(const Moments& more);
  };
  static void add_group(const kernels::TensorView& view, int group, std::vector<Moments>& channels);
  std::map<std::string, std::vector<Moments>> nodes_;
};

}  // namespace atelier::model
