// SPDX-License-Identifier: Apache-2.0
// The fast runner against the slow obvious one, operator by operator on awkward sizes, on seeded
// random networks, and on whole models against onnxruntime's answers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "base/bytes.h"
#include "model/golden.h"
#include "model/reference.h"
#include "model/runner_testing.h"
#include "model/test_net.h"

namespace atelier::model {
namespace {

using testing::HasSubstr;

// max |difference| / max |reference|; infinity if shapes differ or a number is not finite.
double difference(const Tensor& got, const Tensor& expected) {
  if (got.shape != expected.shape || got.floats.size() != expected.floats.size()) return INFINITY;
  double most = 0, scale = 1e-30;
  for (size_t i = 0; i < got.floats.size(); i++) {
    if (!std::isfinite(got.floats[i])) return INFINITY;
    most = std::max(most, std::abs(static_cast<double>(got.floats[i]) -
                                   static_cast<double>(expected.floats[i])));
    scale = std::max(scale, std::abs(static_cast<double>(expected.floats[i])));
  }
  return most / scale;
}

// Both runners on one input; equal bits for 1 to 4 threads.
double compare(const Graph& graph, const Tensor& input) {
  const std::map<std::string, Tensor> inputs{{graph.inputs[0].name, input}};
  const auto expected = run_reference(graph, inputs);
  EXPECT_TRUE(expected.ok()) << expected.error().message;
  if (!expected.ok()) return INFINITY;
  double most = 0;
  std::vector<float> first;
  for (int threads = 1; threads <= 4; threads++) {
    auto got = runner(graph, threads)->run(inputs);
    EXPECT_TRUE(got.ok()) << got.error().message;
    if (!got.ok()) return INFINITY;
    const Tensor& output = got->at(graph.outputs[0].name);
    most = std::max(most, difference(output, expected->at(graph.outputs[0].name)));
    if (threads == 1) first = output.floats;
    EXPECT_EQ(0, std::memcmp(first.data(), output.floats.data(), first.size() * sizeof(float)))
        << threads << " threads give other bits";
  }
  return most;
}

struct Size2 {
  int64_t height, width;
};
const Size2 kSizes[] = {{1, 1}, {2, 3}, {5, 4}, {8, 8}, {13, 17}, {33, 50}};

TEST(OnednnRunner, ConvolutionsAgreeWithTheReference) {
  const Net::Conv kinds[] = {
      {.out = 8, .kernel = 3},
      {.out = 16, .kernel = 3},
      {.out = 24, .kernel = 3, .bias = false},
      {.out = 12, .kernel = 5, .pad = 2},
      {.out = 3, .kernel = 9, .pad = 4},
      {.out = 1, .kernel = 3},
      {.out = 5, .kernel = 3, .stride = 2},
      {.out = 20, .kernel = 3, .stride = 2},
      {.out = 16, .kernel = 1, .pad = 0},
      {.out = 16, .kernel = 3, .pad = 2, .dilation = 2},
      {.out = 3, .kernel = 3, .pad = 2, .dilation = 2},
      {.out = 16, .kernel = 3, .auto_pad = "SAME_UPPER"},
      {.out = 16, .kernel = 3, .stride = 2, .auto_pad = "SAME_UPPER"},
      {.out = 16, .kernel = 4, .stride = 2, .auto_pad = "SAME_LOWER"},
  };
  uint32_t seed = 1;
  for (const int64_t in : {1, 3, 8, 20, 32}) {
    for (const Net::Conv& kind : kinds) {
      for (const Size2 size : kSizes) {
        Net net(seed++, in);
        net.conv(kind);
        EXPECT_LT(compare(net.graph(), noise({1, in, size.height, size.width}, seed)), 1e-4)
            << in << " to " << kind.out << ", kernel " << kind.kernel << ", stride " << kind.stride
            << " at " << size.height << "x" << size.width;
      }
    }
  }
}

TEST(OnednnRunner, GroupedConvolutionsAgreeWithTheReference) {
  for (const int64_t group : {2, 4, 16}) {
    for (const Size2 size : kSizes) {
      Net net(7, 16);
      net.conv({.out = 16, .group = group}).then("Relu").conv({.out = 16, .group = group});
      EXPECT_LT(compare(net.graph(), noise({1, 16, size.height, size.width}, 3)), 1e-4);
    }
  }
}

TEST(OnednnRunner, TransposedConvolutionsAgreeWithTheReference) {
  struct Kind {
    Net::Conv conv;
    int64_t extra;
  };
  const Kind kinds[] = {{{.out = 16, .stride = 2, .pad = 0}, 1},
                        {{.out = 16, .stride = 2, .pad = 1}, 1},
                        {{.out = 8, .stride = 2, .pad = 1}, 0},
                        {{.out = 3, .kernel = 4, .stride = 2, .pad = 1}, 0},
                        {{.out = 8, .kernel = 2, .stride = 3, .pad = 0}, 1},
                        {{.out = 8, .stride = 1, .pad = 1}, 0},
                        {{.out = 8, .stride = 2, .pad = 0, .dilation = 2}, 0},
                        {{.out = 8, .stride = 2, .pad = 0, .group = 4}, 0}};
  for (const Kind& kind : kinds) {
    for (const Size2 size : kSizes) {
      if (size.height < 2) continue;
      Net net(11, 24);
      net.transposed(kind.conv, kind.extra);
      EXPECT_LT(compare(net.graph(), noise({1, 24, size.height, size.width}, 5)), 1e-4)
          << "kernel " << kind.conv.kernel << " stride " << kind.conv.stride;
    }
  }
}

TEST(OnednnRunner, ACropOfATransposedConvolutionIsNeverComputed) {
  Net net(13, 16);
  net.transposed({.out = 16, .stride = 2, .pad = 0}, 1)
      .slice({2, 3}, {1, 1}, {-1, -2}, {1, 1})
      .norm()
      .then("Relu");
  const Graph graph = net.graph();
  EXPECT_LT(compare(graph, noise({1, 16, 9, 7}, 5)), 1e-4);
}

TEST(OnednnRunner, AConvolutionTakesInTheEnlargementBeforeIt) {
  for (const float factor : {2.0F, 3.0F}) {
    for (const int64_t out : {8, 20, 3}) {
      for (const int64_t kernel : {1, 3, 5}) {
        Net net(73, 24);
        net.then("Resize", {"", net.given({4}, {1, 1, factor, factor})},
                 {{"mode", std::string("nearest")},
                  {"coordinate_transformation_mode", std::string("asymmetric")},
                  {"nearest_mode", std::string("floor")}});
        net.conv({.out = out, .kernel = kernel, .pad = kernel / 2}).then("Relu");
        for (const Size2 size : kSizes) {
          EXPECT_LT(compare(net.graph(), noise({1, 24, size.height, size.width}, 5)), 1e-4)
              << factor << " " << out << " " << kernel;
        }
      }
    }
  }
}

TEST(OnednnRunner, ResidualBlocksAreFusedAndAgree) {
  for (const Size2 size : kSizes) {
    Net net(17, 16);
    const std::string start = net.conv({.out = 16}).then("Relu").last();
    net.conv({.out = 16}).then("Relu").conv({.out = 16}).then("Add", {start}).then("Relu");
    const std::string middle = net.last();
    net.conv({.out = 16}).norm().then("Relu").conv({.out = 16}).norm();
    net.node("Add", {middle, net.last()}).conv({.out = 3}).then("Tanh");
    EXPECT_LT(compare(net.graph(), noise({1, 16, size.height, size.width}, 5)), 1e-3);
  }
  Net net(17, 16);
  const std::string start = net.conv({.out = 16}).last();
  net.then("Relu").conv({.out = 16}).then("Add", {start}).then("Relu").channels(16);
  Graph graph = net.graph();
  graph.inputs[0].shape[1] = 16;
  EXPECT_LT(compare(graph, noise({1, 16, 9, 9}, 5)), 1e-4);
}

TEST(OnednnRunner, NormalisationKeepsASmallVarianceOnALargeMean) {
  for (const int64_t channels : {3, 12, 64}) {
    for (const Size2 size : kSizes) {
      if (size.height == 1) continue;  // the variance of one pixel is nothing
      Net net(19, channels);
      net.norm().then("Relu");
      EXPECT_LT(
          compare(net.graph(), noise({1, channels, size.height, size.width}, 5, 999.0F, 1001.0F)),
          1e-3);
    }
  }
}

TEST(OnednnRunner, ArithmeticAgreesWithTheReference) {
  for (const int64_t channels : {1, 3, 12, 16}) {
    for (const Size2 size : kSizes) {
      Net net(23, channels);
      net.then("Mul", {net.floats({1}, 1, 2)})
          .then("Add", {net.floats({1, channels, 1, 1}, -1, 1)})
          .then("Sub", {net.floats({channels, 1, 1}, -1, 1)})
          .then("Div", {net.floats({}, 1, 2)});
      net.node("Sub", {net.floats({1}, -1, 1), net.last()});
      const std::string a = net.last();
      net.then("Tanh").then("Mul", {a}).then("Sub", {a});
      net.node("Sub", {a, net.last()}).then("Clip", {net.given({}, {-0.5F}), net.given({}, {3})});
      net.then("Add", {net.given({}, {2})});
      net.node("Div", {net.floats({1}, 1, 2), net.last()});
      net.node("Div", {a, net.last()}).then("Add", {net.last()}).then("Relu");
      EXPECT_LT(compare(net.graph(), noise({1, channels, size.height, size.width}, 5)), 1e-4);
    }
  }
}

TEST(OnednnRunner, AConstantMayVaryOverPixels) {
  Net net(29, 12);
  net.then("Mul", {net.floats({1, 12, 5, 7}, -1, 1)}).then("Add", {net.floats({5, 1}, -1, 1)});
  EXPECT_LT(compare(net.graph(), noise({1, 12, 5, 7}, 5)), 1e-5);
}

TEST(OnednnRunner, MovingPixelsAgreesWithTheReference) {
  for (const int64_t channels : {3, 12, 16}) {
    Net net(31, channels);
    net.pad({2, 1, 0, 3}, "reflect").pad({1, 2, 3, 4}, "edge").pad({1, 0, 2, 1}, "constant");
    net.slice({2, 3}, {1, 2}, {100, -1}, {1, 2}).slice({2}, {-7}, {-1}, {1});
    net.then("Resize", {"", net.given({4}, {1, 1, 2, 3})},
             {{"mode", std::string("nearest")},
              {"coordinate_transformation_mode", std::string("asymmetric")},
              {"nearest_mode", std::string("floor")}});
    net.then("Relu");
    EXPECT_LT(compare(net.graph(), noise({1, channels, 9, 11}, 5)), 1e-6);
  }
  for (const char* mode : {"DCR", "CRD"}) {
    for (const int64_t channels : {12, 36, 64}) {
      Net net(37, channels);
      net.then("DepthToSpace", {}, {{"blocksize", int64_t{2}}, {"mode", std::string(mode)}});
      EXPECT_LT(compare(net.channels(channels / 4).graph(), noise({1, channels, 5, 3}, 5)), 1e-6);
      net.conv({.out = 16});
      EXPECT_LT(compare(net.graph(), noise({1, channels, 5, 3}, 5)), 1e-4);
    }
  }
}

TEST(OnednnRunner, SlicesOfChannelsAgreeWithTheReference) {
  for (const int64_t first : {0, 1, 8}) {
    for (const int64_t count : {3, 8, 16}) {
      for (const int64_t step : {1, 2}) {
        Net net(41, 40);
        net.slice({1, 2}, {first, 1}, {first + count * step, 6}, {step, 1}).channels(count);
        net.conv({.out = 16}).then("Relu");
        EXPECT_LT(compare(net.graph(), noise({1, 40, 7, 5}, 5)), 1e-4);
      }
    }
  }
}

TEST(OnednnRunner, ACropThatOthersReadIsNotOverwritten) {
  Net net(43, 16);
  const std::string base = net.conv({.out = 16}).then("Relu").last();
  const std::string crop = net.slice({2, 3}, {2, 2}, {-2, -2}, {1, 1}).last();
  net.node("Conv", {base, net.floats({16, 16, 3, 3}, -.1F, .1F)},
           {{"kernel_shape", std::vector<int64_t>{3, 3}},
            {"strides", std::vector<int64_t>{1, 1}},
            {"dilations", std::vector<int64_t>{1, 1}},
            {"pads", std::vector<int64_t>{0, 0, 0, 0}},
            {"group", int64_t{1}}});
  net.norm().then("Relu").conv({.out = 16, .pad = 0}).norm();
  net.node("Add", {net.last(), crop});
  EXPECT_LT(compare(net.graph(), noise({1, 16, 12, 13}, 5)), 1e-4);
}

// Layers drawn at random, every kind after every other.
TEST(OnednnRunner, RandomNetworksAgreeWithTheReference) {
  for (uint32_t seed = 100; seed < 160; seed++) {
    Net net(seed, seed % 2 ? 3 : 16);
    const auto draw = [&](int64_t n) { return static_cast<int64_t>(net.random()() % n); };
    const int64_t in = net.channels(), side = 6 + draw(30);
    for (int i = 0; i < 8; i++) {
      const std::string before = net.last();
      switch (draw(8)) {
        case 0: net.conv({.out = 8 + draw(30)}); break;
        case 1:
          net.conv(
              {.out = 1 + draw(40), .kernel = 1 + 2 * draw(3), .stride = 1 + draw(2), .pad = 2});
          break;
        case 2: net.norm(); break;
        case 3: net.then("Relu"); break;
        case 4: net.pad({draw(3), draw(3), draw(3), draw(3)}, draw(2) ? "edge" : "constant"); break;
        case 5: net.slice({2, 3}, {draw(2), draw(2)}, {-1, 1000}, {1, 1}); break;
        case 6:
          net.conv({.out = net.channels()}).then("Tanh").conv({.out = net.channels()});
          net.then("Add", {before});
          break;
        default: net.then("Mul", {net.floats({1}, 1, 2)}).then("Add", {before}); break;
      }
    }
    EXPECT_LT(compare(net.graph(), noise({1, in, side, side + 3}, seed)), 1e-3) << "seed " << seed;
  }
}

TEST(OnednnRunner, WinogradIsWithinAThousandthOfDirect) {
  Net net(47, 128);
  net.conv({.out = 128, .bias = false});
  const Graph graph = net.graph();
  const Tensor input = noise({1, 128, 40, 44}, 9, 0, 10);
  auto fast = runner(graph);
  auto made = fast->run({{"in", input}});
  ASSERT_TRUE(made.ok());
  Graph shaped = graph;
  std::vector<PlanStep> plan{{"Conv0", "Conv", "direct", "atelier:f32x8"}};
  auto direct = runner(shaped, 2, plan)->run({{"in", input}});
  ASSERT_TRUE(direct.ok()) << direct.error().message;
  const double error = difference(made->at("v0"), direct->at("v0"));
  RecordProperty("winograd_error", fmt::format("{:.2e}", error));
  EXPECT_GT(error, 0);  // two algorithms, not one
  EXPECT_LT(error, 1e-4);
}

TEST(OnednnRunner, APlanIsObeyedOrRefusedByName) {
  Net net(53, 3);
  net.conv({.out = 16}).then("Relu").conv({.out = 16}).conv({.out = 3});
  Graph graph = net.graph();
  const auto plan = runner(graph)->plan({20, 16});
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  ASSERT_EQ(plan->size(), 3U);
  EXPECT_EQ((*plan)[0].op, "Conv+Relu");
  EXPECT_EQ((*plan)[1].algorithm, "winograd_f4x3");
  EXPECT_EQ(*runner(graph, 1, *plan)->plan({20, 16}), *plan);

  auto other = *plan;
  other[1].algorithm = "direct";
  EXPECT_EQ(*runner(graph, 1, other)->plan({20, 16}), other);

  other[1].implementation = "jit:sparc";
  const auto refused = runner(graph, 1, other)->plan({20, 16});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::invalid_argument);
  EXPECT_THAT(refused.error().message, HasSubstr("jit:sparc"));

