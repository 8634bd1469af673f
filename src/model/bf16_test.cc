// SPDX-License-Identifier: Apache-2.0
// Convolutions in bfloat16: within what rounding explains, the same bits for any number of threads,
// fed by whoever makes their input.
#include "model/kernels/bf16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstring>

#include "base/psnr.h"
#include "model/pixels.h"
#include "model/processor.h"
#include "model/random_graph.h"
#include "model/reference.h"
#include "model/runner_testing.h"
#include "model/test_net.h"

namespace atelier::model {
namespace {

// By rule bfloat16 is planned where it is faster. That a plan made there gives the same bits
// elsewhere is shown by the kernels' tests.
class Bf16Runner : public testing::Test {
 protected:
  void SetUp() override {
    if (own_isa() == kernels::Isa::avx512_amx) return;
    std::printf("SKIPPED: this processor has no AMX, or its kernel grants none\n");
    GTEST_SKIP() << "no AMX here";
  }

  static std::unique_ptr<Runner> make(const Graph& graph, int threads,
                                      std::vector<PlanStep> plan = {}) {
    RunnerOptions options;
    options.threads = threads;
    options.plan = std::move(plan);
    options.precision = options.plan.empty() ? Precision::bf16 : Precision::f32;
    return runner(graph, options);
  }

  static std::vector<std::string> steps(Runner& runner, Size size) {
    std::vector<std::string> names;
    for (const PlanStep& step : runner.plan(size).value()) {
      const bool half = step.algorithm == kBf16Algorithm;
      names.push_back(step.op + (half                               ? " in bf16"
                                 : step.algorithm == kInt8Algorithm ? " in bytes"
                                                                    : ""));
    }
    return names;
  }

  // Largest difference over the largest value.
  static double difference(const Tensor& a, const Tensor& b) {
    double most = 0, scale = 1e-30;
    EXPECT_EQ(a.shape, b.shape);
    for (size_t i = 0; i < a.floats.size(); i++) {
      if (!std::isfinite(a.floats[i])) return INFINITY;
      most = std::max(most, static_cast<double>(std::abs(a.floats[i] - b.floats[i])));
      scale = std::max(scale, static_cast<double>(std::abs(b.floats[i])));
    }
    return most / scale;
  }

