// SPDX-License-Identifier: Apache-2.0
#include "model/pixels.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <limits>

#include "model/pixels_testing.h"

namespace atelier::model {
namespace {

using namespace pixels_testing;

struct Bars {
  const char* name;
  PixelFormat format;
  ColorSpec color;
  // White, yellow, cyan, green, magenta, red, blue, black.
  std::array<std::array<int, 3>, 8> codes;
};

// 75% colour bars: code values as tabulated in BT.801 and SMPTE RP 219, or by H.273's equations.
TEST(Pixels, ColourBarsGiveTheirRgb) {
  const std::vector<Bars> all{
      {"601 limited",
       format(Family::yuv, 8),
       color(6, Range::limited),
       {{{180, 128, 128},
         {162, 44, 142},
         {131, 156, 44},
         {112, 72, 58},
         {84, 184, 198},
         {65, 100, 212},
         {35, 212, 114},
         {16, 128, 128}}}},
      {"709 limited",
       format(Family::yuv, 8),
       color(1, Range::limited),
       {{{180, 128, 128},
         {168, 44, 136},
         {145, 147, 44},
         {133, 63, 52},
         {63, 193, 204},
         {51, 109, 212},
         {28, 212, 120},
         {16, 128, 128}}}},
      {"709 limited 10 bit",
       format(Family::yuv, 10),
       color(1, Range::limited),
       {{{721, 512, 512},
         {674, 176, 543},
         {581, 589, 176},
         {534, 253, 207},
         {251, 771, 817},
         {204, 435, 848},
         {111, 848, 481},
         {64, 512, 512}}}},
      {"601 full (JFIF)",
       format(Family::yuv, 8),
       color(5, Range::full),
       {{{191, 128, 128},
         {169, 32, 143},
         {134, 160, 32},
         {112, 65, 48},
         {79, 191, 208},
         {57, 96, 224},
         {22, 224, 112},
         {0, 128, 128}}}},
  };
  const std::array<std::array<int, 3>, 8> lit{
      {{1, 1, 1}, {1, 1, 0}, {0, 1, 1}, {0, 1, 0}, {1, 0, 1}, {1, 0, 0}, {0, 0, 1}, {0, 0, 0}}};
  for (const Bars& bars : all) {
    const FrameBuffer in(8, 1, bars.format, bars.color);
    for (int x = 0; x < 8; ++x) {
      for (int p = 0; p < 3; ++p)
        put(in.view(), p, x, 0, bars.codes[static_cast<size_t>(x)][static_cast<size_t>(p)]);
    }
    Planes planes(3, 8, 1);
    ASSERT_TRUE(frame_to_planes(in.view(), ModelSpec{}, planes.view()).ok());
    for (int x = 0; x < 8; ++x) {
      for (int c = 0; c < 3; ++c) {
        const double wanted = 0.75 * 255 * lit[static_cast<size_t>(x)][static_cast<size_t>(c)];
        EXPECT_NEAR(planes.at(c, x, 0), wanted, 1.6)
            << bars.name << " bar " << x << " channel " << c;
      }
    }
  }
}

TEST(Pixels, PlanesAgreeWithTheFormulasForEachFormat) {
  unsigned seed = 100;
  for (const int matrix : {0, 1, 4, 5, 6, 7, 8, 9}) {
    for (const Range range : {Range::limited, Range::full}) {
      for (const int shift : {0, 1, 2}) {
        if (matrix == 0 && shift != 0) continue;
        const Siting siting = kSitings[1 + seed % 6];
        const int depth = 8 + static_cast<int>(seed % 9);
        const FrameBuffer in(21, 17, format(Family::yuv, depth, shift, shift),
                             color(matrix, range, siting));
        fill_random(in.view(), ++seed);
        Planes planes(3, 21, 17);
        ASSERT_TRUE(frame_to_planes(in.view(), ModelSpec{}, planes.view()).ok());
        for (int y = 0; y < 17; ++y) {
          for (int x = 0; x < 21; ++x) {
            const Rgb wanted = decode_at(in.view(), in.view().color, x, y);
            for (int c = 0; c < 3; ++c) {
              ASSERT_NEAR(planes.at(c, x, y), 255 * wanted[static_cast<size_t>(c)], 2e-3)
                  << "matrix " << matrix << " shift " << shift << " depth " << depth;
            }
          }
        }
      }
    }
  }
}

// The way back on planes that are no picture's: decoded again without chroma resampling, the codes
// must be the planes' colours within rounding.
TEST(Pixels, FramesDecodeToThePlanesTheyWereMadeFrom) {
  std::mt19937 random(5);
  std::uniform_real_distribution<float> value(0, 255);
  for (const int matrix : {0, 1, 4, 6, 7, 8, 9}) {
    for (const Range range : {Range::limited, Range::full}) {
      Planes planes(3, 40, 30);
      for (int c = 0; c < 3; ++c) {
        for (int y = 0; y < 30; ++y) {
          for (int x = 0; x < 40; ++x) planes.at(c, x, y) = value(random);
        }
      }
      const FrameBuffer out(40, 30, format(Family::yuv, 12), color(matrix, range));
      ASSERT_TRUE(planes_to_frame(planes.view(), ModelSpec{}, out.view().color, out.view()).ok());
      for (int y = 0; y < 30; ++y) {
        for (int x = 0; x < 40; ++x) {
          const Rgb rgb = decode_at(out.view(), out.view().color, x, y);
          for (int c = 0; c < 3; ++c) {
            ASSERT_NEAR(255 * rgb[static_cast<size_t>(c)], planes.at(c, x, y), 0.12)
                << "matrix " << matrix;
          }
        }
      }
    }
  }
}

// Fast decimation against the tap lists, on chroma that no interpolation made.
TEST(Pixels, SubsampledChromaIsTheDecimationOfFullChroma) {
  std::mt19937 random(6);
  std::uniform_real_distribution<float> value(100, 150);
  for (const auto& [sx, sy] :
       std::vector<std::array<int, 2>>{{1, 1}, {1, 0}, {2, 0}, {2, 2}, {0, 1}}) {
    for (const Siting siting : kSitings) {
      const int w = 53, h = 149;  // more than two bands
      Planes planes(3, w, h);
      for (int c = 0; c < 3; ++c) {
        for (int y = 0; y < h; ++y) {
          for (int x = 0; x < w; ++x) planes.at(c, x, y) = value(random);
        }
      }
      const ColorSpec spec =
          resolve_color(color(1, Range::limited, siting), w, h, format(Family::yuv, 8));
      const FrameBuffer full(w, h, format(Family::yuv, 16), spec);
      const FrameBuffer half(w, h, format(Family::yuv, 16, sx, sy), spec);
      ASSERT_TRUE(planes_to_frame(planes.view(), ModelSpec{}, spec, full.view()).ok());
      ASSERT_TRUE(planes_to_frame(planes.view(), ModelSpec{}, spec, half.view()).ok());
      for (int p = 0; p < 3; ++p) {
        const bool chroma = p > 0;
        for (int y = 0; y < half.view().plane_height(p); ++y) {
          for (int x = 0; x < half.view().plane_width(p); ++x) {
            const double wanted =
                apply2d(downsample_taps(y, h, chroma ? sy : 0, vertical_phase(spec.siting)),
                        downsample_taps(x, w, chroma ? sx : 0, horizontal_phase(spec.siting)),
                        [&](int i, int j) { return get(full.view(), p, i, j); });
            // The full picture's own rounding, amplified by the taps.
            ASSERT_NEAR(get(half.view(), p, x, y), std::clamp(wanted, 0.0, 65535.0), 10)
                << p << " " << x << " " << y;
          }
        }
      }
    }
  }
}

TEST(Pixels, GrayMeansEqualChannelsAndOneChannelIsLuma) {
  const FrameBuffer gray(9, 5, format(Family::gray, 8), color(2, Range::full));
  fill_random(gray.view(), 1);
  Planes three(3, 9, 5);
  Planes one(1, 9, 5);
  ASSERT_TRUE(frame_to_planes(gray.view(), ModelSpec{}, three.view()).ok());
  ASSERT_TRUE(frame_to_planes(gray.view(), ModelSpec{}, one.view()).ok());
  for (int x = 0; x < 9; ++x) {
    EXPECT_EQ(three.at(0, x, 2), three.at(1, x, 2));
    EXPECT_EQ(three.at(0, x, 2), three.at(2, x, 2));
    EXPECT_NEAR(one.at(0, x, 2), get(gray.view(), 0, x, 2), 1e-3);
  }
  const FrameBuffer rgb(1, 1, format(Family::rgb, 8), color(9, Range::full));
  for (int p = 0; p < 3; ++p) put(rgb.view(), p, 0, 0, 50 + 70 * p);
  Planes luma(1, 1, 1);
  ASSERT_TRUE(frame_to_planes(rgb.view(), ModelSpec{}, luma.view()).ok());
  EXPECT_NEAR(luma.at(0, 0, 0), 0.2627 * 50 + 0.678 * 120 + 0.0593 * 190, 1e-3);
  // And back: a luma picture has no colour in yuv.
  const FrameBuffer yuv(9, 5, format(Family::yuv, 8, 1, 1), color(1, Range::limited));
  ASSERT_TRUE(planes_to_frame(one.view(), ModelSpec{}, yuv.view().color, yuv.view()).ok());
  for (int x = 0; x < 9; ++x) {
    EXPECT_EQ(get(yuv.view(), 0, x, 1),
              static_cast<int>(std::floor(16 + 219 * get(gray.view(), 0, x, 1) / 255.0 + 0.5)));
  }
  EXPECT_EQ(get(yuv.view(), 1, 2, 1), 128);
  EXPECT_EQ(get(yuv.view(), 2, 2, 1), 128);
}

TEST(Pixels, NeutralSamplesGiveThreeEqualValues) {
  for (const int matrix : {1, 4, 6, 7, 8, 9}) {
    const FrameBuffer in(256, 2, format(Family::yuv, 8, 1, 1), color(matrix, Range::limited));
    for (int x = 0; x < 256; ++x) put(in.view(), 0, x, 0, x), put(in.view(), 0, x, 1, x);
    for (int x = 0; x < 128; ++x) put(in.view(), 1, x, 0, 128), put(in.view(), 2, x, 0, 128);
    Planes planes(3, 256, 2);
    ASSERT_TRUE(frame_to_planes(in.view(), ModelSpec{}, planes.view()).ok());
    for (int x = 0; x < 256; ++x) {
      EXPECT_EQ(planes.at(0, x, 1), planes.at(1, x, 1));
      EXPECT_EQ(planes.at(0, x, 1), planes.at(2, x, 1));
    }
  }
}

TEST(Pixels, MeanScaleRangeAndOrderAreTheModels) {
  ModelSpec spec;
  spec.order = ModelSpec::Order::bgr;
  spec.range = {0, 1};
  spec.mean = {0.4F, 0.5F, 0.6F};
  spec.scale = {2, 3, 4};
  const FrameBuffer in(1, 1, format(Family::rgb, 8), color(2, Range::full));
  for (int p = 0; p < 3; ++p) put(in.view(), p, 0, 0, 51 * (p + 1));  // 0.2, 0.4, 0.6
  Planes planes(3, 1, 1);
  ASSERT_TRUE(frame_to_planes(in.view(), spec, planes.view()).ok());
  EXPECT_NEAR(planes.at(0, 0, 0), (0.6 - 0.4) * 2, 1e-5);
  EXPECT_NEAR(planes.at(1, 0, 0), (0.4 - 0.5) * 3, 1e-5);
  EXPECT_NEAR(planes.at(2, 0, 0), (0.2 - 0.6) * 4, 1e-5);
}

TEST(Pixels, PadReflectsWithoutRepeatingTheEdgeHoweverSmallThePicture) {
  for (const auto& [w, h] :
       std::vector<std::array<int, 2>>{{1, 1}, {2, 1}, {1, 3}, {3, 2}, {5, 7}}) {
    const FrameBuffer in(w, h, format(Family::rgb, 8), color(2, Range::full));
    fill_random(in.view(), static_cast<unsigned>(w));
    const PlaneOffset at{3, 11};
    Planes planes(3, w + 3 + 9, h + 11 + 4);
    ASSERT_TRUE(frame_to_planes(in.view(), ModelSpec{}, planes.view(), at).ok());
    EXPECT_TRUE(planes.marks_kept());
    const auto bounce = [](int i, int n) {
      while (n > 1 && (i < 0 || i >= n)) i = i < 0 ? -i : 2 * (n - 1) - i;
      return n == 1 ? 0 : i;
    };
    for (int y = 0; y < h + 15; ++y) {
      for (int x = 0; x < w + 12; ++x) {
        EXPECT_NEAR(planes.at(1, x, y), get(in.view(), 1, bounce(x - 3, w), bounce(y - 11, h)),
                    1e-3);
      }
    }
  }
}

TEST(Pixels, ClampClipsToTheOutputRangeAndElseOnlyTheFormatClips) {
  ModelSpec spec;
  spec.output_range = {0, 1};
  const FrameBuffer out(2, 1, format(Family::yuv, 8), color(1, Range::limited));
  Planes planes(3, 2, 1);
  for (int c = 0; c < 3; ++c) planes.at(c, 0, 0) = 1.05F, planes.at(c, 1, 0) = -9;
  ASSERT_TRUE(planes_to_frame(planes.view(), spec, out.view().color, out.view()).ok());
  EXPECT_EQ(get(out.view(), 0, 0, 0), 246);  // 16 + 219 * 1.05
  EXPECT_EQ(get(out.view(), 0, 1, 0), 0);
  spec.clamp = true;
  ASSERT_TRUE(planes_to_frame(planes.view(), spec, out.view().color, out.view()).ok());
  EXPECT_EQ(get(out.view(), 0, 0, 0), 235);
  EXPECT_EQ(get(out.view(), 0, 1, 0), 16);
}

// Seen: a black frame whose chroma is off by one gave stripes, since instance normalisation blows
// up what little varies.
TEST(Pixels, ClampKeepsTheNetworksInputInItsRange) {
  ModelSpec spec;
  spec.mean = {10, 10, 10};
  spec.scale = {-1, 1, 1};
  const FrameBuffer in(2, 1, format(Family::yuv, 8), color(1, Range::limited));
  put(in.view(), 0, 0, 0, 16);
  put(in.view(), 0, 1, 0, 16);
  put(in.view(), 1, 0, 0, 120);  // blue below black
  put(in.view(), 2, 0, 0, 120);  // red below black
  Planes planes(3, 2, 1);
  ASSERT_TRUE(frame_to_planes(in.view(), spec, planes.view()).ok());
  EXPECT_GT(planes.at(0, 0, 0), 10);
  EXPECT_LT(planes.at(2, 0, 0), -10);
  spec.clamp = true;
  ASSERT_TRUE(frame_to_planes(in.view(), spec, planes.view()).ok());
  EXPECT_EQ(planes.at(0, 0, 0), 10);
  EXPECT_GT(planes.at(1, 0, 0), -10);
  EXPECT_EQ(planes.at(2, 0, 0), -10);
}

TEST(Pixels, NanAndInfinityBecomeCodesOfTheFormat) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity(), std::numeric_limits<float>::max()}) {
    for (const bool clamp : {false, true}) {
      ModelSpec spec;
      spec.clamp = clamp;
      const FrameBuffer out(4, 4, format(Family::yuv, 10, 1, 1), color(1, Range::limited));
      Planes planes(3, 4, 4);
      for (int c = 0; c < 3; ++c) {
        for (int i = 0; i < 16; ++i) planes.at(c, i % 4, i / 4) = bad;
      }
      ASSERT_TRUE(planes_to_frame(planes.view(), spec, out.view().color, out.view()).ok());
      for (int p = 0; p < 3; ++p) EXPECT_LE(get(out.view(), p, 1, 1), 1023);
      const int luma = get(out.view(), 0, 3, 3);
      EXPECT_EQ(luma, bad > 0 ? (clamp ? 940 : 1023) : (clamp ? 64 : 0));
    }
  }
}

