// SPDX-License-Identifier: Apache-2.0
#include "model/chroma.h"

#include <gtest/gtest.h>

#include <vector>

namespace atelier::model {
namespace {

constexpr std::array<Phase, 3> kPhases{Phase::first, Phase::centre, Phase::last};

int coarse_size(int fine, int shift) { return (fine + (1 << shift) - 1) >> shift; }

// Where chroma sample k lies on the luma grid.
double position(int k, int shift, Phase phase) {
  const int group = 1 << shift;
  const double within = phase == Phase::first    ? 0
                        : phase == Phase::centre ? (group - 1) / 2.0
                                                 : group - 1;
  return group * k + within;
}

TEST(Chroma, DecimationUndoesInterpolationExactlyForEverySizeAndPhase) {
  for (int shift = 0; shift <= 2; ++shift) {
    for (const Phase phase : kPhases) {
      for (int fine = 1; fine <= 40; ++fine) {
        const int coarse = coarse_size(fine, shift);
        for (int k = 0; k < coarse; ++k) {
          std::vector<double> row(static_cast<size_t>(coarse));
          const Taps down = downsample_taps(k, fine, shift, phase);
          ASSERT_GE(down.first, 0);
          ASSERT_LE(down.first + down.count, fine);
          for (int i = 0; i < down.count; ++i) {
            const Taps up = upsample_taps(down.first + i, fine, shift, phase);
            ASSERT_GE(up.first, 0);
            ASSERT_LE(up.first + up.count, coarse);
            for (int j = 0; j < up.count; ++j) {
              row[static_cast<size_t>(up.first + j)] +=
                  static_cast<double>(down.weight[static_cast<size_t>(i)]) *
                  static_cast<double>(up.weight[static_cast<size_t>(j)]);
            }
          }
          for (int j = 0; j < coarse; ++j) {
            EXPECT_EQ(row[static_cast<size_t>(j)], j == k ? 1.0 : 0.0)
                << "shift " << shift << " phase " << static_cast<int>(phase) << " size " << fine
                << " row " << k << " column " << j;
          }
        }
      }
    }
  }
}

TEST(Chroma, InterpolationOfARampIsTheRampBetweenTheOutermostSamples) {
  for (int shift = 1; shift <= 2; ++shift) {
    for (const Phase phase : kPhases) {
      constexpr int kFine = 32;
      const int coarse = coarse_size(kFine, shift);
      int checked = 0;
      for (int i = 0; i < kFine; ++i) {
        const Taps up = upsample_taps(i, kFine, shift, phase);
        double value = 0;
        bool edge = false;
        for (int j = 0; j < up.count; ++j) {
          const int k = up.first + j;
          value +=
              static_cast<double>(up.weight[static_cast<size_t>(j)]) * position(k, shift, phase);
          edge = edge || k <= 0 || k >= coarse - 1;
        }
        if (edge) continue;
        EXPECT_EQ(value, i);
        ++checked;
      }
      EXPECT_GE(checked, 16);
    }
  }
}

TEST(Chroma, DecimationOfARampIsTheRampInside) {
  for (int shift = 1; shift <= 2; ++shift) {
    for (const Phase phase : kPhases) {
      for (int k = 4; k < 12; ++k) {
        const Taps down = downsample_taps(k, 64, shift, phase);
        double value = 0;
        for (int i = 0; i < down.count; ++i) {
          value += static_cast<double>(down.weight[static_cast<size_t>(i)]) * (down.first + i);
        }
        EXPECT_EQ(value, position(k, shift, phase));
      }
    }
  }
}

TEST(Chroma, SitingsAreTheOnesOfH273) {
  using Siting = ColorSpec::Siting;
  EXPECT_EQ(horizontal_phase(Siting::left), Phase::first);
  EXPECT_EQ(vertical_phase(Siting::left), Phase::centre);
  EXPECT_EQ(horizontal_phase(Siting::center), Phase::centre);
  EXPECT_EQ(vertical_phase(Siting::center), Phase::centre);
  EXPECT_EQ(horizontal_phase(Siting::top_left), Phase::first);
  EXPECT_EQ(vertical_phase(Siting::top_left), Phase::first);
  EXPECT_EQ(horizontal_phase(Siting::top), Phase::centre);
  EXPECT_EQ(vertical_phase(Siting::top), Phase::first);
  EXPECT_EQ(horizontal_phase(Siting::bottom_left), Phase::first);
  EXPECT_EQ(vertical_phase(Siting::bottom_left), Phase::last);
  EXPECT_EQ(horizontal_phase(Siting::bottom), Phase::centre);
  EXPECT_EQ(vertical_phase(Siting::bottom), Phase::last);
}

}  // namespace
}  // namespace atelier::model
