// SPDX-License-Identifier: Apache-2.0
// Convolutions in eight bits: exact where bytes can hold everything, else within what rounding
// explains, with the same bits for any number of threads; and the ranges that bytes are given.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/psnr.h"
#include "model/kernels/pointwise.h"
#include "model/kernels/shuffle.h"
#include "model/random_graph.h"
#include "model/range_finder.h"
#include "model/reference.h"
#include "model/runner_testing.h"
#include "model/test_net.h"

namespace atelier::model {
namespace {

std::unique_ptr<Runner> int8_runner(const Graph& graph, const Ranges& ranges, int threads,
                                    std::vector<PlanStep> plan = {}) {
  RunnerOptions options;
  options.threads = threads;
  options.plan = std::move(plan);
  options.precision = options.plan.empty() ? Precision::int8 : Precision::f32;
  options.ranges = ranges;
  return runner(graph, options);
}

// Whole numbers from `low` to `high`: bytes hold them exactly if the range has 256 of them.
Tensor whole_numbers(std::vector<int64_t> shape, int low, int high, uint32_t seed) {
  Tensor tensor = noise(std::move(shape), seed, static_cast<float>(low) - 0.49F,
                        static_cast<float>(high) + 0.49F);
  for (float& v : tensor.floats) v = std::nearbyint(v);
  return tensor;
}

// Weights that eight bits hold exactly: whole numbers to 63, and in each output and column of taps
// (a lane, with few outputs) one pair, two channels of a tap, that adds up to 127: a scale of one.
Graph with_exact_weights(Graph graph) {
  Tensor& weights = graph.initializers.at(graph.nodes.back().inputs[1]);
  const int64_t taps = weights.shape[2] * weights.shape[3];
  for (float& v : weights.floats) v = std::nearbyint(std::fmod(v * 9973, 63.4F));
  for (int64_t o = 0; o < weights.shape[0]; o++) {
    float* first = weights.floats.data() + o * weights.shape[1] * taps;
    for (int64_t x = 0; x < weights.shape[3]; x++) {
      first[x] = 64;
      first[taps + x] = -63;
    }
  }
  return graph;
}

struct Layer {
  int64_t in, height, width;
  Net::Conv conv;
};

// Largest difference to the reference over the largest value; equal bits for 1 to 4 threads.
double int8_difference(const Graph& graph, const Tensor& input, const Range& range) {
  Ranges ranges;
  for (const Node& node : graph.nodes) {
    if (node.op.starts_with("Conv")) ranges[node.name] = range;
  }
  const std::map<std::string, Tensor> inputs{{"in", input}};
  const auto reference = run_reference(graph, inputs);
  EXPECT_TRUE(reference.ok()) << reference.error().message;
  if (!reference.ok()) return INFINITY;
  const Tensor expected = reference->begin()->second;
  double most = 0, scale = 1e-30;
  std::vector<float> first;
  for (int threads = 1; threads <= 4; threads++) {
    const auto made = int8_runner(graph, ranges, threads);
    const auto answer = made->run(inputs);
    EXPECT_TRUE(answer.ok()) << answer.error().message;
    if (!answer.ok()) return INFINITY;
    const Tensor got = answer->begin()->second;
    EXPECT_EQ(got.shape, expected.shape);
    if (threads == 1) first = got.floats;
    EXPECT_EQ(0, std::memcmp(first.data(), got.floats.data(), first.size() * sizeof(float)))
        << threads << " threads give other bits";
  }
  for (size_t i = 0; i < first.size(); i++) {
    if (!std::isfinite(first[i])) return INFINITY;
    most = std::max(most, static_cast<double>(std::abs(first[i] - expected.floats[i])));
    scale = std::max(scale, static_cast<double>(std::abs(expected.floats[i])));
  }
  return most / scale;
}

TEST(Int8, IsExactWhereBytesHoldEverything) {
  const Layer layers[] = {
      {8, 1, 1, {.out = 8, .kernel = 5, .pad = 2}},
      {8, 7, 13, {.out = 16, .kernel = 5, .pad = 2}},
      {9, 12, 5, {.out = 24, .kernel = 3, .stride = 2, .pad = 1, .bias = false}},
      {16, 9, 31, {.out = 11, .kernel = 5, .stride = 2, .pad = 0}},
      {32, 10, 6, {.out = 3, .kernel = 9, .pad = 4}},  // lanes along x
      {24, 17, 250, {.out = 2, .kernel = 5, .pad = 2, .dilation = 1, .bias = false}},
      {10, 14, 15, {.out = 40, .kernel = 3, .pad = 2, .dilation = 2}},
      {70, 3, 4, {.out = 8, .kernel = 1, .pad = 0}},
  };
  uint32_t seed = 1;
  for (const Layer& layer : layers) {
    for (const Range range : {Range{0, 255}, Range{-100, 155}, Range{-255, 0}}) {
      Net net(seed, layer.in);
      const Graph graph = with_exact_weights(net.conv(layer.conv).graph());
      Tensor input =
          whole_numbers({1, layer.in, layer.height, layer.width}, static_cast<int>(range.low),
                        static_cast<int>(range.high), seed++);
      const std::string what =
          fmt::format("{} channels, kernel {}, from {}", layer.in, layer.conv.kernel, range.low);
      EXPECT_LT(int8_difference(graph, input, range), 2e-6) << what;
      // It was computed in bytes: what they do not hold is cut off.
      for (float& v : input.floats) v *= 3;
      EXPECT_GT(int8_difference(graph, input, range), 1e-3) << what;
    }
  }
}

TEST(Int8, IsNearForRandomWeightsOfEveryKindOfConvolution) {
  const Range range{-1, 1};
  const auto check = [&](Net& net, int64_t channels, int64_t height, int64_t width) {
    const Tensor input = noise({1, channels, height, width}, 77, -1, 1);
    const double off = int8_difference(net.graph(), input, range);
    const std::string what =
        fmt::format("{} of {} channels, {}x{}", net.last(), channels, height, width);
    EXPECT_LT(off, 0.02) << what;
    EXPECT_GT(off, 1e-5) << what << " was not computed in bytes";
  };
  for (const auto& [height, width] : {std::pair{1, 1}, {9, 14}, {23, 7}}) {
    Net picture(1, 3), few(2, 1), deconvolution(3, 16), cropped(4, 20), enlarged(5, 16),
        bounded(6, 8);
    check(picture.conv({.out = 20, .kernel = 9, .pad = 4}), 3, height, width);
    check(few.conv({.out = 8, .kernel = 9, .stride = 2, .pad = 4}), 1, height, width);
    check(deconvolution.transposed({.out = 13, .kernel = 3, .stride = 2, .pad = 1}, 1), 16, height,
          width);
    check(cropped.transposed({.out = 3, .kernel = 4, .stride = 2, .pad = 1}, 0), 20, height, width);
    enlarged.then("Resize", {"", enlarged.given({4}, {1, 1, 2, 2})}, {{"mode", "nearest"}});
    check(enlarged.conv({.out = 24, .kernel = 3, .pad = 1}), 16, height, width);
    check(bounded.conv({.out = 8, .kernel = 5, .pad = 2}).then("Relu"), 8, height, width);
  }
}

// The steps that are planned, and how far the picture is from the reference's.
void expect_steps(const Graph& graph, const Ranges& ranges,
                  const std::vector<std::string>& expected) {
  const auto made = int8_runner(graph, ranges, 2);
  std::vector<std::string> ops;
  const auto plan = made->plan({83, 18});
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  for (const PlanStep& step : *plan) {
    ops.push_back(step.op + (step.algorithm == kInt8Algorithm ? " in bytes" : ""));
  }
  EXPECT_EQ(ops, expected);
  const std::map<std::string, Tensor> inputs{{"in", noise({1, 3, 18, 83}, 4)}};
  const Tensor got = made->run(inputs).value().begin()->second;
  const Tensor wanted = run_reference(graph, inputs).value().begin()->second;
  double worst = 0, scale = 0;
  for (size_t i = 0; i < got.floats.size(); i++) {
    worst = std::max(worst, static_cast<double>(std::abs(got.floats[i] - wanted.floats[i])));
    scale = std::max(scale, static_cast<double>(std::abs(wanted.floats[i])));
  }
  EXPECT_LT(worst / scale, 0.05);
}

TEST(Int8, WhoMakesTheInputMakesItsBytes) {
  Net net(9, 3);
  net.conv({.out = 16, .kernel = 5, .pad = 2}).norm().then("Relu");
  net.conv({.out = 16, .kernel = 5, .pad = 2}).norm().then("Tanh");
  net.conv({.out = 3, .kernel = 5, .pad = 2});
  const Graph graph = net.graph();
  const Ranges ranges{{graph.nodes[0].name, {-1, 1}},
                      {graph.nodes[3].name, {0, 8}},
                      {graph.nodes[6].name, {-1, 1}}};
  expect_steps(graph, ranges,
               {"Quantize", "Conv in bytes", "InstanceNormalization+Relu+Quantize", "Conv in bytes",
                "InstanceNormalization+Tanh+Quantize", "Conv in bytes"});
}

TEST(Int8, AConvolutionMakesBytesForTheNext) {
  Net net(13, 3);
  net.conv({.out = 20, .kernel = 5, .pad = 2}).then("Relu");
  const std::string kept = net.last();
  net.conv({.out = 20, .kernel = 5, .pad = 2}).then("Add", {kept});  // in floats, too
  net.pad({2, 2, 2, 2}, "reflect").conv({.out = 12, .kernel = 5, .pad = 0}).then("Relu");
  net.transposed({.out = 9, .kernel = 3, .stride = 2, .pad = 1}, 1);
  net.conv({.out = 3, .kernel = 5, .pad = 2});
  const Graph graph = net.graph();
  Ranges ranges;
  for (const Node& node : graph.nodes) {
    if (node.op.starts_with("Conv")) ranges[node.name] = {-4, 4};
  }
  ranges[graph.nodes[0].name] = {-1, 1};
  expect_steps(graph, ranges,
               {"Quantize", "Conv+Relu+Quantize in bytes", "Conv+Add+Quantize in bytes", "Pad",
                "Conv+Relu+Quantize in bytes", "ConvTranspose+Quantize in bytes", "Conv in bytes"});
}

// What is added later on is kept in floats, too.
TEST(Int8, WhatTwoReadIsMadeInFloatsAndInBytesAtOnce) {
  Net net(12, 3);
  net.conv({.out = 20, .kernel = 5, .pad = 2}).norm().then("Relu");
  const std::string kept = net.last();
  net.conv({.out = 20, .kernel = 5, .pad = 2}).norm().then("Add", {kept});
  const std::string sum = net.last();
  net.conv({.out = 20, .kernel = 5, .pad = 2}).norm().then("Add", {sum});
  net.conv({.out = 3, .kernel = 5, .pad = 2});
  const Graph graph = net.graph();
  Ranges ranges{{graph.nodes[0].name, {-1, 1}}};
  for (const size_t i : {3, 6, 9}) ranges[graph.nodes[i].name] = {-12, 12};
  expect_steps(graph, ranges,
               {"Quantize", "Conv in bytes", "InstanceNormalization+Relu+Quantize", "Conv in bytes",
                "InstanceNormalization+Add+Quantize", "Conv in bytes",
                "InstanceNormalization+Add+Quantize", "Conv in bytes"});
}

TEST(Int8, APlanIsObeyed) {
  Net net(10, 3);
  net.conv({.out = 16, .kernel = 5, .pad = 2}).then("Relu");
  net.conv({.out = 3, .kernel = 5, .pad = 2});
  const Graph graph = net.graph();
  const Ranges both{{graph.nodes[0].name, {-1, 1}}, {graph.nodes[2].name, {0, 2}}};
  const Ranges last{{graph.nodes[2].name, {0, 2}}};
  const auto planned = int8_runner(graph, last, 1)->plan({40, 30}).value();
  // What ranges there are for others changes nothing, nor does the precision.
  const auto obeyed = int8_runner(graph, both, 3, planned);
  EXPECT_EQ(obeyed->plan({40, 30}).value(), planned);
  const std::map<std::string, Tensor> inputs{{"in", noise({1, 3, 30, 40}, 5)}};
  const Tensor a = int8_runner(graph, last, 1)->run(inputs).value().begin()->second;
  const Tensor b = obeyed->run(inputs).value().begin()->second;
  EXPECT_EQ(a.floats, b.floats);
  // Without the range the plan cannot be had.
  const auto refused = int8_runner(graph, {}, 1, planned)->plan({40, 30});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::invalid_argument);
}

TEST(Int8, RangesThatMeanNothingDoNoHarm) {
  Net net(11, 8);
  const Graph graph = net.conv({.out = 8, .kernel = 5, .pad = 2}).graph();
  const std::map<std::string, Tensor> inputs{{"in", noise({1, 8, 9, 9}, 6)}};
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kHuge = std::numeric_limits<float>::max();
  for (const Range range : {Range{0, 0}, Range{kNan, 1}, Range{-INFINITY, INFINITY}, Range{5, -5},
                            Range{-kHuge, kHuge}, Range{1e-45F, 2e-45F}}) {
    EXPECT_TRUE(int8_runner(graph, {{graph.nodes[0].name, range}}, 2)->run(inputs).ok());
  }
}

TEST(Int8, ALayerThatSawOnlyZerosStaysInFloats) {
  Net net(13, 8);
  const Graph graph = net.conv({.out = 8, .kernel = 5, .pad = 2}).graph();
  const std::map<std::string, Tensor> inputs{{"in", noise({1, 8, 9, 9}, 6)}};
  const Tensor expected = run_reference(graph, inputs).value().begin()->second;
  const auto made = int8_runner(graph, {{graph.nodes[0].name, {0, 0}}}, 2);
  const Tensor got = made->run(inputs).value().begin()->second;
  for (size_t i = 0; i < got.floats.size(); i++) {
    ASSERT_NEAR(got.floats[i], expected.floats[i], 1e-4F);
  }
}

TEST(Int8, APlanInBytesForAnEmptyRangeIsRefused) {
  Net net(14, 3);
  const Graph graph = net.conv({.out = 16, .kernel = 5, .pad = 2}).conv({.out = 3}).graph();
  const std::string node = graph.nodes[0].name;
  const auto planned = int8_runner(graph, {{node, {-1, 1}}}, 1)->plan({20, 20}).value();
  const auto refused = int8_runner(graph, {{node, {0, 0}}}, 1, planned)->plan({20, 20});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::invalid_argument);
}