TEST(Pixels, BitsDoNotDependOnThreads) {
  const FrameBuffer in(333, 257, format(Family::yuv, 8, 1, 1), color(1, Range::limited));
  fill_random(in.view(), 9);
  const int before = omp_get_max_threads();
  std::vector<float> first;
  std::vector<int> first_codes;
  for (const int threads : {1, 2, 3, 5}) {
    omp_set_num_threads(threads);
    std::vector<float> floats(3 * 340 * 260);
    const PlanesView planes{floats.data(), 3, 340, 260, 340, 340 * 260};
    ASSERT_TRUE(frame_to_planes(in.view(), ModelSpec{}, planes).ok());
    if (first.empty()) first = floats;
    EXPECT_EQ(std::memcmp(first.data(), floats.data(), floats.size() * sizeof(float)), 0);
    for (float& v : floats) v = std::sin(v) * 200;
    const FrameBuffer out(333, 257, in.view().format, in.view().color);
    ASSERT_TRUE(planes_to_frame(planes, ModelSpec{}, in.view().color, out.view()).ok());
    std::vector<int> codes;
    for (int p = 0; p < 3; ++p) {
      for (int y = 0; y < out.view().plane_height(p); ++y) {
        for (int x = 0; x < out.view().plane_width(p); ++x)
          codes.push_back(get(out.view(), p, x, y));
      }
    }
    if (first_codes.empty()) first_codes = codes;
    EXPECT_EQ(first_codes, codes);
  }
  omp_set_num_threads(before);
}

