// SPDX-License-Identifier: Apache-2.0
#include "media/sheet.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <tuple>
#include <vector>

#include "media/to_rgb.h"

namespace atelier::media {
namespace {

constexpr int kGap = 8;
constexpr int kGapLevel = 24;
constexpr int kMaxHeight = 32767;

// Copies `picture`, turned, to (x, y) of the sheet.
void paste(const FrameView& picture, int quarter_turns, const FrameView& sheet, int x, int y) {
  const bool sideways = quarter_turns % 2 != 0;
  const int width = sideways ? picture.height : picture.width;
  const int height = sideways ? picture.width : picture.height;
  for (size_t p = 0; p < 3; ++p) {
    for (int row = 0; row < height; ++row) {
      std::byte* to = sheet.plane[p].data + sheet.plane[p].stride * (y + row) + x;
      for (int column = 0; column < width; ++column) {
        int from_x = column;
        int from_y = row;
        if (quarter_turns == 1) std::tie(from_x, from_y) = std::pair(row, width - 1 - column);
        if (quarter_turns == 2)
          std::tie(from_x, from_y) = std::pair(width - 1 - column, height - 1 - row);
        if (quarter_turns == 3) std::tie(from_x, from_y) = std::pair(height - 1 - row, column);
        to[column] = picture.plane[p].data[picture.plane[p].stride * from_y + from_x];
      }
    }
  }
}

// As shown: turned, with square pixels.
struct Shown {
  double width = 0;
  double height = 0;
};
Shown shown_size(const FrameView& picture, const SheetLook& look, bool sideways) {
  const Shown size{picture.width * look.pixel_aspect, static_cast<double>(picture.height)};
  return sideways ? Shown{size.height, size.width} : size;
}

}  // namespace

Result<FrameBuffer> make_sheet(std::span<const SheetRow> rows, const SheetLook& look) {
  const int max_width = look.max_width;
  const int turns = ((look.quarter_turns % 4) + 4) % 4;
  const bool sideways = turns % 2 != 0;
  int cell = 0;
  for (const SheetRow& row : rows) {
    if (row.before.width <= 0 || row.before.height <= 0) {
      return make_error(Code::invalid_input, "A sheet cannot show an empty picture.");
    }
    for (const FrameView& picture : {row.before, row.after}) {
      const double width = std::round(shown_size(picture, look, sideways).width);
      cell = std::max(cell, static_cast<int>(std::clamp(width, 1.0, 1e6)));
    }
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
    const Shown size = shown_size(row.before, look, sideways);
    const double height = std::max(1.0, std::round(cell * size.height / size.width));
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
    const int width = sideways ? heights[i] : cell;
    const int height = sideways ? cell : heights[i];
    paste(TRY(to_rgb(rows[i].before, width, height, 8)).view(), turns, sheet.view(), 0, y);
    paste(TRY(to_rgb(rows[i].after, width, height, 8)).view(), turns, sheet.view(), cell + kGap, y);
    y += heights[i] + kGap;
  }
  return sheet;
}

}  // namespace atelier::media