// Every product the largest, and more of them than 32 bits could sum.
TEST(Int8, MoreProductsThanASumHoldsStayInFloats) {
  constexpr int64_t kChannels = 15000;
  Net net(15, kChannels);
  Graph graph = net.conv({.out = 8, .kernel = 3, .pad = 0, .bias = false}).graph();
  Tensor& weights = graph.initializers.at(graph.nodes.back().inputs[1]);
  std::fill(weights.floats.begin(), weights.floats.end(), 1.0F);
  Tensor input;
  input.shape = {1, kChannels, 3, 3};
  input.floats.assign(static_cast<size_t>(input.count()), 255.0F);
  const auto made = int8_runner(graph, {{graph.nodes[0].name, {0, 255}}}, 2);
  const Tensor got = made->run({{"in", input}}).value().begin()->second;
  for (const float v : got.floats) ASSERT_NEAR(v / (kChannels * 9 * 255.0F), 1, 1e-2);
}

TEST(Int8, WeightsNextToNothingGiveNothing) {
  for (const float magnitude : {1e-43F, 2.6e-43F, 1e-40F, 1e-38F}) {
    Net net(16, 8);
    Graph graph = net.conv({.out = 8, .kernel = 5, .pad = 2, .bias = false}).graph();
    for (float& v : graph.initializers.at(graph.nodes.back().inputs[1]).floats) v = magnitude;
    const std::map<std::string, Tensor> inputs{{"in", noise({1, 8, 9, 9}, 6, 0, 1)}};
    const auto made = int8_runner(graph, {{graph.nodes[0].name, {0, 1}}}, 1);
    const Tensor got = made->run(inputs).value().begin()->second;
    for (const float v : got.floats) {
      ASSERT_GE(v, 0) << magnitude;
      ASSERT_LT(v, 1e-35F) << magnitude;
    }
  }
}

