// SPDX-License-Identifier: Apache-2.0
#include "model/kernels/moments.h"

#include <cmath>

#include "model/kernels/store_moments.h"

namespace atelier::model::kernels {
namespace {

#pragma GCC push_options
#pragma GCC target("avx2,fma")

constexpr int kSlot = 3 * kLanes;  // floats of a set

// Of a row.
void moments_of(const float* row, int vectors, float* slot) {
  __m256 sum[4] = {};
  int i = 0;
  for (; i + 4 <= vectors; i += 4)
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++)
      sum[k] = _mm256_add_ps(sum[k], _mm256_loadu_ps(row + (i + k) * kLanes));
  for (; i < vectors; i++) sum[0] = _mm256_add_ps(sum[0], _mm256_loadu_ps(row + i * kLanes));
  const __m256 total = _mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3]));
  const __m256 average = _mm256_div_ps(total, _mm256_set1_ps(static_cast<float>(vectors)));
  __m256 square[4] = {};
  for (i = 0; i + 4 <= vectors; i += 4) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
      const __m256 d = _mm256_sub_ps(_mm256_loadu_ps(row + (i + k) * kLanes), average);
      square[k] = _mm256_fmadd_ps(d, d, square[k]);
    }
  }
  for (; i < vectors; i++) {
    const __m256 d = _mm256_sub_ps(_mm256_loadu_ps(row + i * kLanes), average);
    square[0] = _mm256_fmadd_ps(d, d, square[0]);
  }
  store_moments(
      static_cast<float>(vectors), average,
      _mm256_add_ps(_mm256_add_ps(square[0], square[1]), _mm256_add_ps(square[2], square[3])),
      slot);
}

#pragma GCC pop_options

// Samples seen so far, merged with one more set.
struct Moments {
  double count = 0, mean = 0, deviation = 0;
  void merge(double n, double m, double d) {
    if (n == 0) return;
    const double delta = m - mean, total = count + n;
    deviation += d + delta * delta * count * n / total;
    mean += delta * n / total;
    count = total;
  }
};

// The moments of lane `lane` of a set, merged into `to`.
void add_lane(const float* slot, int lane, Moments& to) {
  to.merge(static_cast<double>(slot[lane]), static_cast<double>(slot[kLanes + lane]),
           static_cast<double>(slot[2 * kLanes + lane]));
}

// A plain plane: eight columns a vector, and the few that make no vector one by one.
Moments plane_moments(const TensorView& in, const float* moments, int group) {
  const int vectors = in.width / kLanes;
  Moments all;
  for (int y = 0; y < in.height; y++) {
    const float* slot = moments + moments_slot(group, y, in.height);
    for (int l = 0; l < kLanes && vectors > 0; l++) add_lane(slot, l, all);
    for (int x = vectors * kLanes; x < in.width; x++)
      all.merge(1, static_cast<double>(in.row_at(group, y)[x]), 0);
  }
  return all;
}

}  // namespace

int64_t moments_slot(int group, int set, int sets) {
  return (static_cast<int64_t>(group) * sets + set) * kSlot;
}

int64_t moments_floats(int channels, int block, int sets) {
  return static_cast<int64_t>((channels + block - 1) / block) * sets * kSlot;
}

void row_moments(const TensorView& in, int group, int y, float* moments) {
  moments_of(in.row_at(group, y), in.width * in.block / kLanes,
             moments + moments_slot(group, y, in.height));
}

void merge_moments(const Norm& norm, const TensorView& in, const MomentsView& moments, int group,
                   float* scale, float* shift) {
  Moments lanes[kLanes];
  if (in.block == kLanes) {
    for (int set = 0; set < moments.sets; set++) {
      const float* slot = moments.data + moments_slot(group, set, moments.sets);
      for (int l = 0; l < kLanes; l++) add_lane(slot, l, lanes[l]);
    }
  } else {
    lanes[0] = plane_moments(in, moments.data, group);
  }
  for (int l = 0; l < kLanes; l++) {
    const Moments& m = lanes[in.block == 1 ? 0 : l];
    const int channel = group * in.block + (in.block == 1 ? 0 : l);
    const int64_t at = static_cast<int64_t>(group) * kLanes + l;
    scale[at] = shift[at] = 0;
    if (channel >= in.channels) continue;
    const size_t c = static_cast<size_t>(channel);
    const double deviation = std::sqrt(m.deviation / m.count + static_cast<double>(norm.epsilon));
    const double factor = static_cast<double>(norm.gamma[c]) / deviation;
    scale[at] = static_cast<float>(factor);
    shift[at] = static_cast<float>(static_cast<double>(norm.beta[c]) - m.mean * factor);
  }
}

}  // namespace atelier::model::kernels
