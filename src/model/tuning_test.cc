// SPDX-License-Identifier: Apache-2.0
// The choice between ways of convolutions: from given times, within what is accurate; and every way
// there is computes what the reference does.
#include "model/tuning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "model/reference.h"
#include "model/runner_testing.h"
#include "model/test_net.h"
#include "model/winograd_check.h"

namespace atelier::model {
namespace {

using testing::ElementsAre;

Net& enlarged(Net& net) {
  return net.then("Resize", {"", net.given({4}, {1, 1, 2, 2})},
                  {{"mode", std::string("nearest")},
                   {"coordinate_transformation_mode", std::string("asymmetric")},
                   {"nearest_mode", std::string("floor")}});
}

Graph styled(int64_t channels = 24) {
  Net net(3, 3);
  net.conv({.out = channels, .kernel = 5, .pad = 2}).norm().then("Relu");
  net.conv({.out = channels}).norm().then("Relu");
  net.conv({.out = channels}).norm().then("Relu");
  enlarged(net).conv({.out = channels}).then("Relu");
  net.conv({.out = 3, .kernel = 5, .pad = 2});
  return net.graph();
}

std::unique_ptr<Runner> runner_with(const Graph& graph, const Choices& choices,
                                    Precision precision = Precision::f32, int threads = 1) {
  RunnerOptions options;
  options.threads = threads;
  options.precision = precision;
  options.choices = choices;
  for (const Node& node : graph.nodes) options.ranges[node.name] = {-8, 8};
  return runner(graph, options);
}

// Plans of a graph with made-up seconds: those of a step by its algorithm, or `other` seconds.
struct Bench {
  explicit Bench(Graph net, int64_t side = 12) : graph(std::move(net)) {
    const std::map<std::string, TensorType> inputs{
        {"in", {ElementType::f32, {1, graph.inputs[0].shape[1], side, side + 2}}}};
    timer.add = [this, inputs](const Choices& forced) -> Result<const NetPlan*> {
      PlanOptions options;
      options.forced = forced;
      plans.push_back(std::make_unique<NetPlan>(
          TRY(build_plan(TRY(specialise(graph, inputs)), options, weights))));
      return plans.back().get();
    };
    timer.run = [this](size_t plan) -> Result<std::vector<double>> {
      ran++;
      std::vector<double> made;
      for (const Step& step : plans.at(plan)->steps) {
        const auto found = seconds.find(step.label.algorithm);
        made.push_back(found == seconds.end() ? 0.001 : found->second);
      }
      return made;
    };
  }

  std::vector<TunedLayer> tune(const Choices& known = {}) {
    auto tuned = tune_layers(timer, known);
    EXPECT_TRUE(tuned.ok()) << tuned.error().message;
    return tuned.ok() ? *tuned : std::vector<TunedLayer>();
  }