TEST(Int8, RandomGraphsGiveTheSameBitsForAnyThreads) {
  for (uint32_t seed = 1; seed <= 60; seed++) {
    const RandomGraph random = random_picture_graph(seed);
    Ranges ranges;
    for (const Node& node : random.graph.nodes) ranges[node.name] = {-3, 3};
    const auto one = int8_runner(random.graph, ranges, 1)->run(random.inputs);
    const auto three = int8_runner(random.graph, ranges, 3)->run(random.inputs);
    expect_same_bits(one, three, "seed " + std::to_string(seed));
  }
}

TEST(Quantize, RoundsToTheEvenOneAndCutsOff) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> values{0,    0.49F, 0.5F, 1.5F,     -1,        127.5F,
                            1000, -1000, kNan, INFINITY, -INFINITY, 2.5F};
  for (int width = 1; width <= 70; width++) {
    std::vector<float> row;
    for (int i = 0; i < width; i++) row.push_back(values[static_cast<size_t>(i) % values.size()]);
    std::vector<uint8_t> bytes(row.size() + 1, 77);
    kernels::TensorView in;
    in.data = row.data();
    in.channels = in.height = in.block = 1;
    in.width = width;
    in.row = in.plane = width;
    kernels::ByteView out;
    out.data = bytes.data();
    out.channels = out.height = out.block = 1;
    out.width = width;
    out.row = out.plane = width;
    kernels::run_program({}, {}, in, {out, {0.5F, 10}}, 1);
    for (size_t i = 0; i < row.size(); i++) {
      const float q = std::nearbyint(row[i] * 2 + 10);
      const int expected =
          std::isnan(q) ? 0 : static_cast<int>(std::min(std::max(q, 0.0F), 255.0F));
      EXPECT_EQ(bytes[i], expected) << row[i] << " at " << i << " of " << width;
    }
    EXPECT_EQ(bytes.back(), 77) << "written beyond the row";
  }
}

