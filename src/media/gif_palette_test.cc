// SPDX-License-Identifier: Apache-2.0
#include "media/gif_palette.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>
#include <vector>

namespace atelier::media {
namespace {

struct Quantised {
  GifPalette palette;
  std::vector<uint8_t> indices;
};

Quantised run(const FrameBuffer& picture) {
  Quantised q;
  const FrameView& view = picture.view();
  q.indices.resize(static_cast<size_t>(view.width * view.height));
  q.palette = quantise(view, q.indices.data(), view.width);
  return q;
}

template <class F>
FrameBuffer paint(int width, int height, bool alpha, F&& colour) {
  FrameBuffer buffer(width, height, {PixelFormat::Family::rgb, 8, 0, 0, alpha}, {});
  for (int p = 0; p < (alpha ? 4 : 3); ++p) {
    const auto& plane = buffer.view().plane[static_cast<size_t>(p)];
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        plane.data[y * plane.stride + x] = static_cast<std::byte>(colour(x, y, p));
      }
    }
  }
  return buffer;
}

TEST(GifPalette, KeepsUpTo256ColoursExactly) {
  const FrameBuffer picture = paint(16, 16, false, [](int x, int y, int p) {
    return p == 0 ? x * 16 + 3 : p == 1 ? y * 16 + 5 : 77;
  });
  const Quantised q = run(picture);
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 16; ++x) {
      const uint32_t wanted =
          0xFF000000U | static_cast<uint32_t>((x * 16 + 3) << 16 | (y * 16 + 5) << 8 | 77);
      EXPECT_EQ(q.palette[q.indices[static_cast<size_t>(y * 16 + x)]], wanted) << x << ' ' << y;
    }
  }
}

TEST(GifPalette, ComesNearInASmoothPicture) {
  const auto colour = [](int x, int y, int p) { return p == 0 ? x : p == 1 ? y : (x + y) / 2; };
  const Quantised q = run(paint(256, 256, false, colour));
  EXPECT_EQ(std::set<uint8_t>(q.indices.begin(), q.indices.end()).size(), 256U);
  double squares = 0;
  for (int y = 0; y < 256; ++y) {
    for (int x = 0; x < 256; ++x) {
      const uint32_t got = q.palette[q.indices[static_cast<size_t>(y * 256 + x)]];
      for (int p = 0; p < 3; ++p) {
        const int off = static_cast<int>(got >> (16 - 8 * p) & 255U) - colour(x, y, p);
        squares += off * off;
      }
    }
  }
  EXPECT_LT(squares / (3.0 * 256 * 256), 40);  // 32 dB
}

TEST(GifPalette, KeepsWhatIsSeenThrough) {
  const Quantised q =
      run(paint(8, 8, true, [](int x, int, int p) { return p == 3 ? (x < 4 ? 0 : 255) : x * 30; }));
  for (size_t i = 0; i < q.indices.size(); ++i) {
    EXPECT_EQ(q.palette[q.indices[i]] >> 24, i % 8 < 4 ? 0U : 255U) << i;
  }
}

TEST(GifPalette, TakesAPictureOfNothing) {
  const Quantised q = run(paint(2, 2, true, [](int, int, int) { return 0; }));
  EXPECT_EQ(q.palette[q.indices[0]], 0U);
}

}  // namespace
}  // namespace atelier::media