  other = *plan;
  other.pop_back();
  EXPECT_FALSE(runner(graph, 1, other)->plan({20, 16}).ok());
}

TEST(OnednnRunner, AbsurdSizesEndInASentence) {
  Net net(59, 3);
  net.conv({.out = 512}).conv({.out = 3});
  const auto refused = runner(net.graph())->plan({20000, 20000});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::invalid_argument);
  EXPECT_THAT(refused.error().message, HasSubstr("GiB"));
  EXPECT_FALSE(runner(net.graph())->plan({0, 5}).ok());
  EXPECT_FALSE(runner(net.graph())->output_size({1 << 20, 5}).ok());

  Graph fixed = net.graph();
  fixed.inputs[0].shape = {1, 3, 72, 96};
  const auto other = runner(fixed)->output_size({100, 72});
  ASSERT_FALSE(other.ok());
  EXPECT_THAT(other.error().message, HasSubstr("--size 96x72"));

  Net wide(61, 3);  // a halo of 24,000 pixels around 512 channels
  wide.conv({.out = 512}).conv({.out = 3, .kernel = 13, .pad = 24000, .dilation = 4000});
  EXPECT_FALSE(runner(wide.graph())->plan({64, 64}).ok());
  Net sparse(61, 16);  // a million phases
  sparse.transposed({.out = 8, .kernel = 2, .stride = 1024, .pad = 0}, 0);
  const auto far = runner(sparse.graph())->run({{"in", noise({1, 16, 2, 2}, 3)}});
  EXPECT_TRUE(far.ok()) << far.error().message;

