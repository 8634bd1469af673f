// SPDX-License-Identifier: Apache-2.0
// Builds graphs as import_onnx leaves them, node after node, with seeded random weights; tests
// only.
#pragma once

#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "model/graph.h"

namespace atelier::model {

class Net {
 public:
  explicit Net(uint32_t seed, int64_t channels) : random_(seed) {
    graph_.name = "net";
    graph_.inputs = {{"in", {-1, channels, -1, -1}}};
    last_ = "in";
    channels_ = channels;
  }

  std::string floats(std::vector<int64_t> shape, float low, float high) {
    Tensor tensor;
    tensor.shape = std::move(shape);
    std::uniform_real_distribution<float> values(low, high);
    tensor.floats.resize(static_cast<size_t>(tensor.count()));
    for (float& v : tensor.floats) v = values(random_);
    return keep(std::move(tensor));
  }
  std::string ints(std::vector<int64_t> values) {
    Tensor tensor;
    tensor.type = ElementType::i64;
    tensor.shape = {static_cast<int64_t>(values.size())};
    tensor.ints = std::move(values);
    return keep(std::move(tensor));
  }
  std::string given(std::vector<int64_t> shape, std::vector<float> values) {
    Tensor tensor;
    tensor.shape = std::move(shape);
    tensor.floats = std::move(values);
    return keep(std::move(tensor));
  }

  Net& node(const std::string& op, std::vector<std::string> inputs,
            std::map<std::string, Attribute> attributes = {}) {
    Node made;
    made.op = op;
    made.name = op + std::to_string(graph_.nodes.size());
    made.inputs = std::move(inputs);
    made.outputs = {"v" + std::to_string(graph_.nodes.size())};
    made.attributes = std::move(attributes);
    last_ = made.outputs[0];
    graph_.nodes.push_back(std::move(made));
    return *this;
  }
  Net& then(const std::string& op, std::vector<std::string> others = {},
            std::map<std::string, Attribute> attributes = {}) {
    others.insert(others.begin(), last_);
    return node(op, std::move(others), std::move(attributes));
  }

  struct Conv {
    int64_t out = 8;
    int64_t kernel = 3;
    int64_t stride = 1;
    int64_t pad = 1;
    int64_t dilation = 1;
    int64_t group = 1;
    bool bias = true;
    std::string auto_pad = {};
  };
  Net& conv(const Conv& c) {
    const int64_t products = channels_ / c.group * c.kernel * c.kernel;
    const float reach = 1.0F / std::sqrt(static_cast<float>(products));
    std::vector<std::string> inputs{
        floats({c.out, channels_ / c.group, c.kernel, c.kernel}, -reach, reach)};
    if (c.bias) inputs.push_back(floats({c.out}, -1, 1));
    auto attributes = shared(c);
    if (!c.auto_pad.empty()) {
      attributes["auto_pad"] = c.auto_pad;
      attributes.erase("pads");
    }
    channels_ = c.out;
    return then("Conv", inputs, attributes);
  }
  Net& transposed(const Conv& c, int64_t extra) {
    const int64_t products = channels_ / c.group * c.kernel * c.kernel;
    const float reach = 1.0F / std::sqrt(static_cast<float>(products));
    std::vector<std::string> inputs{
        floats({channels_, c.out / c.group, c.kernel, c.kernel}, -reach, reach)};
    if (c.bias) inputs.push_back(floats({c.out}, -1, 1));
    auto attributes = shared(c);
    attributes["output_padding"] = std::vector<int64_t>{extra, extra};
    channels_ = c.out;
    return then("ConvTranspose", inputs, attributes);
  }
  Net& norm(float epsilon = 1e-5F) {
    return then("InstanceNormalization", {floats({channels_}, 0.5F, 2), floats({channels_}, -1, 1)},
                {{"epsilon", epsilon}});
  }
  Net& pad(std::vector<int64_t> p, const std::string& mode) {
    return then("Pad", {ints({0, 0, p[0], p[1], 0, 0, p[2], p[3]})}, {{"mode", mode}});
  }
  Net& slice(std::vector<int64_t> axes, std::vector<int64_t> starts, std::vector<int64_t> ends,
             std::vector<int64_t> steps) {
    const auto s = ints(std::move(starts)), e = ints(std::move(ends)), a = ints(std::move(axes));
    return then("Slice", {s, e, a, ints(std::move(steps))});
  }
  Net& channels(int64_t channels) {
    channels_ = channels;
    return *this;
  }
  const std::string& last() const { return last_; }
  int64_t channels() const { return channels_; }
  std::mt19937& random() { return random_; }

  Graph graph() const {
    Graph graph = graph_;
    graph.outputs = {{last_, {-1, channels_, -1, -1}}};
    return graph;
  }

 private:
  std::string keep(Tensor tensor) {
    std::string name = "c" + std::to_string(graph_.initializers.size());
    graph_.initializers[name] = std::move(tensor);
    return name;
  }
  static std::map<std::string, Attribute> shared(const Conv& c) {
    using Ints = std::vector<int64_t>;
    return {{"kernel_shape", Ints{c.kernel, c.kernel}},
            {"strides", Ints{c.stride, c.stride}},
            {"dilations", Ints{c.dilation, c.dilation}},
            {"pads", Ints{c.pad, c.pad, c.pad, c.pad}},
            {"group", c.group}};
  }

  std::mt19937 random_;
  Graph graph_;
  std::string last_;
  int64_t channels_;
};

}  // namespace atelier::model
