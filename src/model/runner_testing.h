// SPDX-License-Identifier: Apache-2.0
// What the tests of runners share.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "model/runner.h"

namespace atelier::model {

inline Tensor noise(std::vector<int64_t> shape, uint32_t seed, float low = -1, float high = 1) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> values(low, high);
  Tensor tensor;
  tensor.shape = std::move(shape);
  tensor.floats.resize(static_cast<size_t>(tensor.count()));
  for (float& v : tensor.floats) v = values(random);
  return tensor;
}

inline std::unique_ptr<Runner> runner(const Graph& graph, const RunnerOptions& options) {
  ModelSpec spec;
  spec.name = "net";
  spec.input = graph.inputs[0].name;
  spec.output = graph.outputs[0].name;
  auto made = make_onednn_runner(graph, spec, options);
  EXPECT_TRUE(made.ok()) << made.error().message;
  return made.ok() ? std::move(*made) : nullptr;
}

inline std::unique_ptr<Runner> runner(const Graph& graph, int threads = 2,
                                      std::vector<PlanStep> plan = {}) {
  RunnerOptions options;
  options.threads = threads;
  options.plan = std::move(plan);
  return runner(graph, options);
}

// All outputs of two runs that must have gone well.
inline void expect_same_bits(const Result<std::map<std::string, Tensor>>& one,
                             const Result<std::map<std::string, Tensor>>& other,
                             const std::string& what) {
  ASSERT_TRUE(one.ok()) << what << ": " << one.error().message;
  ASSERT_TRUE(other.ok()) << what << ": " << other.error().message;
  for (const auto& [name, tensor] : *one) {
    const std::vector<float>& floats = other->at(name).floats;
    ASSERT_EQ(tensor.floats.size(), floats.size());
    if (floats.empty()) continue;
    EXPECT_EQ(0, std::memcmp(tensor.floats.data(), floats.data(), floats.size() * sizeof(float)))
        << what << ", " << name;
  }
}

}  // namespace atelier::model