Range range_of(std::vector<float> values) {
  kernels::TensorView view;
  view.data = values.data();
  view.channels = view.height = view.block = 1;
  view.width = static_cast<int>(values.size());
  view.row = view.plane = view.width;
  RangeFinder finder;
  finder.see(view);
  return finder.range();
}

TEST(RangeFinder, KeepsAllOfWhatIsSpreadEvenly) {
  std::vector<float> values;
  for (int i = 0; i <= 2000; i++) values.push_back(static_cast<float>(i - 500) * 0.01F);
  const Range range = range_of(values);
  EXPECT_NEAR(range.low, -5, 0.3);
  EXPECT_NEAR(range.high, 15, 0.5);
}

TEST(RangeFinder, CutsOffWhatIsFarAndRare) {
  std::vector<float> values(2'000'000);
  for (size_t i = 0; i < values.size(); i++) values[i] = static_cast<float>(i % 1000) * 0.001F;
  values[0] = 8;
  const Range range = range_of(values);
  EXPECT_EQ(range.low, 0);
  EXPECT_LT(range.high, 4);
  EXPECT_GE(range.high, 0.9F);
}

TEST(RangeFinder, KnowsNothingOfNothingAndIgnoresWhatIsNoNumber) {
  EXPECT_EQ(range_of({}), Range());
  EXPECT_EQ(range_of({std::numeric_limits<float>::quiet_NaN(), INFINITY, -INFINITY}), Range());
  const Range range = range_of({3, 3, INFINITY, 1e-30F});
  EXPECT_EQ(range.low, 0);
  EXPECT_NEAR(range.high, 3, 0.1);
}