  Graph graph;
  WeightCache weights;
  std::vector<std::unique_ptr<NetPlan>> plans;
  std::map<std::string, double> seconds;
  int ran = 0;
  PlanTimer timer;
};

TEST(Tuning, SecondsAroundAConvolutionReachToItsNeighbours) {
  const std::vector<PlanStep> steps{{"a", "Pad", "own", ""},
                                    {"b", "Conv+Relu", "direct", ""},
                                    {"c", "InstanceNormalization", "own", ""},
                                    {"d", "Resize+Conv", "direct_int8", ""},
                                    {"e", "ConvTranspose", "direct", ""},
                                    {"f", "Conv", "plain", ""}};
  const auto around = seconds_around(steps, {1, 10, 100, 1000, 10000, 100000});
  EXPECT_EQ(around, (std::map<std::string, double>{{"b", 111}, {"d", 1100}, {"e", 110000}}));
  EXPECT_TRUE(seconds_around({}, {}).empty());
}

TEST(Tuning, TheRuleStandsUnlessTheOtherWayIsATenthFaster) {
  EXPECT_TRUE(other_is_faster({10, 10, 10}, {8, 9, 8}));
  EXPECT_FALSE(other_is_faster({10, 10, 10}, {9.5, 9.5, 9.5}));
  EXPECT_FALSE(other_is_faster({10, 10, 10}, {10, 10, 10}));
  EXPECT_FALSE(other_is_faster({10, 100, 10}, {9.9, 10, 9.9})) << "one disturbed round";
  EXPECT_TRUE(other_is_faster({10, 20, 40}, {8, 16, 32})) << "rounds are compared, not seconds";
  EXPECT_FALSE(other_is_faster({}, {}));
  EXPECT_FALSE(other_is_faster({0, 0}, {0, 0}));
}

TEST(Tuning, TakesWhatIsFasterAndOtherwiseTheRule) {
  Bench bench(styled());
  bench.seconds = {{"direct", 1}, {"winograd_f4x3", 2}};
  const std::vector<TunedLayer> tuned = bench.tune();
  // Both 3x3 share a key; the enlarged one is direct by rule.
  ASSERT_EQ(tuned.size(), 2U);
  EXPECT_EQ(tuned[0].nodes.size(), 2U);
  EXPECT_EQ(tuned[0].rule, kWayWinograd);
  EXPECT_EQ(tuned[0].way, kWayDirect);
  EXPECT_EQ(tuned[1].rule, kWayEnlarged);
  EXPECT_EQ(tuned[1].way, kWayEnlarged);
  EXPECT_LT(tuned[0].seconds.at(kWayDirect), tuned[0].seconds.at(kWayWinograd));

  Bench even(styled());
  even.seconds = {{"direct", 1}, {"winograd_f4x3", 1.05}};
  for (const TunedLayer& layer : even.tune()) EXPECT_EQ(layer.way, layer.rule);
}

TEST(Tuning, NeighboursAreMeasuredInPlansOfTheirOwn) {
  Bench bench(styled());
  bench.tune();
  ASSERT_EQ(bench.plans.size(), 3U);
  for (size_t plan = 1; plan < 3; plan++) {
    bool before = false;
    for (const PlanLayer& layer : bench.plans[plan]->layers) {
      const bool differs = layer.way != layer.ways.front();
      EXPECT_FALSE(differs && before) << layer.node;
      before = differs;
    }
  }
  EXPECT_GE(bench.ran, 3 * (1 + kLeastRounds));
  EXPECT_LE(bench.ran, 3 * (1 + kMostRounds));
}

TEST(Tuning, SlowFramesAreRunAsFewTimesAsCanBe) {
  Bench bench(styled());
  bench.seconds = {{"direct", 5}, {"winograd_f4x3", 5}};
  bench.tune();
  EXPECT_EQ(bench.ran, 3 * (1 + kLeastRounds));
}

TEST(Tuning, WhatIsKnownIsNotMeasured) {
  Bench first(styled());
  first.seconds = {{"direct", 1}, {"winograd_f4x3", 2}};
  Choices known;
  for (const TunedLayer& layer : first.tune()) known[layer.key] = layer.way;
  Bench again(styled());
  EXPECT_TRUE(again.tune(known).empty());
  EXPECT_EQ(again.ran, 0);

  // An entry that no version of this program can have written is none.
  known.begin()->second = "by magic";
  EXPECT_EQ(again.tune(known).size(), 1U);
  EXPECT_GT(again.ran, 0);
}

TEST(Tuning, ANetworkWithoutAChoiceIsNotRun) {
  Net net(5, 3);
  net.conv({.out = 16, .kernel = 9, .pad = 4}).then("Relu").conv({.out = 3, .kernel = 1, .pad = 0});
  Bench bench(net.graph());
  EXPECT_TRUE(bench.tune().empty());
  EXPECT_EQ(bench.ran, 0);
}

TEST(Tuning, AKeySaysTheShapeAndNotTheName) {
  const auto keys = [](const Graph& graph, int64_t side) {
    Bench bench(graph, side);
    std::vector<std::string> found;
    for (const TunedLayer& layer : bench.tune()) found.push_back(layer.key);
    return found;
  };
  Graph renamed = styled();
  for (Node& node : renamed.nodes) node.name += "'";
  EXPECT_EQ(keys(styled(), 12), keys(renamed, 12));
  EXPECT_NE(keys(styled(), 12), keys(styled(), 13));
  EXPECT_NE(keys(styled(24), 12), keys(styled(25), 12));
}

std::vector<std::string> algorithms(Runner& runner, Size size) {
  std::vector<std::string> found;
  for (const PlanStep& step : runner.plan(size).value()) {
    if (step.op.find("Conv") != std::string::npos) found.push_back(step.algorithm);
  }
  return found;
}

TEST(Tuning, ARunnerMeasuresItselfAndKeepsItsPlans) {
  const Graph graph = styled();
  const auto runner = runner_with(graph, {});
  const auto before = runner->plan({20, 12}).value();
  int frames = 0;
  const auto tuned = runner->tune({20, 12}, true, [&] { frames++; });
  ASSERT_TRUE(tuned.ok()) << tuned.error().message;
  EXPECT_GT(frames, 0);
  EXPECT_EQ(runner->plan({20, 12}).value(), before);
  Choices known;
  for (const TunedLayer& layer : *tuned) {
    EXPECT_TRUE(layer.seconds.contains(layer.way)) << layer.way;
    EXPECT_EQ(layer.seconds.size(), 2U);
    EXPECT_LT(layer.key.size(), 200U) << layer.key;
    known[layer.key] = layer.way;
  }
  EXPECT_EQ(known.size(), tuned->size());

  // Everything is known now, whatever it was.
  frames = 0;
  const auto again = runner_with(graph, known)->tune({20, 12}, true, [&] { frames++; });
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->empty());
  EXPECT_EQ(frames, 0);

