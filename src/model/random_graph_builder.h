// SPDX-License-Identifier: Apache-2.0
// What the makers of random graphs share: seeded choices, constants, nodes; tests only. Each step
// knows the shapes of the values so far and draws an operator and parameters that fit them. What
// jumps at a tie (Floor, ArgMax, Equal) is left out: a last bit would change its result.
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "model/random_graph.h"

namespace atelier::model::random_graphs {

using Ints = std::vector<int64_t>;
using Attributes = std::map<std::string, Attribute>;

struct Made {
  std::string name;
  Ints shape;
};

class Builder {
 public:
  explicit Builder(uint32_t seed) : random_(seed) {}

  int64_t draw(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(n)); }
  bool coin() { return draw(2) == 0; }
  template <class T>
  const T& pick(const std::vector<T>& of) {
    return of[static_cast<size_t>(draw(static_cast<int64_t>(of.size())))];
  }
  float real(float low, float high) {
    return low + (high - low) * static_cast<float>(random_() >> 8) / static_cast<float>(1 << 24);
  }

  Tensor noise(Ints shape, float low, float high) {
    Tensor tensor;
    tensor.shape = std::move(shape);
    tensor.floats.resize(static_cast<size_t>(tensor.count()));
    for (float& v : tensor.floats) v = real(low, high);
    return tensor;
  }
  std::string keep(Tensor tensor) {
    std::string name = "c" + std::to_string(made_.graph.initializers.size());
    made_.graph.initializers[name] = std::move(tensor);
    return name;
  }
  std::string floats(Ints shape, float low, float high) {
    return keep(noise(std::move(shape), low, high));
  }
  std::string scalar(float value) {
    Tensor tensor;
    tensor.floats = {value};
    return keep(std::move(tensor));
  }
  std::string ints(Ints values) {
    Tensor tensor;
    tensor.type = ElementType::i64;
    tensor.shape = {static_cast<int64_t>(values.size())};
    tensor.ints = std::move(values);
    return keep(std::move(tensor));
  }

  Made input(Ints shape, Ints declared) {
    const std::string name = "in" + std::to_string(made_.graph.inputs.size());
    ValueInfo info;
    info.name = name;
    info.shape = std::move(declared);
    made_.graph.inputs.push_back(std::move(info));
    made_.inputs[name] = noise(shape, -1, 1);
    return {name, std::move(shape)};
  }
  std::string node(const std::string& op, std::vector<std::string> inputs,
                   Attributes attributes = {}, size_t outputs = 1) {
    Node node;
    node.op = op;
    node.name = op + std::to_string(made_.graph.nodes.size());
    node.inputs = std::move(inputs);
    for (size_t i = 0; i < outputs; ++i) {
      node.outputs.push_back("v" + std::to_string(values_++));
    }
    node.attributes = std::move(attributes);
    made_.graph.nodes.push_back(std::move(node));
    return made_.graph.nodes.back().outputs[0];
  }
  const std::string& output_of_last(size_t i) const { return made_.graph.nodes.back().outputs[i]; }

  void output(const Made& value) {
    const auto same = [&](const ValueInfo& info) { return info.name == value.name; };
    auto& outputs = made_.graph.outputs;
    if (std::any_of(outputs.begin(), outputs.end(), same)) return;
    ValueInfo info;
    info.name = value.name;
    info.shape = value.shape;
    outputs.push_back(std::move(info));
  }
  RandomGraph take() { return std::move(made_); }

 private:
  std::mt19937 random_;
  RandomGraph made_;
  int values_ = 0;
};

}  // namespace atelier::model::random_graphs