TEST(Observe, GivesTheRangesOfWhatConvolutionsRead) {
  Net net(12, 3);
  net.conv({.out = 8, .kernel = 5, .pad = 2}).then("Relu");
  net.conv({.out = 3, .kernel = 5, .pad = 2});
  const Graph graph = net.graph();
  FrameBuffer in(20, 10, {PixelFormat::Family::rgb, 8, 0, 0, false}, {});
  FrameBuffer out(20, 10, in.view().format, in.view().color),
      again = FrameBuffer(20, 10, in.view().format, in.view().color);
  for (int p = 0; p < 3; p++)
    for (int y = 0; y < 10; y++)
      for (int x = 0; x < 20; x++)
        in.view()
            .plane[static_cast<size_t>(p)]
            .data[y * in.view().plane[static_cast<size_t>(p)].stride + x] =
            static_cast<std::byte>((x * 13 + y * 29 + p) % 251);
  const auto made = runner(graph);
  const Ranges ranges = made->observe({&in.view(), 1}, {&out.view(), 1}, [] {}).value();
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_GE(ranges.at(graph.nodes[0].name).low, 0);
  EXPECT_NEAR(ranges.at(graph.nodes[0].name).high, 255, 20);
  EXPECT_EQ(ranges.at(graph.nodes[2].name).low, 0) << "after a ReLU";
  EXPECT_GT(ranges.at(graph.nodes[2].name).high, 1);
  ASSERT_TRUE(made->score(in.view(), again.view()).ok());
  EXPECT_EQ(squared_error(out.view(), again.view()).sum, 0) << "and scores as ever";
}

