// SPDX-License-Identifier: Apache-2.0
// Plans in which nodes without a fast kernel are plain steps between those that have one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "base/bytes.h"
#include "model/reference.h"
#include "model/runner_testing.h"
#include "model/test_net.h"

namespace atelier::model {
namespace {

using testing::Each;
using Tensors = std::map<std::string, Tensor>;
using Ints = std::vector<int64_t>;

// Every output against the reference; equal bits for 1 to 4 threads.
void expect_agreement(const Graph& graph, const Tensors& inputs) {
  const auto expected = run_reference(graph, inputs);
  ASSERT_TRUE(expected.ok()) << expected.error().message;
  Tensors first;
  for (int threads = 1; threads <= 4; ++threads) {
    const auto got = runner(graph, threads)->run(inputs);
    ASSERT_TRUE(got.ok()) << got.error().message;
    ASSERT_EQ(got->size(), expected->size());
    if (threads == 1) first = *got;
    for (const auto& [name, wanted] : *expected) {
      const Tensor& tensor = got->at(name);
      ASSERT_EQ(tensor.shape, wanted.shape) << name;
      EXPECT_EQ(tensor.ints, wanted.ints) << name;
      ASSERT_EQ(tensor.floats.size(), wanted.floats.size()) << name;
      float scale = 1e-30F;
      for (const float v : wanted.floats) scale = std::max(scale, std::abs(v));
      for (size_t i = 0; i < wanted.floats.size(); ++i) {
        ASSERT_NEAR(tensor.floats[i], wanted.floats[i], 1e-3F * scale) << name << " at " << i;
      }
      EXPECT_EQ(first.at(name).floats, tensor.floats) << threads << " threads give other bits";
    }
  }
}

std::vector<std::string> implementations(const Graph& graph, Size size) {
  const auto plan = runner(graph)->plan(size);
  EXPECT_TRUE(plan.ok()) << plan.error().message;
  std::vector<std::string> names;
  if (plan.ok()) {
    for (const PlanStep& step : *plan) names.push_back(step.implementation);
  }
  return names;
}

Graph with_outputs(Graph graph, const std::vector<std::string>& names) {
  graph.outputs.clear();
  for (const auto& name : names) {
    ValueInfo info;
    info.name = name;
    graph.outputs.push_back(std::move(info));
  }
  return graph;
}

TEST(MixedPlan, ANetworkInFastFormHasNoPlainStep) {
  Net net(1, 3);
  net.conv({.out = 16}).norm().then("Relu").conv({.out = 3}).then("Tanh");
  EXPECT_THAT(implementations(net.graph(), {20, 16}), Each("atelier:f32x8"));
}

TEST(MixedPlan, OneNodeWithoutAKernelIsOnePlainStepBetweenTwoCopies) {
  Net net(2, 3);
  net.conv({.out = 16}).then("Softplus").conv({.out = 3});
  const auto plan = runner(net.graph())->plan({20, 16});
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  std::vector<std::string> ops;
  for (const PlanStep& step : *plan) ops.push_back(step.op);
  EXPECT_EQ(ops, (std::vector<std::string>{"Conv", "Copy", "Softplus", "Copy", "Conv"}));
  EXPECT_EQ((*plan)[2].algorithm, "plain");
  EXPECT_EQ((*plan)[2].implementation, "atelier:plain");
  expect_agreement(net.graph(), {{"in", noise({1, 3, 17, 13}, 3)}});
}

TEST(MixedPlan, AValueThatBothKindsReadIsConvertedOnce) {
  Net net(3, 3);
  net.conv({.out = 16});
  const std::string both = net.last();
  net.then("Softplus");
  const std::string a = net.last();
  net.node("Erf", {both});
  const std::string b = net.last();
  net.node("Relu", {both}).then("Add", {a}).then("Add", {b}).conv({.out = 3});
  const auto plan = runner(net.graph())->plan({20, 16});
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_EQ(std::count_if(plan->begin(), plan->end(),
                          [&](const PlanStep& s) { return s.node == both + "/plain"; }),
            1);
  expect_agreement(net.graph(), {{"in", noise({1, 3, 17, 13}, 3)}});
}

TEST(MixedPlan, APlanWithPlainStepsIsObeyedOrRefused) {
  Net net(4, 3);
  net.conv({.out = 16}).then("Softplus").conv({.out = 3});
  const auto plan = *runner(net.graph())->plan({20, 16});
  EXPECT_EQ(*runner(net.graph(), 1, plan)->plan({20, 16}), plan);
  auto other = plan;
  other[2].implementation = "jit:sparc";
  EXPECT_FALSE(runner(net.graph(), 1, other)->plan({20, 16}).ok());
}

TEST(MixedPlan, OutputsOfAllKindsComeBack) {
  Net net(5, 3);
  net.conv({.out = 5});
  const std::string picture = net.last();
  net.then("Shape");
  const std::string shape = net.last();
  net.node("ArgMax", {picture}, {{"axis", int64_t{1}}});
  const std::string integers = net.last();
  net.node("Softmax", {picture}, {{"axis", int64_t{1}}});
  const Graph graph = with_outputs(net.graph(), {picture, shape, integers, net.last(), "in"});
  const Tensor input = noise({1, 3, 9, 7}, 5);
  const auto got = runner(graph)->run({{"in", input}});
  ASSERT_TRUE(got.ok()) << got.error().message;
  EXPECT_EQ(got->at(shape).ints, (Ints{1, 5, 9, 7}));
  EXPECT_EQ(got->at("in").floats, input.floats);
  expect_agreement(graph, {{"in", input}});
}

TEST(MixedPlan, WhatIsKnownOnlyWhileRunningStaysPlain) {
  Net net(6, 1);
  const std::string boxes = net.given({1, 3, 4}, {0, 0, 1, 1, 0, 0, 1, 0.9F, 0, 2, 1, 3});
  net.node("ReduceMax", {"in"}, {{"axes", Ints{1}}, {"keepdims", int64_t{0}}});
  net.node("NonMaxSuppression",
           {boxes, net.last(), net.ints({3}), net.given({1}, {0.5F}), net.given({1}, {-9})});
  const Graph graph = with_outputs(net.graph(), {net.last()});
  Tensor scores;
  scores.shape = {1, 1, 1, 3};
  scores.floats = {0.9F, 0.8F, 0.7F};
  const auto got = runner(graph)->run({{"in", scores}});
  ASSERT_TRUE(got.ok()) << got.error().message;
  EXPECT_EQ(got->at(net.last()).shape, (Ints{2, 3}));
  EXPECT_EQ(got->at(net.last()).ints, (Ints{0, 0, 0, 0, 0, 2}));
}

TEST(MixedPlan, BatchesAgreeWhetherOrNotPicturesCanBeComputedAlone) {
  Net fast(7, 3);
  fast.conv({.out = 9}).then("Relu");
  expect_agreement(fast.graph(), {{"in", noise({3, 3, 9, 7}, 5)}});
  Net mixed(8, 3);
  mixed.conv({.out = 9}).then("Softmax", {}, {{"axis", int64_t{0}}});  // across pictures
  expect_agreement(mixed.graph(), {{"in", noise({3, 3, 9, 7}, 5)}});
  Net counted(9, 3);  // divides by the number of pictures
  counted.node("Shape", {"in"});
  const std::string shape = counted.last();
  counted.node("Gather", {shape, counted.ints({0})}).then("Cast", {}, {{"to", int64_t{1}}});
  counted.node("Div", {"in", counted.last()});
  expect_agreement(counted.graph(), {{"in", noise({3, 3, 9, 7}, 5)}});
}

TEST(MixedPlan, PicturesOfABatchAreNotComputedAloneWhereANodePicksSome) {
  const auto check = [](Net& net) {
    expect_agreement(net.graph(), {{"in", noise({2, 3, 8, 8}, 7)}});
  };
  Net first(11, 3), last(12, 3), spread(13, 3), all(14, 3);
  check(first.slice({0}, {0}, {1}, {1}).then("Relu"));
  check(last.slice({0}, {-1}, {INT64_MAX}, {1}).then("Relu"));
  check(spread.slice({0}, {0}, {1}, {1}).then("Add", {"in"}));  // as many as go in, but others
  check(all.slice({0, 2}, {0, 1}, {INT64_MAX, 7}, {1, 1}).then("Relu"));
}

TEST(MixedPlan, WeightsOfAFusedEnlargementAreThoseOfItsFactor) {
  Net net(15, 8);
  net.then("Resize", {"", "", net.ints({1, 8, 64, 64})},
           {{"mode", "nearest"},
            {"coordinate_transformation_mode", "asymmetric"},
            {"nearest_mode", "floor"}});
  net.conv({.out = 8});
  const Graph graph = net.graph();
  const auto one = runner(graph);
  for (const int64_t side : {32, 16, 64}) {
    const Tensors inputs{{"in", noise({1, 8, side, side}, 3)}};
    const auto expected = run_reference(graph, inputs);
    ASSERT_TRUE(expected.ok()) << expected.error().message;
    const auto got = one->run(inputs);
    ASSERT_TRUE(got.ok()) << got.error().message;
    const Tensor& made = got->at(net.last());
    const Tensor& wanted = expected->at(net.last());
    ASSERT_EQ(made.shape, wanted.shape);
    for (size_t i = 0; i < wanted.floats.size(); ++i) {
      ASSERT_NEAR(made.floats[i], wanted.floats[i], 1e-3F) << side << " at " << i;
    }
  }
}

TEST(MixedPlan, AConstantOverPixelsIsSpreadForEachOfItsReaders) {
  Net net(16, 3);
  const std::string k = net.floats({1, 1, 8, 8}, -1, 1);
  net.node("Add", {"in", k});
  const std::string narrow = net.last();
  net.conv({.out = 16}).then("Add", {k});
  const std::string after_conv = net.last();
  net.conv({.out = 16}).then("Tanh").then("Mul", {k});
  const std::string after_point = net.last();
  net.node("Sub", {k, after_conv}).then("Add", {k});
  const Graph graph = with_outputs(net.graph(), {narrow, after_conv, after_point, net.last()});
  expect_agreement(graph, {{"in", noise({1, 3, 8, 8}, 5)}});
}

Graph renamed(Graph graph, const std::string& from, const std::string& to) {
  for (Node& node : graph.nodes) {
    std::replace(node.inputs.begin(), node.inputs.end(), from, to);
    std::replace(node.outputs.begin(), node.outputs.end(), from, to);
  }
  return graph;
}

TEST(MixedPlan, ValuesMayBeCalledLikeThoseThatAPlanMakes) {
  Net constant(17, 3);
  constant.node("Tanh", {"in"}).node("Add", {"in", constant.floats({1, 1, 8, 8}, -1, 1)});
  constant.then("Mul", {"v0"});
  expect_agreement(renamed(constant.graph(), "v0", "Add1/constant"),
                   {{"in", noise({1, 3, 8, 8}, 5)}});
  Net grouped(18, 16);  // by oneDNN, from and to dense pictures
  grouped.node("Tanh", {"in"}).node("Relu", {"in"}).channels(16).conv({.out = 16, .group = 2});
  const std::string made = grouped.last();
  grouped.node("Add", {made, "v0"});
  for (const char* name : {"v2/dense", "v2/dense/out", "v1/Conv2/in"}) {
    expect_agreement(renamed(grouped.graph(), "v0", name), {{"in", noise({1, 16, 8, 8}, 5)}});
  }
  Net cut(19, 16);
  cut.node("Tanh", {"in"}).node("Relu", {"in"}).slice({1, 2}, {1, 0}, {12, 8}, {2, 2});
  const std::string odd = cut.last();
  const Graph graph = with_outputs(cut.graph(), {odd, odd + "/channels"});
  expect_agreement(renamed(graph, "v0", odd + "/channels"), {{"in", noise({1, 16, 8, 8}, 5)}});
}

TEST(MixedPlan, APlanIsObeyedWhereAConvolutionIsCalledLikeACopy) {
  Net net(20, 3);
  net.then("Relu").slice({2, 3}, {1, 1}, {23, 23}, {1, 1});
  net.conv({.out = 16, .pad = 2}).conv({.out = 16}).conv({.out = 3});
  Graph graph = net.graph();
  graph.nodes[3].name = graph.nodes[1].outputs[0] + "/copy";
  const auto plan = runner(graph)->plan({24, 24});
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  ASSERT_EQ(std::count_if(plan->begin(), plan->end(),
                          [&](const PlanStep& s) { return s.node == graph.nodes[3].name; }),
            2);
  const auto obeyed = runner(graph, 1, *plan)->plan({24, 24});
  ASSERT_TRUE(obeyed.ok()) << obeyed.error().message;
  EXPECT_EQ(*obeyed, *plan);
}

TEST(MixedPlan, MemoryCountsPlainValues) {
  Net fast(10, 3);
  fast.conv({.out = 16});
  Net mixed(10, 3);
  mixed.conv({.out = 16}).then("Softplus");
  const auto less = runner(fast.graph())->run({{"in", noise({1, 3, 8, 8}, 1)}});
  ASSERT_TRUE(less.ok());
  Net picture(10, 3);
  picture.conv({.out = 3}).then("Softplus");
  Net plain(10, 3);
  plain.conv({.out = 3});
  EXPECT_GT(*runner(picture.graph(), 1)->memory({64, 64}),
            *runner(plain.graph(), 1)->memory({64, 64}));
}

// Models of many kinds, whole.
struct Whole {
  const char* file;
  Ints shape;
  float low, high;
};

class OtherModels : public testing::TestWithParam<Whole> {};

TEST_P(OtherModels, AgreeWithTheReferenceWithTheSameBitsForAnyThreads) {
  const std::filesystem::path path =
      std::filesystem::path(ATELIER_SOURCE_DIR "/../shared/models/other") / GetParam().file;
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "NOT TESTED: " << path << " is absent";
  std::ifstream stream(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(stream)), {});
  const auto graph = import_onnx(as_bytes(bytes), GetParam().file);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  const Tensor input = noise(GetParam().shape, 11, GetParam().low, GetParam().high);
  expect_agreement(*graph, {{graph->inputs[0].name, input}});
}

INSTANTIATE_TEST_SUITE_P(All, OtherModels,
                         testing::Values(Whole{"mnist.onnx", {1, 1, 28, 28}, 0, 255},
                                         Whole{"cifar_ImageClassifier.onnx", {1, 3, 32, 32}, -1, 1},
                                         Whole{"ultraface_RFB_320.onnx", {1, 3, 240, 320}, -1, 1},
                                         Whole{"upscalerjs_default_x2.onnx", {1, 3, 30, 26}, 0, 1},
                                         Whole{"super_resolution.onnx", {1, 1, 224, 224}, 0, 1}));

}  // namespace
}  // namespace atelier::model
