// SPDX-License-Identifier: Apache-2.0
// Frames through networks that take one size only, or several pictures, or luma alone.
#include "model/frame_fit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "model/resample.h"
#include "model/test_net.h"

namespace atelier::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

FrameBuffer rgb_frame(int width, int height) {
  FrameBuffer frame(width, height, PixelFormat{PixelFormat::Family::rgb, 8, 0, 0, false}, {});
  for (int p = 0; p < 3; ++p) {
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const double wave = std::sin(0.11 * x + p) * std::cos(0.13 * y);
        frame.view().plane[static_cast<size_t>(p)].data[y * frame.view().plane[0].stride + x] =
            static_cast<std::byte>(128 + static_cast<int>(90 * wave));
      }
    }
  }
  return frame;
}

int sample(const FrameView& frame, int p, int x, int y) {
  const auto& plane = frame.plane[static_cast<size_t>(p)];
  return std::to_integer<int>(plane.data[y * plane.stride + x]);
}

int largest_difference(const FrameView& a, const FrameView& b) {
  int most = 0;
  for (int p = 0; p < 3; ++p) {
    for (int y = 0; y < a.height; ++y) {
      for (int x = 0; x < a.width; ++x) {
        most = std::max(most, std::abs(sample(a, p, x, y) - sample(b, p, x, y)));
      }
    }
  }
  return most;
}

ModelSpec spec_of(const Graph& graph, ModelSpec::Fit fit) {
  ModelSpec spec;
  spec.name = "net";
  spec.input = graph.inputs[0].name;
  spec.output = graph.outputs[0].name;
  spec.fit = fit;
  spec.clamp = true;
  return spec;
}

FrameBuffer score(const Graph& graph, const ModelSpec& spec, const FrameBuffer& in) {
  auto runner = make_onednn_runner(graph, spec, {2, {}});
  EXPECT_TRUE(runner.ok()) << runner.error().message;
  const auto size = (*runner)->output_size({in.view().width, in.view().height});
  EXPECT_TRUE(size.ok()) << (size.ok() ? "" : size.error().message);
  if (!size.ok()) return {};
  FrameBuffer out(size->width, size->height, in.view().format, {});
  const auto scored = (*runner)->score(in.view(), out.view());
  EXPECT_TRUE(scored.ok()) << (scored.ok() ? "" : scored.error().message);
  return out;
}

Graph fixed(Graph graph, int64_t batch, int64_t height, int64_t width) {
  auto& shape = graph.inputs[0].shape;
  shape = {batch, shape[1], height, width};
  graph.outputs[0].shape.clear();
  return graph;
}

Graph blur(int64_t channels) {
  Net net(5, channels);
  net.conv({.out = channels, .kernel = 5, .pad = 2, .bias = false});
  Graph graph = net.graph();
  for (auto& [name, tensor] : graph.initializers) {
    for (float& v : tensor.floats) v = std::abs(v) / 8;
  }
  return graph;
}

TEST(Tiles, CoverTheAxisEvenlyAndOverlapEnough) {
  EXPECT_THAT(tile_starts(10, 16, 4), ElementsAre(0));
  EXPECT_THAT(tile_starts(16, 16, 4), ElementsAre(0));
  EXPECT_THAT(tile_starts(17, 16, 4), ElementsAre(0, 1));
  EXPECT_THAT(tile_starts(40, 16, 4), ElementsAre(0, 12, 24));
  for (int length = 17; length < 200; ++length) {
    const auto starts = tile_starts(length, 16, 5);
    EXPECT_EQ(starts.front(), 0);
    EXPECT_EQ(starts.back() + 16, length);
    for (size_t i = 1; i < starts.size(); ++i) EXPECT_GE(starts[i - 1] + 16 - starts[i], 5);
  }
}

TEST(FixedSize, TilesCutAtTheHaloAreTheWholePictureExactly) {
  const Graph any = blur(3);
  ModelSpec spec = spec_of(any, ModelSpec::Fit::tile);
  spec.halo = 2;
  for (const Size size : {Size{61, 47}, Size{24, 20}, Size{100, 9}, Size{25, 20}}) {
    const FrameBuffer in = rgb_frame(size.width, size.height);
    const FrameBuffer whole = score(any, spec, in);
    const FrameBuffer tiled = score(fixed(any, 1, 20, 24), spec, in);
    // Beside a padded edge there is reflection where the whole picture has zeros.
    if (size.height >= 20) {
      EXPECT_LE(largest_difference(whole.view(), tiled.view()), 1)
          << size.width << "x" << size.height;
    }
  }
}

TEST(FixedSize, TilesBlendWithoutASeam) {
  Net net(3, 3);  // changes nothing
  net.then("Add", {net.given({1}, {0})});
  ModelSpec spec = spec_of(net.graph(), ModelSpec::Fit::tile);
  spec.overlap = 7;
  const FrameBuffer in = rgb_frame(90, 70);
  const FrameBuffer out = score(fixed(net.graph(), 1, 20, 24), spec, in);
  EXPECT_LE(largest_difference(in.view(), out.view()), 1);
}