  Net small(61, 3);
  small.conv({.out = 3, .kernel = 5, .pad = 0});
  EXPECT_FALSE(runner(small.graph())->output_size({3, 3}).ok());
  EXPECT_FALSE(runner(small.graph())->output_size({64, 64}).ok());
}

TEST(OnednnRunner, FramesAreScoredPaddedAndCropped) {
  // The network swaps nothing and doubles the size: each pixel becomes four.
  Net net(67, 3);
  net.then("Resize", {"", net.given({4}, {1, 1, 2, 2})},
           {{"mode", std::string("nearest")},
            {"coordinate_transformation_mode", std::string("asymmetric")},
            {"nearest_mode", std::string("floor")}});
  const Graph graph = net.graph();
  ModelSpec spec;
  spec.name = "double";
  spec.input = "in";
  spec.output = graph.outputs[0].name;
  spec.size_multiple = 4;
  auto made = make_onednn_runner(graph, spec, {});
  ASSERT_TRUE(made.ok());
  const PixelFormat rgb{PixelFormat::Family::rgb, 8, 0, 0, false};
  FrameBuffer in(7, 5, rgb, {}), out(14, 10, rgb, {});
  for (int p = 0; p < 3; p++)
    for (int y = 0; y < 5; y++)
      for (int x = 0; x < 7; x++)
        in.view().plane[static_cast<size_t>(p)].data[y * in.view().plane[0].stride + x] =
            static_cast<std::byte>(p * 60 + y * 9 + x);
  const auto size = (*made)->output_size({7, 5});
  ASSERT_TRUE(size.ok()) << size.error().message;
  EXPECT_EQ(*size, (Size{14, 10}));
  const auto scored = (*made)->score(in.view(), out.view());
  ASSERT_TRUE(scored.ok()) << scored.error().message;
  for (int p = 0; p < 3; p++)
    for (int y = 0; y < 10; y++)
      for (int x = 0; x < 14; x++)
        ASSERT_EQ(
            static_cast<int>(
                out.view().plane[static_cast<size_t>(p)].data[y * out.view().plane[0].stride + x]),
            p * 60 + y / 2 * 9 + x / 2);
}