  static void expect_near(const Graph& graph, const Tensor& input, const std::string& what) {
    const std::map<std::string, Tensor> inputs{{"in", input}};
    const Tensor expected = run_reference(graph, inputs).value().begin()->second;
    const Tensor one = make(graph, 1)->run(inputs).value().begin()->second;
    const double off = difference(one, expected);
    EXPECT_LT(off, 0.01) << what;
    EXPECT_GT(off, 1e-6) << what << " was not computed in bfloat16";
    for (int threads = 2; threads <= 4; threads++) {
      const Tensor other = make(graph, threads)->run(inputs).value().begin()->second;
      EXPECT_EQ(one.floats, other.floats) << what << ", " << threads << " threads";
    }
  }
};

TEST_F(Bf16Runner, IsNearForEveryKindOfConvolution) {
  const auto check = [&](Net& net, int64_t channels, int64_t height, int64_t width) {
    expect_near(net.graph(), noise({1, channels, height, width}, 77, -1, 1),
                fmt::format("{} of {} channels, {}x{}", net.last(), channels, height, width));
  };
  for (const auto& [height, width] : {std::pair{1, 1}, {9, 14}, {23, 47}}) {
    Net picture(1, 3), few(2, 1), deconvolution(3, 16), cropped(4, 20), enlarged(5, 16),
        bounded(6, 8), wide(7, 72);
    check(picture.conv({.out = 20, .kernel = 9, .pad = 4}), 3, height, width);
    check(few.conv({.out = 8, .kernel = 9, .stride = 2, .pad = 4}), 1, height, width);
    check(deconvolution.transposed({.out = 13, .kernel = 3, .stride = 2, .pad = 1}, 1), 16, height,
          width);
    check(cropped.transposed({.out = 3, .kernel = 4, .stride = 2, .pad = 1}, 0), 20, height, width);
    enlarged.then("Resize", {"", enlarged.given({4}, {1, 1, 2, 2})}, {{"mode", "nearest"}});
    check(enlarged.conv({.out = 24, .kernel = 3, .pad = 1}), 16, height, width);
    check(bounded.conv({.out = 8, .kernel = 5, .pad = 2}).then("Relu"), 8, height, width);
    check(wide.conv({.out = 24, .kernel = 3, .pad = 1}), 72, height, width);
  }
}

TEST_F(Bf16Runner, WhoMakesTheInputRoundsIt) {
  Net net(13, 3);
  net.conv({.out = 20, .kernel = 5, .pad = 2}).norm().then("Relu");
  const std::string kept = net.last();
  net.conv({.out = 20, .kernel = 3, .pad = 1}).then("Add", {kept});  // in floats, too
  net.pad({2, 2, 2, 2}, "reflect").conv({.out = 12, .kernel = 5, .pad = 0}).then("Relu");
  net.transposed({.out = 9, .kernel = 3, .stride = 2, .pad = 1}, 1);
  net.conv({.out = 3, .kernel = 5, .pad = 2});
  const Graph graph = net.graph();
  const auto made = make(graph, 2);
  EXPECT_EQ(
      steps(*made, {83, 18}),
      (std::vector<std::string>{"Quantize", "Conv in bf16", "InstanceNormalization+Relu+Quantize",
                                "Conv+Add+Quantize in bf16", "Pad", "Conv+Relu+Quantize in bf16",
                                "ConvTranspose+Quantize in bf16", "Conv in bf16"}));
  expect_near(graph, noise({1, 3, 18, 83}, 4), "the whole network");
}

TEST_F(Bf16Runner, APlanIsObeyedAndWhatHasNoRangeMayBeAsWide) {
  Net net(10, 3);
  net.conv({.out = 16, .kernel = 5, .pad = 2}).then("Relu");
  net.conv({.out = 3, .kernel = 5, .pad = 2});
  const Graph graph = net.graph();
  RunnerOptions mixed;
  mixed.precision = Precision::int8;
  mixed.wide = Precision::bf16;
  mixed.ranges = {{graph.nodes[2].name, {0, 2}}};
  const auto both = runner(graph, mixed);
  EXPECT_EQ(steps(*both, {40, 30}),
            (std::vector<std::string>{"Quantize", "Conv+Relu+Quantize in bf16", "Conv in bytes"}));
  const std::map<std::string, Tensor> inputs{{"in", noise({1, 3, 30, 40}, 5)}};
  RunnerOptions obeying;
  obeying.plan = both->plan({40, 30}).value();
  obeying.ranges = mixed.ranges;
  obeying.threads = 3;
  const auto obeyed = runner(graph, obeying);
  EXPECT_EQ(obeyed->plan({40, 30}).value(), obeying.plan);
  EXPECT_EQ(both->run(inputs).value().begin()->second.floats,
            obeyed->run(inputs).value().begin()->second.floats);
}

// Lanes of a pixel without a channel, and channels that several threads could write at once.
TEST_F(Bf16Runner, PicturesOfAFewChannelsAreTheSameWhateverMemoryHeld) {
  for (const int64_t channels : {2, 3, 5, 7}) {
    Net net(4, 3);
    net.conv({.out = 16, .kernel = 3, .pad = 1}).conv({.out = channels, .kernel = 1, .pad = 0});
    net.norm().conv({.out = 9, .kernel = 5, .pad = 2});
    const Graph graph = net.graph();
    const std::map<std::string, Tensor> inputs{{"in", noise({1, 3, 41, 67}, 5)}};
    std::map<std::string, Tensor> wild = inputs;
    for (float& v : wild.at("in").floats) v = std::numeric_limits<float>::quiet_NaN();
    const auto one = make(graph, 1);
    const auto first = one->run(inputs).value().begin()->second.floats;
    for (const float v : first) ASSERT_TRUE(std::isfinite(v)) << channels;
    for (const int threads : {static_cast<int>(channels), 2, 3}) {
      const auto several = make(graph, threads);
      for (int repeat = 0; repeat < 10; repeat++) {
        ASSERT_TRUE(several->run(wild).ok());
        ASSERT_EQ(several->run(inputs).value().begin()->second.floats, first)
            << channels << " channels, " << threads << " threads";
      }
    }
  }
}

// What the last pixels read behind their value may be anything before.
TEST_F(Bf16Runner, MemoryThatHeldOtherThingsIsNoMatter) {
  Net net(3, 3);
  for (int i = 0; i < 4; i++) {
    net.conv({.out = 9, .kernel = 3, .pad = 0}).then("Tanh");
    net.then("Div", {net.given({1}, {1e-30F})}).then("Mul", {net.given({1}, {1e-30F})});
  }
  net.conv({.out = 3, .kernel = 1, .pad = 0});
  const Graph graph = net.graph();
  const auto made = make(graph, 2);
  const std::map<std::string, Tensor> inputs{{"in", noise({1, 3, 21, 30}, 5)}};
  const auto first = made->run(inputs).value().begin()->second.floats;
  Tensor wild = inputs.at("in");
  for (size_t i = 0; i < wild.floats.size(); i++) {
    wild.floats[i] = i % 2 == 0 ? INFINITY : std::numeric_limits<float>::quiet_NaN();
  }
  ASSERT_TRUE(made->run({{"in", wild}}).ok());
  EXPECT_EQ(made->run(inputs).value().begin()->second.floats, first);
  for (const float v : first) ASSERT_TRUE(std::isfinite(v));
}

TEST_F(Bf16Runner, AFrameIsRoundedAsItIsConverted) {
  Net net(1, 3);
  net.conv({.out = 16, .kernel = 5, .pad = 2}).then("Relu").conv({.out = 3, .kernel = 3, .pad = 1});
  const Graph graph = net.graph();
  for (const auto& [width, height] : {std::pair{38, 22}, {37, 21}}) {
    FrameBuffer in(width, height, {PixelFormat::Family::rgb, 8, 0, 0, false}, {});
    for (const FrameView::Plane& plane : in.view().plane) {
      if (!plane.data) continue;
      for (ptrdiff_t i = 0; i < height * plane.stride; i++) {
        plane.data[i] = static_cast<std::byte>(i * i * 31 % 251);
      }
    }
    FrameBuffer exact(width, height, in.view().format, in.view().color),
        half(width, height, in.view().format, in.view().color);
    ASSERT_TRUE(runner(graph)->score(in.view(), exact.view()).ok());
    ASSERT_TRUE(make(graph, 2)->score(in.view(), half.view()).ok());
    const double psnr = squared_error(exact.view(), half.view()).psnr();
    EXPECT_GT(psnr, 40);
    EXPECT_LT(psnr, 90);
  }
}

// Networks that want sizes of a multiple get pixels beside the frame.
TEST(FrameToHalves, EveryLaneOfEveryPixelIsANumberWhateverMemoryHeld) {
  constexpr int kWidth = 48, kHeight = 32, kLanes = 4;
  FrameBuffer frame(37, 21, {PixelFormat::Family::rgb, 8, 0, 0, false}, {});
  for (const FrameView::Plane& plane : frame.view().plane) {
    if (plane.data) std::fill_n(plane.data, 21 * plane.stride, std::byte{200});
  }
  std::vector<uint16_t> memory(size_t{kWidth} * kHeight * kLanes, 0xFFFF);  // no number
  const HalfPlanesView out{memory.data(), 3, kWidth, kHeight, ptrdiff_t{kWidth} * kLanes, 1,
                           kLanes};
  ASSERT_TRUE(frame_to_halves(frame.view(), ModelSpec(), out).ok());
  for (size_t i = 0; i < memory.size(); i++) {
    ASSERT_EQ(kernels::from_bf16(memory[i]), i % kLanes == 3 ? 0.0F : 200.0F) << i;
  }
}

TEST_F(Bf16Runner, RandomGraphsGiveTheSameBitsForAnyThreads) {
  for (uint32_t seed = 1; seed <= 60; seed++) {
    const RandomGraph random = random_picture_graph(seed);
    const auto one = make(random.graph, 1)->run(random.inputs);
    const auto three = make(random.graph, 3)->run(random.inputs);
    expect_same_bits(one, three, "seed " + std::to_string(seed));
  }
}

}  // namespace
}  // namespace atelier::model
