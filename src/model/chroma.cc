// SPDX-License-Identifier: Apache-2.0
#include "model/chroma.h"

#include <algorithm>

namespace atelier::model {
namespace {

using Siting = ColorSpec::Siting;

// Adds taps that may come in any order; the window is the smallest that holds them all.
class TapSum {
 public:
  void add(int index, float weight) {
    if (count_ == 0) first_ = index;
    if (index < first_) shift_window(first_ - index);
    count_ = std::max(count_, index - first_ + 1);
    weight_[static_cast<size_t>(index - first_)] += weight;
  }
  Taps taps() const {
    Taps result;
    int begin = 0;
    int end = count_;
    while (begin < end - 1 && weight_[static_cast<size_t>(begin)] == 0) ++begin;
    while (end > begin + 1 && weight_[static_cast<size_t>(end - 1)] == 0) --end;
    result.first = first_ + begin;
    result.count = end - begin;
    std::copy(weight_.begin() + begin, weight_.begin() + end, result.weight.begin());
    return result;
  }

 private:
  void shift_window(int by) {
    for (int i = count_ - 1; i >= 0; --i) {
      weight_[static_cast<size_t>(i + by)] = weight_[static_cast<size_t>(i)];
    }
    std::fill_n(weight_.begin(), by, 0.0F);
    first_ -= by;
    count_ += by;
  }
  int first_ = 0;
  int count_ = 0;
  std::array<float, 2 * Taps::kMax> weight_{};
};

int half(int n) { return (n + 1) / 2; }

// Whole-sample symmetry: ... 2 1 0 1 2 ... n-2 n-1 n-2 ...
int reflect_whole(int i, int n) {
  if (n == 1) return 0;
  const int period = 2 * (n - 1);
  i = ((i % period) + period) % period;
  return i < n ? i : period - i;
}

// Half-sample symmetry: ... 1 0 0 1 ... n-1 n-1 n-2 ...
int reflect_half(int i, int n) {
  const int period = 2 * n;
  i = ((i % period) + period) % period;
  return i < n ? i : period - 1 - i;
}

Taps up_one(int index, int fine, Phase phase) {
  const int last = half(fine) - 1;
  const int own = index / 2;
  const bool odd = (index & 1) != 0;
  const int neighbour = phase == Phase::centre  ? (odd ? own + 1 : own - 1)
                        : phase == Phase::first ? (odd ? own + 1 : own)
                                                : (odd ? own : own - 1);
  const float share = neighbour == own ? 0.0F : phase == Phase::centre ? 0.25F : 0.5F;
  TapSum sum;
  sum.add(own, 1 - share);
  sum.add(std::clamp(neighbour, 0, last), share);
  return sum.taps();
}

Taps down_one(int index, int fine, Phase phase) {
  TapSum sum;
  if (phase == Phase::first) {
    constexpr std::array<float, 5> kLow{-0.125F, 0.25F, 0.75F, 0.25F, -0.125F};
    for (int i = 0; i < 5; ++i) {
      sum.add(reflect_whole(2 * index - 2 + i, fine), kLow[static_cast<size_t>(i)]);
    }
    return sum.taps();
  }
  // An odd size lacks the last group's second sample: it is put where the line through the last two
  // samples says, which is what U would have given there or its chroma sample itself.
  const bool lacking = (fine & 1) != 0;
  const int whole = fine + (lacking ? 1 : 0);
  const auto add = [&](int i, float weight) {
    if (!lacking || i < fine) return sum.add(i, weight);
    const float slope = phase == Phase::last ? 1.0F : 0.5F;
    sum.add(fine - 1, weight * (1 + slope));
    sum.add(std::max(fine - 2, 0), -weight * slope);
  };
  if (phase == Phase::centre) {
    constexpr std::array<float, 4> kLow{-0.25F, 0.75F, 0.75F, -0.25F};
    for (int i = 0; i < 4; ++i) {
      add(reflect_half(2 * index - 1 + i, whole), kLow[static_cast<size_t>(i)]);
    }
  } else {
    constexpr std::array<float, 5> kLow{-0.125F, 0.25F, 0.75F, 0.25F, -0.125F};
    for (int i = 0; i < 5; ++i) {
      add(reflect_whole(2 * index - 1 + i, whole), kLow[static_cast<size_t>(i)]);
    }
  }
  return sum.taps();
}

template <class One>
Taps compose(const Taps& outer, One&& inner) {
  TapSum sum;
  for (int i = 0; i < outer.count; ++i) {
    const Taps taps = inner(outer.first + i);
    for (int j = 0; j < taps.count; ++j) {
      sum.add(taps.first + j,
              outer.weight[static_cast<size_t>(i)] * taps.weight[static_cast<size_t>(j)]);
    }
  }
  return sum.taps();
}

Taps identity(int index) {
  Taps taps;
  taps.first = index;
  taps.count = 1;
  taps.weight[0] = 1;
  return taps;
}

}  // namespace

Phase horizontal_phase(Siting siting) {
  const bool centred =
      siting == Siting::center || siting == Siting::top || siting == Siting::bottom;
  return centred ? Phase::centre : Phase::first;
}

Phase vertical_phase(Siting siting) {
  if (siting == Siting::top_left || siting == Siting::top) return Phase::first;
  if (siting == Siting::bottom_left || siting == Siting::bottom) return Phase::last;
  return Phase::centre;
}

Taps upsample_taps(int index, int fine, int shift, Phase phase) {
  if (shift == 0) return identity(index);
  const Taps outer = up_one(index, fine, phase);
  if (shift == 1) return outer;
  return compose(outer, [&](int i) { return up_one(i, half(fine), phase); });
}

Taps downsample_taps(int index, int fine, int shift, Phase phase) {
  if (shift == 0) return identity(index);
  if (shift == 1) return down_one(index, fine, phase);
  return compose(down_one(index, half(fine), phase),
                 [&](int i) { return down_one(i, fine, phase); });
}

}  // namespace atelier::model
