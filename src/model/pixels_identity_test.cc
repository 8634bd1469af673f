// SPDX-License-Identifier: Apache-2.0
// Through a network that changes nothing, every sample comes back.
#include <gtest/gtest.h>

#include "model/pixels_testing.h"

namespace atelier::model {
namespace {

using namespace pixels_testing;

TEST(Pixels, IdentityReturnsEveryCodeValueForEachMatrixAndRange) {
  const std::array<int, 12> luma{0, 1, 15, 16, 17, 64, 100, 128, 235, 236, 254, 255};
  for (const int matrix : kMatrices) {
    for (const Range range : {Range::limited, Range::full}) {
      const FrameBuffer in(256, 256 * 12, format(Family::yuv, 8), color(matrix, range));
      for (int y = 0; y < in.view().height; ++y) {
        for (int x = 0; x < 256; ++x) {
          put(in.view(), 0, x, y, luma[static_cast<size_t>(y / 256)]);
          put(in.view(), 1, x, y, x);
          put(in.view(), 2, x, y, y % 256);
        }
      }
      EXPECT_EQ(round_trip_differences(in.view(), ModelSpec{}, 0, {}), 0) << "matrix " << matrix;
    }
  }
}

TEST(Pixels, IdentityReturnsEverySampleForEachSitingSubsamplingDepthAndOddSize) {
  unsigned seed = 0;
  const std::vector<std::array<int, 2>> shifts{{0, 0}, {1, 0}, {1, 1}, {0, 1}, {2, 0}, {2, 2}};
  const std::vector<std::array<int, 2>> sizes{{1, 1}, {2, 2}, {3, 3}, {1, 9},   {9, 1},
                                              {5, 4}, {4, 7}, {8, 6}, {37, 131}};
  for (const auto& [sx, sy] : shifts) {
    for (const Siting siting : kSitings) {
      for (const int depth : {8, 9, 10, 12, 16}) {
        for (const auto& [w, h] : sizes) {
          const int matrix = kMatrices[++seed % kMatrices.size()];
          const Range range = static_cast<Range>(seed % 3);
          const FrameBuffer in(w, h, format(Family::yuv, depth, sx, sy),
                               color(matrix, range, siting));
          fill_random(in.view(), seed);
          EXPECT_EQ(round_trip_differences(in.view(), ModelSpec{}, 6, {4, 1}), 0)
              << w << "x" << h << " shift " << sx << "," << sy << " siting "
              << static_cast<int>(siting) << " depth " << depth << " matrix " << matrix;
        }
      }
    }
  }
}

TEST(Pixels, IdentityReturnsRgbAndGray) {
  for (const Family family : {Family::rgb, Family::gray}) {
    for (const int depth : {8, 10, 16}) {
      for (const Range range : {Range::unspecified, Range::limited, Range::full}) {
        const FrameBuffer in(61, 43, format(family, depth), color(2, range));
        fill_random(in.view(), 7);
        EXPECT_EQ(round_trip_differences(in.view(), ModelSpec{}, 3, {}), 0);
      }
    }
  }
}

TEST(Pixels, IdentityHoldsForNetworksOfUnitRangeAndBgr) {
  ModelSpec spec;
  spec.order = ModelSpec::Order::bgr;
  spec.range = spec.output_range = {-1, 1};
  const FrameBuffer in(33, 35, format(Family::yuv, 10, 1, 1), color(9, Range::limited));
  fill_random(in.view(), 3);
  EXPECT_EQ(round_trip_differences(in.view(), spec, 5, {2, 3}), 0);
}

}  // namespace
}  // namespace atelier::model