TEST(Pixels, UnspecifiedColourIsGuessedFromTheInputsSize) {
  const PixelFormat yuv420 = format(Family::yuv, 8, 1, 1);
  EXPECT_EQ(resolve_color({}, 720, 576, yuv420).matrix, 6);
  EXPECT_EQ(resolve_color({}, 1024, 576, yuv420).matrix, 6);
  EXPECT_EQ(resolve_color({}, 1025, 576, yuv420).matrix, 1);
  EXPECT_EQ(resolve_color({}, 320, 577, yuv420).matrix, 1);
  EXPECT_EQ(resolve_color(color(9, Range::full), 16, 16, yuv420).matrix, 9);
  EXPECT_EQ(resolve_color(color(0, Range::full), 1920, 1080, yuv420).matrix, 1);
  EXPECT_EQ(resolve_color(color(0, Range::full), 1920, 1080, format(Family::yuv, 8)).matrix, 0);
  EXPECT_EQ(resolve_color({}, 16, 16, yuv420).range, Range::limited);
  EXPECT_EQ(resolve_color({}, 16, 16, format(Family::rgb, 8)).range, Range::full);
  EXPECT_EQ(resolve_color({}, 16, 16, format(Family::gray, 8)).range, Range::full);
  EXPECT_EQ(resolve_color({}, 16, 16, yuv420).siting, Siting::left);
  // A larger output of a small input keeps the small one's matrix.
  const FrameBuffer out(2048, 2, yuv420, {});
  Planes red(3, 2048, 2);
  for (int x = 0; x < 4096; ++x) {
    red.at(0, x % 2048, x / 2048) = 255;
    red.at(1, x % 2048, x / 2048) = red.at(2, x % 2048, x / 2048) = 0;
  }
  const ColorSpec coded = resolve_color(out.view().color, 1024, 1, yuv420);
  ASSERT_TRUE(planes_to_frame(red.view(), ModelSpec{}, coded, out.view()).ok());
  EXPECT_EQ(get(out.view(), 0, 7, 1), 81);  // BT.601's red
}

