// SPDX-License-Identifier: Apache-2.0
// Makes a network local: each normalisation by the statistics of the picture becomes one by the
// statistics of a given picture. Tests only.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "model/runner_testing.h"

namespace atelier::model {

inline Tensor one_a_channel(std::vector<float> values) {
  Tensor tensor;
  tensor.shape = {1, static_cast<int64_t>(values.size()), 1, 1};
  tensor.floats = std::move(values);
  return tensor;
}

// scale and shift of `norm`, whose input was `seen`.
inline std::pair<Tensor, Tensor> fixed_by(const Graph& graph, const Node& norm,
                                          const Tensor& seen) {
  const auto& gamma = graph.initializers.at(norm.inputs[1]).floats;
  const auto& beta = graph.initializers.at(norm.inputs[2]).floats;
  const size_t pixels = static_cast<size_t>(seen.shape[2] * seen.shape[3]);
  std::vector<float> scales, shifts;
  for (size_t c = 0; c < gamma.size(); c++) {
    double sum = 0, squares = 0;
    for (size_t i = c * pixels; i < (c + 1) * pixels; i++) {
      const double v = static_cast<double>(seen.floats[i]);
      sum += v;
      squares += v * v;
    }
    const double mean = sum / static_cast<double>(pixels);
    const double variance = squares / static_cast<double>(pixels) - mean * mean;
    const double scale =
        static_cast<double>(gamma[c]) /
        std::sqrt(variance + static_cast<double>(norm.attr_float("epsilon", 1e-5F)));
    scales.push_back(static_cast<float>(scale));
    shifts.push_back(static_cast<float>(static_cast<double>(beta[c]) - mean * scale));
  }
  return {one_a_channel(std::move(scales)), one_a_channel(std::move(shifts))};
}

// `picture`: [1, C, H, W], as the network's only input takes it.
inline Graph with_fixed_statistics(const Graph& graph, const Tensor& picture) {
  Graph watched = graph;
  for (const Node& node : graph.nodes) {
    if (node.op == "InstanceNormalization") watched.outputs.push_back({node.inputs[0], {}});
  }
  const auto seen = runner(watched)->run({{graph.inputs[0].name, picture}}).value();
  Graph fixed = graph;
  fixed.nodes.clear();
  for (const Node& node : graph.nodes) {
    if (node.op != "InstanceNormalization") {
      fixed.nodes.push_back(node);
      continue;
    }
    auto [scale, shift] = fixed_by(graph, node, seen.at(node.inputs[0]));
    const std::string scaled = node.name + "/scaled";
    fixed.initializers[node.name + "/scale"] = std::move(scale);
    fixed.initializers[node.name + "/shift"] = std::move(shift);
    fixed.nodes.push_back({"Mul", scaled, {node.inputs[0], node.name + "/scale"}, {scaled}, {}});
    fixed.nodes.push_back(
        {"Add", node.name + "/shifted", {scaled, node.name + "/shift"}, node.outputs, {}});
  }
  return fixed;
}

}  // namespace atelier::model
