// SPDX-License-Identifier: Apache-2.0
#include "model/pass_through.h"

#include <gtest/gtest.h>

#include <cstring>

namespace atelier::model {
namespace {

const PixelFormat k420{PixelFormat::Family::yuv, 8, 1, 1, false};

FrameBuffer gradient(int width, int height) {
  FrameBuffer frame(width, height, k420, {});
  for (int p = 0; p < k420.planes(); ++p) {
    const FrameView::Plane& plane = frame.view().plane[static_cast<size_t>(p)];
    for (int y = 0; y < frame.view().plane_height(p); ++y) {
      for (int x = 0; x < frame.view().plane_width(p); ++x) {
        plane.data[y * plane.stride + x] = std::byte(16 + (7 * x + 3 * y + 50 * p) % 200);
      }
    }
  }
  return frame;
}

TEST(PassThrough, OfTheSameSizeAndFormatNoSampleChanges) {
  const FrameBuffer in = gradient(37, 23);
  const FrameBuffer out(37, 23, k420, {});
  ASSERT_TRUE(pass_through(in.view(), out.view()).ok());
  for (int p = 0; p < k420.planes(); ++p) {
    const auto& a = in.view().plane[static_cast<size_t>(p)];
    const auto& b = out.view().plane[static_cast<size_t>(p)];
    const auto width = static_cast<size_t>(in.view().plane_width(p));
    for (int y = 0; y < in.view().plane_height(p); ++y) {
      EXPECT_EQ(std::memcmp(a.data + y * a.stride, b.data + y * b.stride, width), 0)
          << "plane " << p << " row " << y;
    }
  }
}

TEST(PassThrough, ScalesAndChangesTheFormat) {
  FrameBuffer in(8, 8, k420, {});
  for (int p = 0; p < 3; ++p) {
    const FrameView::Plane& plane = in.view().plane[static_cast<size_t>(p)];
    for (int y = 0; y < in.view().plane_height(p); ++y) {
      std::memset(plane.data + y * plane.stride, p == 0 ? 235 : 128,
                  static_cast<size_t>(in.view().plane_width(p)));
    }
  }
  const PixelFormat rgb{PixelFormat::Family::rgb, 16, 0, 0, false};
  const FrameBuffer out(13, 5, rgb, {});
  ASSERT_TRUE(pass_through(in.view(), out.view()).ok());
  for (size_t p = 0; p < 3; ++p) {
    uint16_t sample = 0;
    std::memcpy(&sample, out.view().plane[p].data + 2 * out.view().plane[p].stride + 12, 2);
    EXPECT_EQ(sample, 65535) << "white stays white in plane " << p;
  }
}

TEST(PassThrough, RefusesWhatCannotBeRead) {
  ColorSpec color;
  color.matrix = 10;  // BT.2020 constant luminance
  const FrameBuffer in(4, 4, k420, color);
  const FrameBuffer out(4, 4, k420, color);
  EXPECT_EQ(pass_through(in.view(), out.view()).error().code, Code::invalid_input);
}

}  // namespace
}  // namespace atelier::model
