// SPDX-License-Identifier: Apache-2.0
#include "media/gif_palette.h"

#include <algorithm>
#include <span>
#include <vector>

namespace atelier::media {
namespace {

constexpr size_t kBins = 1 << 15;
constexpr uint8_t kSeeThrough = 255;  // the index

struct Bin {
  uint32_t key = 0;  // 5 bits each of red, green, blue
  uint64_t count = 0;
  std::array<uint64_t, 3> sum{};
  int channel(int c) const { return static_cast<int>(key >> (10 - 5 * c)) & 31; }
  int mean(int c) const {
    return static_cast<int>((sum[static_cast<size_t>(c)] + count / 2) / count);
  }
};

using Box = std::span<Bin>;

class Pixels {
 public:
  explicit Pixels(const FrameView& picture) : picture_(picture) {}
  // Calls visit(x, y, {r, g, b}, seen through).
  template <class F>
  void each(F&& visit) const {
    for (int y = 0; y < picture_.height; ++y) {
      std::array<const uint8_t*, 4> row{};
      for (int p = 0; p < picture_.format.planes(); ++p) {
        const auto& plane = picture_.plane[static_cast<size_t>(p)];
        row[static_cast<size_t>(p)] =
            reinterpret_cast<const uint8_t*>(plane.data) + y * plane.stride;
      }
      for (int x = 0; x < picture_.width; ++x) {
        visit(x, y, std::array<uint8_t, 3>{row[0][x], row[1][x], row[2][x]},
              picture_.format.alpha && row[3][x] < 128);
      }
    }
  }

 private:
  const FrameView& picture_;
};

uint32_t key_of(const std::array<uint8_t, 3>& rgb) {
  return static_cast<uint32_t>((rgb[0] >> 3) << 10 | (rgb[1] >> 3) << 5 | rgb[2] >> 3);
}

struct Extent {
  int axis = 0;
  int length = 0;
  uint64_t weight = 0;  // what cutting here is worth
};

Extent extent_of(Box box) {
  Extent extent;
  uint64_t count = 0;
  std::array<int, 3> low{31, 31, 31};
  std::array<int, 3> high{};
  for (const Bin& bin : box) {
    count += bin.count;
    for (size_t c = 0; c < 3; ++c) {
      low[c] = std::min(low[c], bin.channel(static_cast<int>(c)));
      high[c] = std::max(high[c], bin.channel(static_cast<int>(c)));
    }
  }
  for (size_t c = 0; c < 3; ++c) {
    if (high[c] - low[c] > extent.length) {
      extent = {static_cast<int>(c), high[c] - low[c], 0};
    }
  }
  extent.weight =
      count * static_cast<uint64_t>(extent.length) * static_cast<uint64_t>(extent.length);
  return extent;
}

// Both halves hold something.
size_t median(Box box, int axis) {
  std::sort(box.begin(), box.end(), [axis](const Bin& a, const Bin& b) {
    return std::pair(a.channel(axis), a.key) < std::pair(b.channel(axis), b.key);
  });
  uint64_t total = 0;
  for (const Bin& bin : box) total += bin.count;
  uint64_t below = 0;
  size_t at = 0;
  while (at + 1 < box.size() && (at == 0 || 2 * (below + box[at].count) <= total)) {
    below += box[at++].count;
  }
  return at;
}

std::vector<Box> cut(std::vector<Bin>& bins, size_t most) {
  std::vector<Box> boxes;
  if (bins.empty()) return boxes;
  std::vector<Extent> extents;
  boxes.emplace_back(bins);
  extents.push_back(extent_of(boxes.front()));
  while (boxes.size() < most) {
    const auto widest =
        std::max_element(extents.begin(), extents.end(),
                         [](const Extent& a, const Extent& b) { return a.weight < b.weight; });
    if (widest->length == 0) break;
    const auto i = static_cast<size_t>(widest - extents.begin());
    const Box box = boxes[i];
    const size_t at = median(box, widest->axis);
    boxes[i] = box.first(at);
    boxes.push_back(box.subspan(at));
    extents[i] = extent_of(boxes[i]);
    extents.push_back(extent_of(boxes.back()));
  }
  return boxes;
}

Bin together(Box box) {
  Bin all;
  for (const Bin& bin : box) {
    all.count += bin.count;
    for (size_t c = 0; c < 3; ++c) all.sum[c] += bin.sum[c];
  }
  return all;
}

uint8_t nearest(const Bin& bin, std::span<const std::array<int, 3>> colours) {
  int best = INT32_MAX;
  size_t index = 0;
  for (size_t i = 0; i < colours.size(); ++i) {
    const int r = bin.mean(0) - colours[i][0];
    const int g = bin.mean(1) - colours[i][1];
    const int b = bin.mean(2) - colours[i][2];
    const int distance = 2 * r * r + 4 * g * g + b * b;  // the eye's weights, roughly
    if (distance < best) {
      best = distance;
      index = i;
    }
  }
  return static_cast<uint8_t>(index);
}

}  // namespace

GifPalette quantise(const FrameView& picture, uint8_t* indices, ptrdiff_t stride) {
  const Pixels pixels(picture);
  std::vector<Bin> histogram(kBins);
  bool see_through = false;
  pixels.each([&](int, int, const std::array<uint8_t, 3>& rgb, bool hidden) {
    see_through = see_through || hidden;
    if (hidden) return;
    Bin& bin = histogram[key_of(rgb)];
    ++bin.count;
    for (size_t c = 0; c < 3; ++c) bin.sum[c] += rgb[c];
  });
  std::vector<Bin> bins;
  for (size_t key = 0; key < kBins; ++key) {
    if (histogram[key].count == 0) continue;
    bins.push_back(histogram[key]);
    bins.back().key = static_cast<uint32_t>(key);
  }
  GifPalette palette;
  palette.fill(0xFF000000U);
  std::vector<std::array<int, 3>> colours;
  for (const Box box : cut(bins, see_through ? 255 : 256)) {
    const Bin all = together(box);
    const std::array<int, 3> rgb{all.mean(0), all.mean(1), all.mean(2)};
    palette[colours.size()] = 0xFF000000U | static_cast<uint32_t>(rgb[0] << 16) |
                              static_cast<uint32_t>(rgb[1] << 8) | static_cast<uint32_t>(rgb[2]);
    colours.push_back(rgb);
  }
  if (see_through) palette[kSeeThrough] = 0;
  std::vector<uint8_t> index_of(kBins);
  for (const Bin& bin : bins) index_of[bin.key] = nearest(bin, colours);
  pixels.each([&](int x, int y, const std::array<uint8_t, 3>& rgb, bool hidden) {
    indices[y * stride + x] = hidden ? kSeeThrough : index_of[key_of(rgb)];
  });
  return palette;
}

}  // namespace atelier::media