TEST(OnednnRunner, SizesMayAlternate) {
  Net net(71, 3);
  net.conv({.out = 16}).norm().then("Relu").conv({.out = 16}).conv({.out = 3});
  const Graph graph = net.graph();
  auto one = runner(graph);
  const Tensor a = noise({2, 3, 9, 12}, 1), b = noise({1, 3, 30, 20}, 2);
  const Tensor first = one->run({{"in", a}})->at(graph.outputs[0].name);
  const Tensor second = one->run({{"in", b}})->at(graph.outputs[0].name);
  ASSERT_TRUE(one->plan({50, 3}).ok());
  EXPECT_EQ(one->run({{"in", a}})->at(graph.outputs[0].name).floats, first.floats);
  EXPECT_EQ(one->run({{"in", b}})->at(graph.outputs[0].name).floats, second.floats);
  EXPECT_EQ(first.shape, (std::vector<int64_t>{2, 3, 9, 12}));
}

class OnednnGolden : public testing::TestWithParam<const char*> {};

TEST_P(OnednnGolden, AgreesWithOnnxruntimeWithTheSameBitsForAnyThreads) {
  const auto golden = read_golden(std::filesystem::path(ATELIER_SOURCE_DIR "/tests/golden") /
                                  (std::string(GetParam()) + ".golden"));
  ASSERT_TRUE(golden.ok()) << golden.error().message;
  const std::string path = ATELIER_SOURCE_DIR "/../shared/models/" + golden->model;
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "NOT TESTED: " << path << " is absent";
  std::ifstream stream(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(stream)), {});
  const auto graph = import_onnx(as_bytes(bytes), golden->model);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  const Tensor input = golden_input(golden->height, golden->width);
  std::vector<float> first;
  for (const int threads : {1, 2, 3, 4}) {
    const auto outputs = runner(*graph, threads)->run({{graph->inputs[0].name, input}});
    ASSERT_TRUE(outputs.ok()) << outputs.error().message;
    const Tensor& output = outputs->at(graph->outputs[0].name);
    EXPECT_LT(golden_difference(*golden, output), 1e-3);
    EXPECT_LT(golden_statistics_difference(*golden, output), 1e-4);
    if (threads == 1) {
      first = output.floats;
      RecordProperty("difference", fmt::format("{:.2e}", golden_difference(*golden, output)));
    }
    EXPECT_EQ(first, output.floats) << threads << " threads";
  }
}

INSTANTIATE_TEST_SUITE_P(All, OnednnGolden,
                         testing::Values("candy-45x51", "candy-48x56", "mosaic-48x56",
                                         "udnie-24x32", "wave-24x32", "wave-25x31",
                                         "starry-night-24x32", "candy_opset7_720-720x720"));

}  // namespace
}  // namespace atelier::model