  // A plan that is obeyed is not questioned.
  const auto obeys = model::runner(graph, 1, before);
  EXPECT_TRUE(obeys->tune({20, 12}, true, [&] { frames++; }).value().empty());
  EXPECT_EQ(frames, 0);
}

TEST(Tuning, WhatWasChosenIsObeyedByWhoeverHasThePlan) {
  const Graph graph = styled();
  Choices direct;
  for (const TunedLayer& layer : runner_with(graph, {})->tune({20, 12}, false, [] {}).value()) {
    direct[layer.key] = layer.rule == kWayWinograd ? kWayDirect : kWayWinograd;
  }
  const auto chosen = runner_with(graph, direct);
  EXPECT_THAT(algorithms(*chosen, {20, 12}),
              ElementsAre("direct", "direct", "direct", "winograd_f4x3", "direct"));
  const auto plan = chosen->plan({20, 12}).value();
  const auto obeys = runner(graph, 2, plan);
  EXPECT_EQ(obeys->plan({20, 12}).value(), plan);
  const std::map<std::string, Tensor> inputs{{"in", noise({1, 3, 12, 20}, 7)}};
  const auto a = chosen->run(inputs).value(), b = obeys->run(inputs).value();
  const auto& x = a.begin()->second.floats;
  const auto& y = b.begin()->second.floats;
  ASSERT_EQ(x.size(), y.size());
  EXPECT_EQ(0, std::memcmp(x.data(), y.data(), x.size() * sizeof(float)));
}

TEST(Tuning, EveryWayAgreesWithTheReference) {
  for (const auto& [width, height] : {std::pair{1, 1}, {5, 3}, {13, 22}, {31, 8}}) {
    for (const int64_t channels : {8, 17, 64}) {
      const Graph graph = styled(channels);
      const Tensor input = noise({1, 3, height, width}, 9);
      const auto expected = run_reference(graph, {{"in", input}}).value().begin()->second;
      double scale = 0;
      for (const float v : expected.floats) scale = std::max(scale, std::abs(double{v}));
      const auto tuned = runner_with(graph, {})->tune({width, height}, true, [] {}).value();
      ASSERT_GE(tuned.size(), 4U);
      for (const TunedLayer& layer : tuned) {
        for (const auto& [way, seconds] : layer.seconds) {
          const bool bytes = layer.key.find(" int8 ") != std::string::npos;
          const auto made =
              runner_with(graph, {{layer.key, way}}, bytes ? Precision::int8 : Precision::f32, 2);
          const auto got = made->run({{"in", input}}).value().begin()->second;
          ASSERT_EQ(got.floats.size(), expected.floats.size());
          double most = 0;
          for (size_t i = 0; i < got.floats.size(); i++) {
            most = std::max(most, std::abs(double{got.floats[i]} - expected.floats[i]));
          }
          // One pixel is normalised to nothing but its rounding.
          const double allowed = bytes ? (width == 1 ? 1 : 0.1) : 1e-3;
          EXPECT_LE(most, allowed * scale) << layer.key << " by " << way;
        }
      }
    }
  }
}

double error_of(float reach, int out = 16, int in = 24) {
  const Tensor weights = noise({out, in, 3, 3}, 4, -reach, reach);
  return winograd_error(kernels::Isa::avx2, weights.floats.data(), out, in);
}

TEST(WinogradCheck, OrdinaryWeightsAreWellWithinTheLimit) {
  for (const float reach : {1e-20F, 1e-3F, 1.0F, 1e20F}) EXPECT_LT(error_of(reach), 1e-4) << reach;
  EXPECT_LT(error_of(0.1F, 128, 128), 1e-4);
  EXPECT_LT(error_of(0.1F, 9, 11), 1e-4);
  EXPECT_EQ(error_of(0), 0);
}

TEST(WinogradCheck, WeightsAtTheEndsOfFloatsAreNot) {
  EXPECT_GT(error_of(1e-43F), kMostWinogradError) << "lost where they are divided";
  EXPECT_GT(error_of(1e36F), kMostWinogradError) << "no longer finite on the way";
  Tensor weights = noise({16, 16, 3, 3}, 4);
  weights.floats[77] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_GT(winograd_error(kernels::Isa::avx2, weights.floats.data(), 16, 16), kMostWinogradError);
}

// Weights whose sum is nothing leave little of a bright ground but rounding.
TEST(WinogradCheck, DetectorsOfEdgesAreWithinTheLimitToo) {
  Tensor weights = noise({16, 16, 3, 3}, 4);
  for (int kernel = 0; kernel < 16 * 16; kernel++) {
    float* first = weights.floats.data() + kernel * 9;
    for (int tap = 0; tap < 8; tap++) first[8] -= first[tap] + (tap == 0 ? first[8] : 0);
  }
  const double error = winograd_error(kernels::Isa::avx2, weights.floats.data(), 16, 16);
  EXPECT_GT(error, 0);
  EXPECT_LT(error, kMostWinogradError / 2);
}

TEST(WinogradCheck, ALayerThatFailsIsDirectWhateverWasMeasured) {
  Net net(6, 16);
  net.conv({.out = 16});
  Graph graph = net.graph();
  const std::map<std::string, TensorType> inputs{{"in", {ElementType::f32, {1, 16, 9, 9}}}};
  const auto planned = [&](const PlanOptions& options) {
    WeightCache weights;
    return build_plan(specialise(graph, inputs).value(), options, weights).value();
  };
  EXPECT_EQ(planned({}).steps.at(0).label.algorithm, "winograd_f4x3");

  for (float& v : graph.initializers.at(graph.nodes[0].inputs[1]).floats) v *= 1e-42F;
  const NetPlan plan = planned({});
  ASSERT_EQ(plan.layers.size(), 1U);
  EXPECT_THAT(plan.layers[0].ways, ElementsAre(kWayDirect));
  PlanOptions options;
  options.choices[plan.layers[0].key] = kWayWinograd;
  options.forced[plan.layers[0].node] = kWayWinograd;
  EXPECT_EQ(planned(options).steps.at(0).label.algorithm, "direct");
}

}  // namespace
}  // namespace atelier::model