// A bright frame of a video of which only dark ones were seen.
TEST(Observe, WhatEntersTheNetworkMayBeBlackOrWhite) {
  Net net(12, 3);
  net.then("Div", {net.given({1}, {255})});
  net.conv({.out = 8, .kernel = 5, .pad = 2}).then("Relu");
  net.conv({.out = 3, .kernel = 5, .pad = 2});
  const Graph graph = net.graph();
  FrameBuffer in(20, 10, {PixelFormat::Family::rgb, 8, 0, 0, false}, {});
  FrameBuffer out(20, 10, in.view().format, in.view().color);
  for (const FrameView::Plane& plane : in.view().plane) {
    if (plane.data) std::fill_n(plane.data, 10 * plane.stride, std::byte{9});
  }
  int scored = 0;
  const auto made = runner(graph);
  const Ranges ranges = made->observe({&in.view(), 1}, {&out.view(), 1}, [&] { scored++; }).value();
  EXPECT_EQ(scored, 3);
  EXPECT_NEAR(ranges.at(graph.nodes[1].name).high, 1, 0.1);
  FrameBuffer again(20, 10, in.view().format, in.view().color);
  ASSERT_TRUE(made->score(in.view(), again.view()).ok()) << "its memory is had again";
  EXPECT_EQ(squared_error(out.view(), again.view()).sum, 0);
}

}  // namespace
}  // namespace atelier::model
