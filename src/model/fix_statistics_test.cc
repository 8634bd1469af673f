// SPDX-License-Identifier: Apache-2.0
// Normalisations with given statistics against the reference runner: with the statistics of the
// whole frame the picture is that of the frame's own normalisation.
#include "model/fix_statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "model/random_graph.h"
#include "model/reference.h"
#include "model/runner_testing.h"
#include "model/test_net.h"

namespace atelier::model {
namespace {

using Tensors = std::map<std::string, Tensor>;

// Of all pictures together, in two passes over what the reference computes.
Statistics reference_statistics(Graph graph, const Tensors& inputs) {
  std::map<std::string, std::string> normalised;  // node -> value
  for (const Node& node : graph.nodes) {
    if (node.op == "InstanceNormalization") normalised[node.name] = node.inputs[0];
  }
  graph.outputs.clear();
  for (const auto& [node, value] : normalised) graph.outputs.push_back({value, {}});
  const Tensors values = run_reference(graph, inputs).value();
  Statistics all;
  for (const auto& [node, value] : normalised) {
    const Tensor& tensor = values.at(value);
    const int64_t channels = tensor.shape[1];
    const int64_t plane = tensor.count() / (tensor.shape[0] * channels);
    for (int64_t c = 0; c < channels; c++) {
      double mean = 0, variance = 0, count = 0;
      const auto each = [&](auto&& add) {
        for (int64_t i = 0; i < tensor.count(); i++) {
          if (i / plane % channels == c) add(double{tensor.floats[static_cast<size_t>(i)]});
        }
      };
      each([&](double v) { mean += v, count++; });
      mean /= count;
      each([&](double v) { variance += (v - mean) * (v - mean); });
      all[node].mean.push_back(static_cast<float>(mean));
      all[node].variance.push_back(static_cast<float>(variance / count));
    }
  }
  return all;
}

std::map<std::string, TensorType> types_of(const Tensors& inputs) {
  std::map<std::string, TensorType> types;
  for (const auto& [name, tensor] : inputs) types[name] = {tensor.type, tensor.shape};
  return types;
}

Graph fixed(const Graph& graph, const Tensors& inputs, const Statistics& statistics) {
  ConcreteGraph concrete = specialise(graph, types_of(inputs)).value();
  const auto done = fix_statistics(concrete, statistics);
  EXPECT_TRUE(done.ok()) << done.error().message;
  for (const auto& [name, tensor] : concrete.graph.initializers) {
    EXPECT_TRUE(concrete.types.contains(name)) << name;
  }
  for (const Node& node : concrete.graph.nodes) {
    for (const std::string& out : node.outputs) EXPECT_TRUE(concrete.types.contains(out)) << out;
  }
  return concrete.graph;
}

int64_t count(const Graph& graph, const std::string& op) {
  return std::count_if(graph.nodes.begin(), graph.nodes.end(),
                       [&](const Node& node) { return node.op == op; });
}

// Largest difference over the largest value.
double difference(const Tensor& got, const Tensor& expected) {
  EXPECT_EQ(got.shape, expected.shape);
  if (got.floats.size() != expected.floats.size()) return INFINITY;
  double most = 0, scale = 1e-6;
  for (size_t i = 0; i < got.floats.size(); i++) {
    const double a = got.floats[i], b = expected.floats[i];
    if (std::isnan(a) != std::isnan(b)) return INFINITY;
    if (std::isnan(a) || a == b) continue;
    most = std::max(most, std::abs(a - b));
    scale = std::max(scale, std::abs(b));
  }
  return most / scale;
}

double difference(const Graph& got, const Graph& expected, const Tensors& inputs) {
  const Tensors a = run_reference(got, inputs).value(), b = run_reference(expected, inputs).value();
  double most = 0;
  for (const auto& [name, tensor] : b) most = std::max(most, difference(a.at(name), tensor));
  return most;
}

// With the frame's own statistics nothing changes, by the reference and by the planned runner.
void expect_same(const Graph& graph, const Tensors& inputs) {
  const Statistics statistics = reference_statistics(graph, inputs);
  const Graph made = fixed(graph, inputs, statistics);
  EXPECT_EQ(count(made, "InstanceNormalization"), 0);
  EXPECT_LT(difference(made, graph, inputs), 2e-4);
  ModelSpec spec;
  spec.name = "net";
  spec.input = graph.inputs[0].name;
  spec.output = graph.outputs[0].name;
  RunnerOptions options;
  options.threads = 2;
  options.statistics = statistics;
  const auto runner = make_onednn_runner(graph, spec, options).value();
  const Tensors expected = run_reference(graph, inputs).value();
  const auto got = runner->run(inputs);
  ASSERT_TRUE(got.ok()) << got.error().message;
  for (const auto& [name, tensor] : expected) {
    EXPECT_LT(difference(got->at(name), tensor), 1e-3) << name;
  }
}

TEST(FixStatistics, ConvolutionsOfAllKindsTakeTheirNormalisationIn) {
  for (const int64_t side : {1, 2, 7, 33}) {
    SCOPED_TRACE(side);
    Net net(3, 3);
    net.conv({.out = 12, .bias = false}).norm().then("Relu");
    net.conv({.out = 24, .kernel = 5, .pad = 2, .group = 4}).norm();
    net.transposed({.out = 16, .stride = 2}, 1).norm(0.01F).then("Relu");
    net.transposed({.out = 9, .pad = 0, .group = 1}, 0).norm();
    net.conv({.out = 3, .kernel = 1, .pad = 0});
    const Tensors inputs{{"in", noise({1, 3, side, side + 1}, 5)}};
    const Graph made = fixed(net.graph(), inputs, reference_statistics(net.graph(), inputs));
    EXPECT_EQ(count(made, "Mul"), 0);
    EXPECT_EQ(made.nodes.size(), 7u) << "five convolutions and two Relus";
    expect_same(net.graph(), inputs);
  }
}

TEST(FixStatistics, TransposedConvolutionsInGroupsTakeTheirNormalisationIn) {
  Net net(4, 6);
  net.transposed({.out = 15, .stride = 2, .group = 3}, 1).norm();
  const Tensors inputs{{"in", noise({1, 6, 9, 5}, 6)}};
  EXPECT_EQ(fixed(net.graph(), inputs, reference_statistics(net.graph(), inputs)).nodes.size(), 1u);
  expect_same(net.graph(), inputs);
}

TEST(FixStatistics, ACropOfRowsAndColumnsStandsNotInTheWay) {
  Net net(7, 3);
  net.conv({.out = 8}).slice({2, 3}, {1, 2}, {-1, 1000}, {1, 1}).norm().then("Relu");
  net.conv({.out = 8}).slice({1}, {7}, {-100}, {-1}).norm();
  const Tensors inputs{{"in", noise({1, 3, 11, 12}, 8)}};
  const Graph made = fixed(net.graph(), inputs, reference_statistics(net.graph(), inputs));
  EXPECT_EQ(count(made, "Mul"), 1) << "channels that change places are not looked through";
  expect_same(net.graph(), inputs);
}

TEST(FixStatistics, WhatOthersReadIsLeftAlone) {
  Net net(9, 8);
  net.conv({.out = 8});
  const std::string conv = net.last();
  net.norm().then("Add", {conv});
  net.then("Relu").norm();
  const Tensors inputs{{"in", noise({1, 8, 10, 13}, 10)}};
  const Graph made = fixed(net.graph(), inputs, reference_statistics(net.graph(), inputs));
  EXPECT_EQ(count(made, "Mul"), 2);
  expect_same(net.graph(), inputs);
}

TEST(FixStatistics, SharedWeightsAreScaledForEachReader) {
  Net net(11, 4);
  net.conv({.out = 4}).norm();
  Graph graph = net.graph();
  Node second = graph.nodes[0], norm = graph.nodes[1];
  second.name = "second";
  second.inputs[0] = norm.outputs[0];
  second.outputs = {"second_out"};
  norm.name = "second_norm";
  norm.inputs[0] = "second_out";
  norm.outputs = {"out"};
  graph.nodes.push_back(second);
  graph.nodes.push_back(norm);
  graph.outputs[0].name = "out";
  expect_same(graph, {{"in", noise({1, 4, 9, 9}, 12)}});
}

TEST(FixStatistics, OnlyNamedNormalisationsAreFixed) {
  Net net(13, 3);
  net.conv({.out = 8}).norm();
  net.conv({.out = 8}).norm();
  const Tensors inputs{{"in", noise({1, 3, 9, 9}, 14)}};
  Statistics statistics = reference_statistics(net.graph(), inputs);
  statistics.erase(statistics.begin());
  statistics["of another network"] = {};
  EXPECT_EQ(count(fixed(net.graph(), inputs, statistics), "InstanceNormalization"), 1);
}

TEST(FixStatistics, NumbersThatDoNotFitAreRefused) {
  Net net(15, 3);
  net.conv({.out = 8}).norm(0);
  const Tensors inputs{{"in", noise({1, 3, 9, 9}, 16)}};
  const auto complaint = [&](const ChannelStatistics& given) {
    ConcreteGraph concrete = specialise(net.graph(), types_of(inputs)).value();
    const auto done = fix_statistics(concrete, {{"InstanceNormalization1", given}});
    return done.ok() ? "" : done.error().message;
  };
  const std::vector<float> seven(7, 1), eight(8, 1), none(8, 0), strange(8, NAN);
  EXPECT_EQ(complaint({eight, eight}), "");
  EXPECT_NE(complaint({seven, seven}).find("has 8 channels"), std::string::npos);
  EXPECT_NE(complaint({eight, seven}).find("has 8 channels"), std::string::npos);
  EXPECT_NE(complaint({eight, none}).find("--norm frame"), std::string::npos);
  EXPECT_NE(complaint({strange, eight}).find("--norm frame"), std::string::npos);
}

TEST(FixStatistics, RandomGraphsPaintWhatTheyPainted) {
  int norms = 0;
  for (uint32_t seed = 1; seed <= 400 && !testing::Test::HasFailure(); seed++) {
    SCOPED_TRACE(seed);
    const RandomGraph random = random_picture_graph(seed);
    if (count(random.graph, "InstanceNormalization") == 0) continue;
    if (random.inputs.begin()->second.shape[0] != 1) continue;  // statistics of each picture
    norms++;
    const Statistics statistics = reference_statistics(random.graph, random.inputs);
    const Graph made = fixed(random.graph, random.inputs, statistics);
    EXPECT_LT(difference(made, random.graph, random.inputs), 1e-3);
  }
  EXPECT_GT(norms, 50);
}

// What the runner measures.

FrameBuffer picture(int width, int height, uint32_t seed) {
  FrameBuffer frame(width, height, {PixelFormat::Family::rgb, 8, 0, 0, false}, {});
  std::mt19937 random(seed);
  for (int p = 0; p < 3; p++) {
    const auto& plane = frame.view().plane[static_cast<size_t>(p)];
    for (int y = 0; y < height; y++)
      for (int x = 0; x < width; x++)
        (plane.data + y * plane.stride)[x] = static_cast<std::byte>(random() % 256);
  }
  return frame;
}

Tensor pixels(const std::vector<FrameBuffer>& frames) {
  const FrameView& first = frames[0].view();
  Tensor tensor;
  tensor.shape = {static_cast<int64_t>(frames.size()), 3, first.height, first.width};
  for (const FrameBuffer& frame : frames) {
    for (size_t p = 0; p < 3; p++)
      for (int y = 0; y < first.height; y++)
        for (int x = 0; x < first.width; x++)
          tensor.floats.push_back(static_cast<float>(std::to_integer<int>(
              (frame.view().plane[p].data + y * frame.view().plane[p].stride)[x])));
  }
  return tensor;
}

void expect_near(const Statistics& got, const Statistics& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (const auto& [node, e] : expected) {
    const ChannelStatistics& g = got.at(node);
    ASSERT_EQ(g.mean.size(), e.mean.size());
    for (size_t c = 0; c < e.mean.size(); c++) {
      const float deviation = std::sqrt(e.variance[c]);
      // Of one pixel the variance is zero: values of 100 times 316 for epsilon are rounded, too.
      EXPECT_NEAR(g.mean[c], e.mean[c], 1e-3F * (deviation + std::abs(e.mean[c])) + 2e-3F) << node;
      EXPECT_NEAR(g.variance[c], e.variance[c], 2e-3F * e.variance[c] + 1e-4F) << node;
    }
  }
}

TEST(Measure, StatisticsAreThoseOfAllFramesTogetherWithTheSameBitsForAnyThreads) {
  Net net(17, 3);
  net.conv({.out = 3, .kernel = 1, .pad = 0}).norm();
  net.conv({.out = 20}).then("Relu");
  const std::string before = net.last();
  net.norm().conv({.out = 20}).norm().then("Add", {before}).conv({.out = 3});
  for (const auto& [width, height] : {std::pair{31, 17}, std::pair{1, 1}}) {
    std::vector<FrameBuffer> frames;
    for (uint32_t i = 0; i < 3; i++) frames.push_back(picture(width, height, i));
    std::vector<FrameView> views;
    for (const FrameBuffer& frame : frames) views.push_back(frame.view());
    int scored = 0;
    // The first normalisation sees all frames together; those behind it see what each frame's own
    // normalisation gives, which the reference computes picture by picture in a batch.
    const auto got = runner(net.graph(), 1)->measure(views, [&] { scored++; }).value();
    EXPECT_EQ(scored, 3);
    expect_near(got, reference_statistics(net.graph(), {{"in", pixels(frames)}}));
    EXPECT_EQ(got, runner(net.graph(), 3)->measure(views, [] {}).value());
  }
}

TEST(Measure, WithoutNormalisationsThereIsNothing) {
  Net net(19, 3);
  net.conv({.out = 3});
  const FrameBuffer frame = picture(9, 9, 1);
  EXPECT_TRUE(runner(net.graph())->measure({&frame.view(), 1}, [] {}).value().empty());
}

TEST(Measure, AFixedNetworkPaintsTheMeasuredFrameAsBefore) {
  Net net(21, 3);
  net.conv({.out = 16}).norm().then("Relu");
  net.conv({.out = 3}).norm();
  net.then("Mul", {net.given({1}, {40})}).then("Add", {net.given({1}, {128})});
  const FrameBuffer frame = picture(30, 21, 1);
  const auto exact = runner(net.graph());
  ModelSpec spec;
  spec.name = "net";
  spec.input = net.graph().inputs[0].name;
  spec.output = net.graph().outputs[0].name;
  RunnerOptions options;
  options.threads = 1;
  options.statistics = exact->measure({&frame.view(), 1}, [] {}).value();
  const auto fast = make_onednn_runner(net.graph(), spec, options).value();
  FrameBuffer a(30, 21, frame.view().format, {}), b(30, 21, frame.view().format, {});
  ASSERT_TRUE(exact->score(frame.view(), a.view()).ok());
  ASSERT_TRUE(fast->score(frame.view(), b.view()).ok());
  int most = 0;
  for (size_t p = 0; p < 3; p++)
    for (int y = 0; y < 21; y++)
      for (int x = 0; x < 30; x++) {
        const auto at = [&](const FrameBuffer& f) {
          return std::to_integer<int>((f.view().plane[p].data + y * f.view().plane[p].stride)[x]);
        };
        most = std::max(most, std::abs(at(a) - at(b)));
      }
  EXPECT_LE(most, 1);
  for (const PlanStep& step : fast->plan({30, 21}).value()) {
    EXPECT_EQ(step.op.find("InstanceNormalization"), std::string::npos) << step.op;
  }
}

}  // namespace
}  // namespace atelier::model
