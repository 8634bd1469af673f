// SPDX-License-Identifier: Apache-2.0
#include "model/kernels/shuffle.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <type_traits>

#include "model/kernels/row_shares.h"

namespace atelier::model::kernels {
namespace {

// `size`: the block, where it is known when this is compiled, a constant.
template <class Element, class Block>
void gather_row(const Element* in, std::span<const int> source, Element value, Element* out,
                Block size) {
  size_t x = 0;
  while (x < source.size()) {
    // Stretches of neighbours are most of a picture.
    size_t end = x + 1;
    if (source[x] < 0) {
      std::fill_n(out + x * size, static_cast<size_t>(size), value);
    } else {
      while (end < source.size() && source[end] == source[end - 1] + 1) end++;
      std::memcpy(out + x * size, in + static_cast<size_t>(source[x]) * size,
                  (end - x) * size * sizeof(Element));
    }
    x = end;
  }
}

template <class Element>
void gather_row(const BasicView<Element>& in, int group, int y, std::span<const int> source,
                Element value, Element* out) {
  if (y < 0) {
    std::fill_n(out, source.size() * static_cast<size_t>(in.block), value);
  } else if (in.block == 1) {
    gather_row(in.row_at(group, y), source, value, out, std::integral_constant<size_t, 1>());
  } else if (in.block == kLanes) {
    gather_row(in.row_at(group, y), source, value, out, std::integral_constant<size_t, kLanes>());
  } else if (in.block == kPictureBlock) {
    gather_row(in.row_at(group, y), source, value, out,
               std::integral_constant<size_t, kPictureBlock>());
  } else {
    gather_row(in.row_at(group, y), source, value, out, static_cast<size_t>(in.block));
  }
}

template <class Element>
void gather_all(const BasicView<Element>& in, const std::vector<int>& source_y,
                const std::vector<int>& source_x, Element value, const BasicView<Element>& out,
                int threads) {
  for_rows(out.height, 1, threads, [&](int y) {
    const int from = source_y[static_cast<size_t>(y)];
    for (int g = 0; g < out.groups(); g++) {
      gather_row<Element>(in, g, from, source_x, value, out.row_at(g, y));
    }
  });
}

template <class Element>
void gather_border(const BasicView<Element>& in, int top, int left,
                   const std::vector<int>& source_y, const std::vector<int>& source_x,
                   Element value, const BasicView<Element>& out, int threads) {
  const std::span<const int> whole(source_x);
  const std::span<const int> before = whole.first(static_cast<size_t>(left));
  const std::span<const int> after = whole.subspan(static_cast<size_t>(left + in.width));
  for_rows(out.height, 1, threads, [&](int y) {
    const int from = source_y[static_cast<size_t>(y)];
    for (int g = 0; g < out.groups(); g++) {
      if (y < top || y >= top + in.height) {
        gather_row<Element>(in, g, from, whole, value, out.row_at(g, y));
        continue;
      }
      gather_row<Element>(in, g, from, before, value, out.row_at(g, y));
      gather_row<Element>(in, g, from, after, value, out.at(g, y, left + in.width));
    }
  });
}

float* element(const TensorView& view, int channel, int y) {
  return view.row_at(channel / view.block, y) + channel % view.block;
}

// Lanes without a channel must be finite.
void zero_spare_lanes(const TensorView& out, int y) {
  for (int c = out.channels; c % out.block != 0; c++) {
    float* to = element(out, c, y);
    for (int x = 0; x < out.width; x++) to[x * out.block] = 0;
  }
}

}  // namespace

void gather(const TensorView& in, const std::vector<int>& source_y,
            const std::vector<int>& source_x, float value, const TensorView& out, int threads) {
  gather_all(in, source_y, source_x, value, out, threads);
}

void gather(const ByteView& in, const std::vector<int>& source_y, const std::vector<int>& source_x,
            uint8_t value, const ByteView& out, int threads) {
  gather_all(in, source_y, source_x, value, out, threads);
}

void gather_around(const TensorView& in, int top, int left, const std::vector<int>& source_y,
                   const std::vector<int>& source_x, float value, const TensorView& out,
                   int threads) {
  gather_border(in, top, left, source_y, source_x, value, out, threads);
}

void gather_around(const ByteView& in, int top, int left, const std::vector<int>& source_y,
                   const std::vector<int>& source_x, uint8_t value, const ByteView& out,
                   int threads) {
  gather_border(in, top, left, source_y, source_x, value, out, threads);
}

std::vector<int> pad_axis(int size, int before, int after, PadMode mode) {
  std::vector<int> source;
  for (int i = -before; i < size + after; i++) {
    int at = i;
    if (i < 0 || i >= size) {
      if (mode == PadMode::constant) at = -1;
      if (mode == PadMode::edge) at = std::clamp(i, 0, size - 1);
      if (mode == PadMode::reflect) at = i < 0 ? -i : 2 * (size - 1) - i;
    }
    source.push_back(at);
  }
  return source;
}

std::vector<int> slice_axis(int start, int step, int count) {
  std::vector<int> source;
  for (int i = 0; i < count; i++) source.push_back(start + i * step);
  return source;
}

std::vector<int> enlarge_axis(int size, int factor) {
  std::vector<int> source;
  for (int i = 0; i < size * factor; i++) source.push_back(i / factor);
  return source;
}

namespace {

// The phases of one row of one channel: channels of the input from `channel` on, `step` apart, from
// (y, x) on.
struct Phases {
  int channel, step, factor;
  int y, x;
};

void join_phases(const TensorView& in, const Phases& p, float* to, int64_t to_step, int width) {
  // The usual case: a pixel's two phases are neighbours on both sides.
  const bool pairs = p.factor == 2 && p.step == 1 && in.block == kLanes && to_step == 1;
  if (pairs && p.channel % 2 == 0) {
    const float* from = element(in, p.channel, p.y) + p.x * kLanes;
    for (int x = 0; x < width / 2; x++) std::memcpy(to + 2 * x, from + x * kLanes, 2 * sizeof *to);
    if (width % 2 != 0) to[width - 1] = from[width / 2 * kLanes];
    return;
  }
  for (int phase = 0; phase < p.factor; phase++) {
    const float* from = element(in, p.channel + phase * p.step, p.y) + p.x * in.block;
    for (int x = phase; x < width; x += p.factor) to[x * to_step] = from[x / p.factor * in.block];
  }
}

}  // namespace

void depth_to_space(const TensorView& in, const DepthToSpace& how, const std::vector<PointOp>& ops,
                    const TensorView& out, int threads) {
  const int channels = out.channels, factor = how.factor;
  for_rows(out.height, 1, threads, [&](int y) {
    const int row = y + how.top, sub = row % factor * factor;
    for (int c = 0; c < channels; c++) {
      const Phases phases{how.crd ? c * factor * factor + sub : sub * channels + c,
                          how.crd ? 1 : channels, factor, row / factor, how.left / factor};
      join_phases(in, phases, element(out, c, y), out.block, out.width);
    }
    zero_spare_lanes(out, y);
    for (int g = 0; g < out.groups() && !ops.empty(); g++) run_program_row(ops, out, g, y);
  });
}

void take_channels(const TensorView& in, int first, int step, const TensorView& out, int threads) {
  for_rows(out.height, 1, threads, [&](int y) {
    for (int c = 0; c < out.channels; c++) {
      const float* from = element(in, first + c * step, y);
      float* to = element(out, c, y);
      for (int x = 0; x < out.width; x++) to[x * out.block] = from[x * in.block];
    }
    zero_spare_lanes(out, y);
  });
}

namespace {

template <class Element>
void fill_around(const BasicView<Element>& view, const Halo& halo, Element value) {
  const int64_t block = view.block;
  const int64_t whole = (halo.left + view.width + halo.right) * block;
  for (int g = 0; g < view.groups(); g++) {
    for (int y = -halo.top; y < view.height + halo.bottom; y++) {
      Element* row = view.row_at(g, y);
      if (y < 0 || y >= view.height) {
        std::fill_n(row - halo.left * block, whole, value);
      } else {
        std::fill_n(row - halo.left * block, halo.left * block, value);
        std::fill_n(row + view.width * block, halo.right * block, value);
      }
    }
  }
}

}  // namespace

void zero_halo(const TensorView& view, const Halo& halo) { fill_around(view, halo, 0.0f); }

void fill_halo(const ByteView& view, const Halo& halo, uint8_t value) {
  fill_around(view, halo, value);
}

}  // namespace atelier::model::kernels