TEST(FixedSize, ALetterboxKeepsTheShapeOfThePicture) {
  Net net(3, 3);
  net.then("Add", {net.given({1}, {0})});
  for (const auto fit : {ModelSpec::Fit::letterbox, ModelSpec::Fit::stretch}) {
    const ModelSpec spec = spec_of(net.graph(), fit);
    for (const Size size : {Size{90, 70}, Size{70, 90}, Size{30, 12}}) {
      const FrameBuffer in = rgb_frame(size.width, size.height);
      const FrameBuffer out = score(fixed(net.graph(), 1, 72, 96), spec, in);
      ASSERT_EQ(out.view().width, size.width);
      ASSERT_EQ(out.view().height, size.height);
      EXPECT_LE(largest_difference(in.view(), out.view()), 6) << size.width << "x" << size.height;
    }
  }
}

TEST(FixedSize, WithoutAFitOtherSizesAreRefused) {
  const Graph graph = fixed(blur(3), 1, 20, 24);
  const auto runner = make_onednn_runner(graph, spec_of(graph, ModelSpec::Fit::none), {});
  ASSERT_TRUE(runner.ok());
  EXPECT_TRUE((*runner)->output_size({24, 20}).ok());
  const auto refused = (*runner)->output_size({25, 20});
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("--size 24x20"));
}

TEST(FixedBatch, GivesThePictureThatOneAloneWouldGive) {
  const FrameBuffer in = rgb_frame(24, 20);
  const ModelSpec spec = spec_of(blur(3), ModelSpec::Fit::none);
  const FrameBuffer one = score(blur(3), spec, in);
  EXPECT_EQ(largest_difference(one.view(), score(fixed(blur(3), 4, 20, 24), spec, in).view()), 0);

  // A network that cannot be cut into pictures: it counts on four.
  Net net(5, 3);
  net.then("Reshape", {net.ints({12, 20, 24})}).then("Reshape", {net.ints({4, 3, 20, 24})});
  const Graph graph = fixed(net.graph(), 4, 20, 24);
  const FrameBuffer out = score(graph, spec_of(graph, ModelSpec::Fit::none), in);
  EXPECT_EQ(largest_difference(in.view(), out.view()), 0);
}

TEST(Luma, ColoursStayWhileLumaIsScored) {
  Net net(7, 1);
  net.then("Resize", {"", net.given({4}, {1, 1, 2, 2})},
           {{"mode", std::string("nearest")},
            {"coordinate_transformation_mode", std::string("asymmetric")},
            {"nearest_mode", std::string("floor")}});
  ModelSpec spec = spec_of(net.graph(), ModelSpec::Fit::none);
  spec.luma = true;
  spec.clamp = false;
  const FrameBuffer in = rgb_frame(40, 30);
  const FrameBuffer out = score(net.graph(), spec, in);
  ASSERT_EQ(out.view().width, 80);
  for (int y = 4; y < 26; ++y) {
    for (int x = 4; x < 36; ++x) {
      for (int p = 1; p < 3; ++p) {  // colour differences, which luma does not touch
        const int before = sample(in.view(), p, x, y) - sample(in.view(), 0, x, y);
        const int after = sample(out.view(), p, 2 * x, 2 * y) - sample(out.view(), 0, 2 * x, 2 * y);
        EXPECT_NEAR(before, after, 12) << x << "," << y;
      }
    }
  }
  spec.luma = false;
  const FrameBuffer gray = score(net.graph(), spec, in);
  EXPECT_EQ(sample(gray.view(), 0, 9, 9), sample(gray.view(), 2, 9, 9));
}

TEST(Resample, KeepsRampsAndConstants) {
  Planes in(1, 9, 7);
  for (int y = 0; y < 7; ++y)
    for (int x = 0; x < 9; ++x) in.row(0, y)[x] = static_cast<float>(3 * x + y);
  Planes same(1, 9, 7);
  resample(in, {0, 0, 9, 7}, same);
  for (int y = 0; y < 7; ++y)
    for (int x = 0; x < 9; ++x) EXPECT_FLOAT_EQ(same.row(0, y)[x], in.row(0, y)[x]);
  Planes large(1, 27, 21);
  resample(in, {0, 0, 9, 7}, large);
  EXPECT_NEAR(large.row(0, 10)[13], 3 * 4 + 3, 1e-5);
  EXPECT_NEAR(large.row(0, 10)[14], 3 * (4 + 1.0 / 3) + 3, 1e-5);
  Planes small(1, 3, 7);
  resample(in, {0, 0, 9, 7}, small);
  EXPECT_NEAR(small.row(0, 3)[1], 3 * 4 + 3, 1e-5);
}

}  // namespace
}  // namespace atelier::model
