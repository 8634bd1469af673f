// SPDX-License-Identifier: Apache-2.0
// What the passes over frames do for the network: scaling, shifting and rounding what enters while
// it is converted, cropping and pixel-by-pixel arithmetic while what leaves is put together.
// Compared with conversion and network one after the other.
#include <gtest/gtest.h>

#include <cstring>

#include "base/psnr.h"
#include "model/kernels/pointwise.h"
#include "model/pixels_testing.h"
#include "model/planes.h"
#include "model/reference.h"
#include "model/runner_testing.h"
#include "model/test_net.h"

namespace atelier::model {
namespace {

namespace px = pixels_testing;

FrameBuffer random_frame(int width, int height, const PixelFormat& format = {}) {
  FrameBuffer frame(width, height, format, px::color(1, px::Range::limited));
  px::fill_random(frame.view(), 7);
  return frame;
}

TEST(Entry, BytesAreTheRoundedFloats) {
  ModelSpec spec;
  spec.mean = {120, 110, 100};
  spec.scale = {0.02F, 0.03F, -0.01F};
  const kernels::Quantization quantization{0.025F, 130};
  for (const PixelFormat& format :
       {px::format(px::Family::yuv, 8, 1, 1), px::format(px::Family::yuv, 10, 1, 0),
        px::format(px::Family::rgb, 8), px::format(px::Family::gray, 12)}) {
    for (const auto& [width, height] : {std::pair{1, 1}, {33, 7}, {70, 130}}) {
      const FrameBuffer frame = random_frame(width, height, format);
      const int wide = width + 3, high = height + 2;  // a pad on the right and below
      px::Planes planes(3, wide, high);
      ASSERT_TRUE(frame_to_planes(frame.view(), spec, planes.view()).ok());
      // Plane by plane, and with the channels of a pixel together.
      for (const int step : {1, 4}) {
        const int row = step * wide + 5, plane = step == 1 ? row * (high + 1) : 1;
        std::vector<uint8_t> bytes(static_cast<size_t>(3 * row * (high + 1)), 99);
        ASSERT_TRUE(frame_to_bytes(frame.view(), spec, quantization,
                                   {bytes.data(), 3, wide, high, row, plane, step})
                        .ok());
        std::vector<uint8_t> expected(bytes.size(), 99);
        for (int c = 0; c < 3; c++) {
          for (int y = 0; y < high; y++) {
            std::vector<uint8_t> made(static_cast<size_t>(wide));
            kernels::quantize_row(&planes.at(c, 0, y), wide, quantization, made.data(), 1);
            for (int x = 0; x < wide; x++)
              expected[static_cast<size_t>(c * plane + y * row + x * step)] =
                  made[static_cast<size_t>(x)];
          }
        }
        ASSERT_EQ(bytes, expected) << width << "x" << height << ", pixels " << step << " apart";
      }
    }
  }
}

Net& scaled(Net& net, float divisor, float shift) {
  net.then("Div", {net.given({}, {divisor})});
  return net.then("Sub", {net.given({1, 3, 1, 1}, {shift, shift + 0.1F, shift - 0.2F})});
}

RunnerOptions options_for(Precision precision, const Ranges& ranges) {
  RunnerOptions options;
  options.threads = 2;
  options.precision = precision;
  options.ranges = ranges;
  return options;
}

ModelSpec spec_of(const Graph& graph) {
  ModelSpec spec;
  spec.name = "net";
  spec.input = graph.inputs[0].name;
  spec.output = graph.outputs[0].name;
  spec.mean = {3, 2, 1};
  spec.scale = {1, 0.5F, 1.25F};
  spec.output_range = {-4, 4};
  return spec;
}

// What score() gives, and what the same runner gives for the converted frame.
struct Both {
  FrameBuffer scored, separate;
  std::vector<PlanStep> plan;
};

Both both(const Graph& graph, const ModelSpec& spec, const RunnerOptions& options,
          const FrameBuffer& frame) {
  auto runner = make_onednn_runner(graph, spec, options);
  EXPECT_TRUE(runner.ok());
  const int width = frame.view().width, height = frame.view().height;
  Both result{random_frame(width, height), random_frame(width, height), {}};
  EXPECT_TRUE((*runner)->score(frame.view(), result.scored.view()).ok());
  Tensor input;
  input.shape = {1, 3, height, width};
  input.floats.resize(static_cast<size_t>(input.count()));
  EXPECT_TRUE(
      frame_to_planes(frame.view(), spec,
                      {input.floats.data(), 3, width, height, width, ptrdiff_t{width} * height})
          .ok());
  const auto made = (*runner)->run({{graph.inputs[0].name, input}});
  EXPECT_TRUE(made.ok());
  const Tensor& picture = made->begin()->second;
  const ConstPlanesView planes(picture.floats.data(), static_cast<int>(picture.shape[1]), width,
                               height, width, ptrdiff_t{width} * height);
  EXPECT_TRUE(planes_to_frame(planes, spec, frame.view().color, result.separate.view()).ok());
  result.plan = *(*runner)->plan({width, height});
  return result;
}

TEST(Entry, TheConversionScalesWhatEnters) {
  for (const std::string mode : {"reflect", "edge", "constant"}) {
    for (const bool padded : {false, true}) {
      Net net(1, 3);
      scaled(net, 127.5F, 0.9F);
      if (padded) net.pad({2, 3, 2, 3}, mode);
      net.conv({.out = 16, .kernel = 5, .pad = padded ? 0 : 2}).then("Relu");
      net.conv({.out = 3, .kernel = padded ? 3 : 1, .pad = 0});
      if (padded) net.pad({1, 0, 1, 0}, "edge");
      const Graph graph = net.graph();
      const ModelSpec spec = spec_of(graph);
      const FrameBuffer frame = random_frame(38, 22);
      const Both floats = both(graph, spec, options_for(Precision::f32, {}), frame);
      EXPECT_EQ(floats.plan[0].op, "Div+Sub");
      EXPECT_GT(squared_error(floats.scored.view(), floats.separate.view()).psnr(), 70) << mode;

      auto exact = make_onednn_runner(graph, spec, options_for(Precision::f32, {}));
      FrameBuffer out = random_frame(38, 22);
      const auto ranges = (*exact)->observe({&frame.view(), 1}, {&out.view(), 1}, [] {});
      ASSERT_TRUE(ranges.ok());
      const Both bytes = both(graph, spec, options_for(Precision::int8, *ranges), frame);
      EXPECT_EQ(bytes.plan[0].op, padded && mode == "constant" ? "Div+Sub" : "Div+Sub+Quantize");
      EXPECT_GT(squared_error(bytes.scored.view(), bytes.separate.view()).psnr(), 55) << mode;
      EXPECT_GT(squared_error(bytes.scored.view(), floats.scored.view()).psnr(), 35) << mode;
    }
  }
}

TEST(Entry, WhatIsReadTwiceOrNotLinearIsLeftToTheNetwork) {
  Net twice(1, 3), bounded(2, 3), zero(3, 3);
  scaled(twice, 127.5F, 0.9F).conv({.out = 3, .pad = 1}).then("Add", {"in"});
  scaled(bounded, 127.5F, 0.9F).then("Relu").conv({.out = 3, .pad = 1});
  zero.then("Mul", {zero.given({1, 3, 1, 1}, {0.01F, 0, 0.01F})}).conv({.out = 3, .pad = 1});
  for (const Net* net : {&twice, &bounded, &zero}) {
    const Graph graph = net->graph();
    const Both got =
        both(graph, spec_of(graph), options_for(Precision::f32, {}), random_frame(17, 9));
    EXPECT_TRUE(same_picture(got.scored.view(), got.separate.view()));
  }
}

TEST(Entry, DepthToSpaceTakesCropsAndArithmetic) {
  for (const std::string mode : {"CRD", "DCR"}) {
    for (const int64_t factor : {2, 3}) {
      for (const int64_t channels : {3, 9}) {
        for (const int64_t left : {0, 1, 2, 3}) {
          Net net(1, 8);
          net.conv({.out = channels * factor * factor});
          net.then("DepthToSpace", {}, {{"blocksize", factor}, {"mode", mode}});
          net.slice({2, 3}, {1, left}, {9, 14}, {1, 1}).channels(channels);
          net.then("Tanh").then("Mul", {net.given({}, {3})}).then("Relu");
          const std::map<std::string, Tensor> inputs{{"in", noise({1, 8, 5, 9}, 3, -3, 3)}};
          const auto expected = run_reference(net.graph(), inputs);
          const auto got = runner(net.graph())->run(inputs);
          ASSERT_TRUE(expected.ok() && got.ok());
          const auto &a = expected->begin()->second, &b = got->begin()->second;
          ASSERT_EQ(a.shape, b.shape);
          for (size_t i = 0; i < a.floats.size(); i++) {
            ASSERT_NEAR(a.floats[i], b.floats[i], 1e-4)
                << mode << " " << factor << ", " << channels << " channels, left " << left << " at "
                << i;
          }
        }
      }
    }
  }
}

TEST(Entry, TanhIsAccurateFromTinyToHuge) {
  kernels::PointOp op;
  op.kind = kernels::PointOp::Kind::tanh;
  std::vector<float> values;
  for (int exponent = -30; exponent <= 10; exponent++) {
    for (const float digits : {1.0F, -1.13F, 1.37F, -1.91F}) {
      values.push_back(std::ldexp(digits, exponent));
    }
  }
  for (const float v : {0.0F, INFINITY, -INFINITY, NAN}) values.push_back(v);
  while (values.size() % 8 != 0) values.push_back(0.3F);
  std::vector<float> made = values;
  const int width = static_cast<int>(values.size() / 8);
  kernels::run_program_row({op}, {made.data(), 8, 1, width, 8, width * 8, width * 8}, 0, 0);
  for (size_t i = 0; i < values.size(); i++) {
    const double expected = std::tanh(static_cast<double>(values[i]));
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(made[i]));
    } else {
      EXPECT_NEAR(made[i], expected, 4e-7 * std::abs(expected)) << values[i];
    }
  }
}

}  // namespace
}  // namespace atelier::model
