// SPDX-License-Identifier: Apache-2.0
#include "media/sheet.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "media/to_rgb.h"

namespace atelier::media {
namespace {

constexpr int kGap = 8;
constexpr int kGapLevel = 24;
constexpr int kMaxHeight = 32767;

void paste(const FrameView& picture, const FrameView& sheet, int x, int y) {
  for (size_t p = 0; p < 3; ++p) {
    for (int row = 0; row < picture.height; ++row) {
      std::memcpy(sheet.plane[p].data + sheet.plane[p].stride * (y + row) + x,
                  picture.plane[p].data + picture.plane[p].stride * row,
                  static_cast<size_t>(picture.width));
    }
  }
}

}  // namespace

Result<FrameBuffer> make_sheet(std::span<const SheetRow> rows, int max_width) {
  int cell = 0;
  for (const SheetRow& row : rows) {
    if (row.before.width <= 0 || row.before.height <= 0) {
      return make_error(Code::invalid_input, "A sheet cannot show an empty picture.");
    }
    cell = std::max({cell, row.before.width, row.after.width});
  }
  cell = std::min(cell, (max_width - kGap) / 2);
  if (cell <= 0) {
    return make_error(Code::invalid_argument,
                      "A sheet of {} rows in {} columns of pixels has no room for a picture.",
                      rows.size(), max_width);
  }
  std::vector<int> heights;
  double total = -kGap;
  for (const SheetRow& row : rows) {
    const double height =
        std::max(1.0, std::round(static_cast<double>(cell) * row.before.height / row.before.width));
    total += height + kGap;
    if (!(total > 0 && total <= kMaxHeight)) {
      return make_error(Code::invalid_argument,
                        "A sheet of these {} rows would be higher than {} lines: use fewer.",
                        rows.size(), kMaxHeight);
    }
    heights.push_back(static_cast<int>(height));
  }
  ColorSpec color;
  color.matrix = 0;
  color.range = ColorSpec::Range::full;
  FrameBuffer sheet(2 * cell + kGap, static_cast<int>(total),
                    PixelFormat{PixelFormat::Family::rgb, 8, 0, 0, false}, color);
  for (size_t p = 0; p < 3; ++p) {
    std::memset(sheet.view().plane[p].data, kGapLevel,
                static_cast<size_t>(sheet.view().plane[p].stride) *
                    static_cast<size_t>(sheet.view().height));
  }
  int y = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    paste(TRY(to_rgb(rows[i].before, cell, heights[i], 8)).view(), sheet.view(), 0, y);
    paste(TRY(to_rgb(rows[i].after, cell, heights[i], 8)).view(), sheet.view(), cell + kGap, y);
    y += heights[i] + kGap;
  }
  return sheet;
}

}  // namespace atelier::media