TEST(Pixels, WhatIsNotSupportedIsSaid) {
  Planes planes(3, 8, 8);
  for (const int matrix : {3, 10, 11, 12, 14, 15, 255}) {
    const FrameBuffer in(8, 8, format(Family::yuv, 8, 1, 1), color(matrix, Range::limited));
    fill_random(in.view(), 1);
    const auto result = frame_to_planes(in.view(), ModelSpec{}, planes.view());
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, Code::invalid_input);
    EXPECT_NE(result.error().message.find(std::to_string(matrix)), std::string::npos);
  }
  const FrameBuffer in(8, 8, format(Family::yuv, 8, 1, 1), color(1, Range::limited));
  fill_random(in.view(), 1);
  EXPECT_EQ(frame_to_planes(in.view(), ModelSpec{}, Planes(3, 7, 8).view()).error().code,
            Code::invalid_argument);
  EXPECT_EQ(frame_to_planes(in.view(), ModelSpec{}, planes.view(), {1, 0}).error().code,
            Code::invalid_argument);
  EXPECT_EQ(frame_to_planes(in.view(), ModelSpec{}, Planes(4, 8, 8).view()).error().code,
            Code::invalid_argument);
  FrameView deep = in.view();
  deep.format.depth = 17;
  EXPECT_EQ(frame_to_planes(deep, ModelSpec{}, planes.view()).error().code, Code::invalid_input);
  FrameView narrow = in.view();
  narrow.format.chroma_shift_x = 3;
  EXPECT_EQ(frame_to_planes(narrow, ModelSpec{}, planes.view()).error().code, Code::invalid_input);
  ModelSpec flat;
  flat.output_range = {1, 1};
  EXPECT_EQ(planes_to_frame(planes.view(), flat, in.view().color, in.view()).error().code,
            Code::invalid_argument);
}

TEST(Pixels, AlphaIsLeftToTheCaller) {
  PixelFormat with_alpha = format(Family::rgb, 8);
  with_alpha.alpha = true;
  const FrameBuffer out(3, 3, with_alpha, color(2, Range::full));
  for (int i = 0; i < 9; ++i) put(out.view(), 3, i % 3, i / 3, 77);
  Planes planes(3, 3, 3);
  for (int i = 0; i < 27; ++i) planes.at(i / 9, i % 3, i / 3 % 3) = 5;
  ASSERT_TRUE(planes_to_frame(planes.view(), ModelSpec{},
                              resolve_color(out.view().color, 3, 3, with_alpha), out.view())
                  .ok());
  EXPECT_EQ(get(out.view(), 0, 1, 1), 5);
  for (int i = 0; i < 9; ++i) EXPECT_EQ(get(out.view(), 3, i % 3, i / 3), 77);
}

}  // namespace
}  // namespace atelier::model
