// SPDX-License-Identifier: Apache-2.0
#include "model/tile_grid.h"

#include <gtest/gtest.h>

#include <random>

namespace atelier::model {
namespace {

ReceptiveField field(int64_t align, int64_t factor, int64_t before, int64_t after) {
  ReceptiveField made;
  made.y = made.x = {align, factor, before, after, 0};
  return made;
}

// Whatever tile i shows, and what conversions read around it, is right in tile i.
void expect_right(const TileAxis& axis, const AxisField& f, int net, int frame) {
  ASSERT_EQ(axis.cuts.size(), axis.starts.size() + 1);
  EXPECT_EQ(axis.cuts.front(), 0);
  EXPECT_EQ(axis.cuts.back(), f.factor * frame);
  EXPECT_EQ(axis.starts.front(), 0);
  EXPECT_EQ(axis.starts.back() + axis.length, net);
  for (size_t i = 0; i < axis.starts.size(); i++) {
    const bool last = i + 1 == axis.starts.size();
    const int64_t begin = f.factor * axis.starts[i];
    const int64_t end = begin + f.factor * axis.length;
    EXPECT_EQ(axis.starts[i] % f.align, 0);
    EXPECT_EQ(axis.starts[i] % kCutGrid, 0);
    EXPECT_EQ(axis.cuts[i] % kCutGrid, 0);
    EXPECT_LT(axis.cuts[i], axis.cuts[i + 1]);
    EXPECT_GE(axis.first_right(i), begin + (i == 0 ? 0 : f.before));
    EXPECT_LE(axis.end_right(i), last ? f.factor * frame : end - f.after);
    EXPECT_LE(axis.first_right(i), axis.cuts[i] - (i == 0 ? 0 : kConversionMargin));
  }
}

TEST(TileGrid, TilesShowWhatIsRightInThem) {
  std::mt19937 random(3);
  const auto draw = [&](int below) { return static_cast<int>(random() % unsigned(below)); };
  int cut = 0;
  for (int i = 0; i < 300; i++) {
    const ReceptiveField f = field(int64_t{1} << draw(6), 1 + draw(3), draw(200), draw(200));
    const Size frame{100 + draw(4000), 100 + draw(3000)};
    const Size net{frame.width + draw(4), frame.height + draw(4)};
    const double bytes = 1e9;
    const auto grid = choose_tiles(f, {net, frame, bytes, bytes / (1.1 + draw(12))});
    if (!grid) continue;
    cut++;
    expect_right(grid->y, f.y, net.height, frame.height);
    expect_right(grid->x, f.x, net.width, frame.width);
  }
  EXPECT_GT(cut, 200);
}

TEST(TileGrid, ATileKeepsTheBudgetWhereOneCan) {
  const Size size{3840, 2160};
  for (const double part : {0.9, 0.6, 0.4, 0.2}) {
    const auto grid = choose_tiles(field(16, 1, 200, 200), {size, size, 1, part});
    ASSERT_TRUE(grid);
    const Size tile = grid->tile();
    EXPECT_LE(static_cast<double>(tile.width) * tile.height, part * size.width * size.height);
  }
}

TEST(TileGrid, TheLongerSideIsCutFirst) {
  const Size wide{3840, 2160}, tall{2160, 3840};
  EXPECT_EQ(choose_tiles(field(16, 1, 200, 200), {wide, wide, 1, 0.7})->tile().height, 2160);
  EXPECT_EQ(choose_tiles(field(16, 1, 200, 200), {tall, tall, 1, 0.7})->tile().width, 2160);
}

TEST(TileGrid, WhereNoTileKeepsTheBudgetTheSmallestIsTaken) {
  const Size size{1920, 1080};
  const auto grid = choose_tiles(field(16, 1, 200, 200), {size, size, 1, 1e-9});
  ASSERT_TRUE(grid);
  EXPECT_LT(grid->tile().width, 640);
  EXPECT_LT(grid->tile().height, 640);
}

TEST(TileGrid, AFrameNoLargerThanItsEdgesIsNotCut) {
  const Size size{300, 300};
  EXPECT_FALSE(choose_tiles(field(16, 1, 200, 200), {size, size, 1, 0.5}));
}

}  // namespace
}  // namespace atelier::model
