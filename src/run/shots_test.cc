// SPDX-License-Identifier: Apache-2.0
#include "run/shots.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <random>

namespace atelier::run {
namespace {

using Cuts = std::vector<uint64_t>;

// The luma, 0 to 1, at (x, y) of frame n.
using Scene = std::function<double(int n, double x, double y)>;

FrameBuffer gray(const Scene& scene, int n, std::mt19937& noise, double sigma = 0) {
  FrameBuffer frame(96, 64, {PixelFormat::Family::gray, 8, 0, 0, false}, {});
  std::normal_distribution<double> error(0, sigma > 0 ? sigma : 1);
  const auto& plane = frame.view().plane[0];
  for (int y = 0; y < 64; y++) {
    for (int x = 0; x < 96; x++) {
      const double v = scene(n, x, y) + (sigma > 0 ? error(noise) : 0);
      (plane.data + y * plane.stride)[x] =
          static_cast<std::byte>(std::lround(std::clamp(v, 0.0, 1.0) * 255));
    }
  }
  return frame;
}

Cuts shots_of(int frames, const Scene& scene, double sigma = 0, size_t most = 100) {
  std::mt19937 noise(1);
  CutFinder finder;
  for (int n = 0; n < frames; n++) {
    finder.add(signature_of(gray(scene, n, noise, sigma).view()));
  }
  return finder.shots(most);
}

double waves(double x, double y, double phase) {
  return 0.5 + 0.4 * std::sin(x / 13 + phase) * std::cos(y / 9 + 2 * phase);
}

TEST(CutFinder, HardCutsAreFound) {
  const Scene scene = [](int n, double x, double y) { return waves(x, y, 0.02 * n + n / 25); };
  EXPECT_EQ(shots_of(100, scene), (Cuts{0, 25, 50, 75}));
  EXPECT_EQ(shots_of(100, scene, 0.05), (Cuts{0, 25, 50, 75}));
}

TEST(CutFinder, CutsBetweenStillPicturesAreFound) {
  const Scene scene = [](int n, double x, double y) { return waves(x, y, n / 30); };
  EXPECT_EQ(shots_of(90, scene), (Cuts{0, 30, 60}));
}

TEST(CutFinder, PansAndNoiseAreNoCuts) {
  const Scene pan = [](int n, double x, double y) {
    return waves(x + 3 * std::max(0, n - 30), y, 0);
  };
  EXPECT_EQ(shots_of(100, pan), (Cuts{0}));
  const Scene still = [](int, double x, double y) { return waves(x, y, 0); };
  EXPECT_EQ(shots_of(60, still, 0.2), (Cuts{0}));
}

TEST(CutFinder, FadesAndDissolvesAreNoCuts) {
  const Scene fade = [](int n, double x, double y) {
    return waves(x, y, 0) * std::abs(n - 30) / 30.0;
  };
  EXPECT_EQ(shots_of(60, fade), (Cuts{0}));
  const Scene dissolve = [](int n, double x, double y) {
    const double t = std::clamp((n - 20) / 20.0, 0.0, 1.0);
    return waves(x, y, 0) * (1 - t) + waves(x, y, 3) * t;
  };
  EXPECT_EQ(shots_of(60, dissolve), (Cuts{0}));
}

TEST(CutFinder, FlashesAreNoCuts) {
  const Scene flash = [](int n, double x, double y) {
    return waves(x, y, 0.01 * n) + (n == 20 || n == 41 || n == 42 ? 0.6 : 0);
  };
  EXPECT_EQ(shots_of(70, flash), (Cuts{0}));
}

TEST(CutFinder, ShotsAreNotShredded) {
  const Scene strobe = [](int n, double x, double y) { return waves(x, y, 1.7 * n); };
  const Cuts shots = shots_of(80, strobe);
  for (size_t i = 1; i < shots.size(); i++) {
    EXPECT_GE(shots[i] - shots[i - 1], CutFinder::kLeastShot);
  }
}

TEST(CutFinder, OfTooManyCutsTheStrongestCount) {
  const Scene scene = [](int n, double, double) { return n < 20 ? 0.1 : n < 40 ? 0.2 : 0.9; };
  EXPECT_EQ(shots_of(60, scene), (Cuts{0, 20, 40}));
  EXPECT_EQ(shots_of(60, scene, 0, 2), (Cuts{0, 40}));
  EXPECT_EQ(shots_of(60, scene, 0, 1), (Cuts{0}));
}

TEST(CutFinder, OneFrameIsOneShotAndNoneIsNone) {
  const Scene black = [](int, double, double) { return 0.0; };
  EXPECT_EQ(shots_of(1, black), (Cuts{0}));
  EXPECT_EQ(CutFinder().shots(9), Cuts{});
}

TEST(Signature, TinyAndDeepFramesHaveOne) {
  FrameBuffer deep(1, 1, {PixelFormat::Family::yuv, 10, 1, 1, false}, {});
  for (auto& plane : deep.view().plane) {
    const uint16_t white = 1023;
    if (plane.data) std::memcpy(plane.data, &white, 2);
  }
  const FrameSignature made = signature_of(deep.view());
  EXPECT_FLOAT_EQ(made.cells[0][0], 1);
  EXPECT_FLOAT_EQ(made.cells[2][95], 1);
  EXPECT_EQ(distance(made, made), 0);
}

}  // namespace
}  // namespace atelier::run
