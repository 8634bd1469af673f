// SPDX-License-Identifier: Apache-2.0
#include "model/kernels/pointwise.h"

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "model/kernels/bf16.h"
#include "model/kernels/row_shares.h"

namespace atelier::model::kernels {
namespace {

constexpr int kChunk = 2048;  // floats of a row that stay in L1 from one operation to the next

#pragma GCC push_options
#pragma GCC target("avx2,fma")

// (e^2x - 1) / (e^2x - 1 + 2). With 2x = n ln 2 + r, |r| <= ln 2 / 2, e^2x - 1 is
// 2^n (e^r - 1) + (2^n - 1), where nothing cancels near zero: e^r - 1 is a Taylor polynomial
// without its constant term. Error about 2e-7 relative.
inline __m256 tanh8(__m256 x) {
  const __m256 one = _mm256_set1_ps(1);
  // The bound first: what is no number passes through. Beyond it tanh is 1 in floats.
  const __m256 limited = _mm256_min_ps(_mm256_set1_ps(10), _mm256_max_ps(_mm256_set1_ps(-10), x));
  const __m256 n = _mm256_round_ps(_mm256_mul_ps(limited, _mm256_set1_ps(2 * 1.44269504f)),
                                   _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-0.693359375f), _mm256_add_ps(limited, limited));
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);
  __m256 p = _mm256_set1_ps(1.0f / 5040);
  for (const float c : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f}) {
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(c));
  }
  p = _mm256_mul_ps(p, r);
  const __m256 power = _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
  const __m256 less_one = _mm256_fmadd_ps(power, p, _mm256_sub_ps(power, one));
  return _mm256_div_ps(less_one, _mm256_add_ps(less_one, _mm256_set1_ps(2)));
}

// The operands of one operation on one stretch of a row: eight at a time, then what is left.
struct Stretch {
  const float* in;
  float* out;
  const float* other;
  int count;
};

template <class Op>
inline __attribute__((always_inline)) void apply(const Stretch& s, Op op) {
  int i = 0;
  for (; i + kLanes <= s.count; i += kLanes) {
    const __m256 other = s.other ? _mm256_loadu_ps(s.other + i) : _mm256_setzero_ps();
    _mm256_storeu_ps(s.out + i, op(_mm256_loadu_ps(s.in + i), other));
  }
  if (i == s.count) return;
  alignas(32) int32_t on[kLanes];
  for (int l = 0; l < kLanes; l++) on[l] = i + l < s.count ? -1 : 0;
  const __m256i mask = _mm256_load_si256(reinterpret_cast<const __m256i*>(on));
  const __m256 other = s.other ? _mm256_maskload_ps(s.other + i, mask) : _mm256_setzero_ps();
  _mm256_maskstore_ps(s.out + i, mask, op(_mm256_maskload_ps(s.in + i, mask), other));
}

// `scale`, `shift`: eight lanes. `live`: lanes that hold channels.
void run_op(const PointOp& op, const Stretch& s, __m256 scale, __m256 shift, __m256 live) {
  using Kind = PointOp::Kind;
  switch (op.kind) {
    case Kind::linear: {
      const __m256 low = _mm256_set1_ps(op.low), high = _mm256_set1_ps(op.high);
      return apply(s, [=](__m256 x, __m256 other) {
        const __m256 v = _mm256_add_ps(_mm256_fmadd_ps(x, scale, shift), other);
        return _mm256_min_ps(high, _mm256_max_ps(low, v));
      });
    }
    case Kind::tanh: return apply(s, [=](__m256 x, __m256) { return tanh8(x); });
    case Kind::subtract:
      return apply(s, [=](__m256 x, __m256 other) { return _mm256_sub_ps(x, other); });
    case Kind::subtract_from:
      return apply(s, [=](__m256 x, __m256 other) { return _mm256_sub_ps(other, x); });
    case Kind::multiply:
      return apply(s, [=](__m256 x, __m256 other) { return _mm256_mul_ps(x, other); });
    // Lanes without a channel stay finite: zero, whatever was divided.
    case Kind::divide:
      return apply(
          s, [=](__m256 x, __m256 other) { return _mm256_and_ps(live, _mm256_div_ps(x, other)); });
    case Kind::divide_from:
      if (op.other < 0) {
        return apply(
            s, [=](__m256 x, __m256) { return _mm256_and_ps(live, _mm256_div_ps(shift, x)); });
      }
      return apply(
          s, [=](__m256 x, __m256 other) { return _mm256_and_ps(live, _mm256_div_ps(other, x)); });
  }
}

__m256 lanes_of(const std::vector<float>& values, int group, int block) {
  if (values.empty()) return _mm256_setzero_ps();
  const float* at = values.data() + static_cast<ptrdiff_t>(group) * block;
  return block == 1 ? _mm256_set1_ps(*at) : _mm256_loadu_ps(at);
}

struct Program {
  const std::vector<PointOp>& ops;
  const std::vector<TensorView>& others;
  const TensorView& in;
  const PointOutput& out;
  const float* scale = nullptr;  // of the statistics, for the first operation; null: its own
  const float* shift = nullptr;
};

inline __attribute__((always_inline)) __m256i quantize8(const float* from, __m256 factor,
                                                        __m256 zero) {
  const __m256 v = _mm256_fmadd_ps(_mm256_loadu_ps(from), factor, zero);
  // The bound second: what is no number becomes one.
  return _mm256_cvtps_epi32(
      _mm256_min_ps(_mm256_max_ps(v, _mm256_setzero_ps()), _mm256_set1_ps(255)));
}

// Four pixels of eight channels, whose bytes are `step` apart.
inline __attribute__((always_inline)) void store_apart(__m256i four, uint8_t* to, int64_t step) {
  const __m128i low = _mm256_castsi256_si128(four), high = _mm256_extracti128_si256(four, 1);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to), low);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to + step), _mm_unpackhi_epi64(low, low));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to + 2 * step), high);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to + 3 * step), _mm_unpackhi_epi64(high, high));
}

// Eight channels of each of two pixels, `step` bytes apart.
inline __attribute__((always_inline)) void round_two(const float* from, uint8_t* to, int64_t step) {
  const __m256i a = to_bf16(_mm256_loadu_ps(from)), b = to_bf16(_mm256_loadu_ps(from + kLanes));
  const __m256i both = _mm256_permute4x64_epi64(_mm256_packus_epi32(a, b), 0xD8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(both));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to + step), _mm256_extracti128_si256(both, 1));
}

// Groups of eight channels in bfloat16, `step` bytes from one to the next at `to`.
void round_eights(const float* from, int count, uint8_t* to, int64_t step) {
  int i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes, to += 2 * step) round_two(from + i, to, step);
  for (; i < count; i += kLanes, to += step) {
    alignas(32) float rest[2 * kLanes] = {};
    alignas(32) uint8_t made[4 * kLanes];
    const int n = std::min(kLanes, count - i);
    std::copy_n(from + i, n, rest);
    round_two(rest, made, 2 * kLanes);
    std::copy_n(made, 2 * n, to);
  }
}

// One channel of pixels that take `step` bytes.
void round_channel(const float* from, int count, uint8_t* to, int64_t step) {
  int i = 0;
  // Four pixels from this channel on end in the fifth, which must be there, too.
  for (; step == 2 * kPictureBlock && i + kLanes < count; i += kLanes) {
    const __m256i made = to_bf16(_mm256_loadu_ps(from + i));
    const __m128i halves[2] = {_mm256_castsi256_si128(made), _mm256_extracti128_si256(made, 1)};
    for (int h = 0; h < 2; h++) {
      auto* pixels = reinterpret_cast<__m256i*>(to + (i + 4 * h) * step);
      const __m256i others =
          _mm256_andnot_si256(_mm256_set1_epi64x(0xFFFF), _mm256_loadu_si256(pixels));
      _mm256_storeu_si256(pixels, _mm256_or_si256(others, _mm256_cvtepu32_epi64(halves[h])));
    }
  }
  for (; i < count; i += kLanes) {
    alignas(32) uint8_t made[2 * kLanes];
    const int n = std::min(kLanes, count - i);
    round_eights(from + i, n, made, 2 * kLanes);
    for (int l = 0; l < n; l++) std::copy_n(made + 2 * l, 2, to + (i + l) * step);
  }
}

// Groups of eight channels, `step` bytes from one to the next at `to`.
void quantize_eights(const float* from, int count, const Quantization& q, uint8_t* to,
                     int64_t step) {
  if (q.bf16) return round_eights(from, count, to, step);
  const __m256 factor = _mm256_set1_ps(1 / q.scale);
  const __m256 zero = _mm256_set1_ps(static_cast<float>(q.zero_point));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  int i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes, to += 4 * step) {
    const __m256i a = _mm256_packs_epi32(quantize8(from + i, factor, zero),
                                         quantize8(from + i + kLanes, factor, zero));
    const __m256i b = _mm256_packs_epi32(quantize8(from + i + 2 * kLanes, factor, zero),
                                         quantize8(from + i + 3 * kLanes, factor, zero));
    const __m256i packed = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(a, b), order);
    if (step == kLanes) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), packed);
    } else {
      store_apart(packed, to, step);
    }
  }
  for (; i < count; i += kLanes, to += step) {
    alignas(32) float rest[kLanes] = {};
    alignas(32) int32_t values[kLanes];
    const int n = std::min(kLanes, count - i);
    std::copy_n(from + i, n, rest);
    _mm256_store_si256(reinterpret_cast<__m256i*>(values), quantize8(rest, factor, zero));
    for (int l = 0; l < n; l++) to[l] = static_cast<uint8_t>(values[l]);
  }
}

// One channel of pixels that take `step` bytes.
void quantize_channel(const float* from, int count, const Quantization& q, uint8_t* to,
                      int64_t step) {
  const __m256 factor = _mm256_set1_ps(1 / q.scale);
  const __m256 zero = _mm256_set1_ps(static_cast<float>(q.zero_point));
  int i = 0;
  // Eight pixels from this channel on end in the ninth, which must be there, too.
  for (; step == kPictureBlock && i + kLanes < count; i += kLanes) {
    auto* pixels = reinterpret_cast<__m256i*>(to + i * step);
    const __m256i others = _mm256_andnot_si256(_mm256_set1_epi32(255), _mm256_loadu_si256(pixels));
    _mm256_storeu_si256(pixels, _mm256_or_si256(others, quantize8(from + i, factor, zero)));
  }
  for (; i < count; i += kLanes) {
    alignas(32) uint8_t made[kLanes];
    const int n = std::min(kLanes, count - i);
    quantize_eights(from + i, n, q, made, kLanes);
    for (int l = 0; l < n; l++) to[(i + l) * step] = made[l];
  }
}

void program_row(const Program& p, int group, int y) {
  const int block = p.in.block;
  const int floats = p.in.width * block;
  alignas(32) int32_t on[kLanes];
  for (int l = 0; l < kLanes; l++) on[l] = block == 1 || group * block + l < p.in.channels ? -1 : 0;
  const __m256 live = _mm256_castsi256_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(on)));
  for (int x = 0; x < floats; x += kChunk) {
    const int count = std::min(kChunk, floats - x);
    alignas(32) float made[kChunk];
    const float* from = p.in.row_at(group, y) + x;
    float* to = p.out.floats.data ? p.out.floats.row_at(group, y) + x : made;
    for (size_t i = 0; i < p.ops.size(); i++) {
      const PointOp& op = p.ops[i];
      const bool given = i == 0 && p.scale;
      const int64_t at = static_cast<int64_t>(group) * kLanes;
      const __m256 scale = given ? _mm256_loadu_ps(p.scale + at) : lanes_of(op.scale, group, block);
      const __m256 shift = given ? _mm256_loadu_ps(p.shift + at) : lanes_of(op.shift, group, block);
      const float* other =
          op.other < 0 ? nullptr : p.others[static_cast<size_t>(op.other)].row_at(group, y) + x;
      run_op(op, {from, to, other, count}, scale, shift, live);
      from = to;
    }
    const ByteView& bytes = p.out.bytes;
    if (!bytes.data) continue;
    const int64_t first = int64_t{group} * block * p.out.quantization.bytes();
    if (block == kLanes) {
      quantize_eights(from, count, p.out.quantization, bytes.at(0, y, x / kLanes) + first,
                      bytes.block);
    } else {
      quantize_row(from, count, p.out.quantization, bytes.at(0, y, x) + first, bytes.block);
    }
  }
}

#pragma GCC pop_options

// All groups of row `y`.
void program_row(const Program& p, int y) {
  for (int g = 0; g < p.in.groups(); g++) program_row(p, g, y);
  const ByteView& bytes = p.out.bytes;
  if (!bytes.data || !p.out.quantization.bf16 || p.in.block == kLanes) return;
  zero_spare_lanes(reinterpret_cast<uint16_t*>(bytes.row_at(0, y)), bytes.width, bytes.block / 2,
                   p.in.channels);
}

void run_rows(const Program& program, int threads) {
  for_rows(program.in.height, 1, threads, [&](int y) { program_row(program, y); });
}

}  // namespace

void run_program(const std::vector<PointOp>& ops, const std::vector<TensorView>& others,
                 const TensorView& in, const PointOutput& out, int threads) {
  run_rows({ops, others, in, out}, threads);
}

void run_program_row(const std::vector<PointOp>& ops, const TensorView& view, int group, int y) {
  program_row({ops, {}, view, view}, group, y);
}

void zero_spare_lanes(uint16_t* pixels, int count, int64_t lanes, int used) {
  for (int64_t lane = used; lane < lanes; lane++) {
    for (int x = 0; x < count; x++) pixels[x * lanes + lane] = 0;
  }
}

void quantize_groups(const TensorView& in, int y, const Quantization& quantization,
                     const ByteView& out) {
  for (int g = 0; g < in.groups(); g++) {
    quantize_eights(in.row_at(g, y), in.width * kLanes, quantization,
                    out.at(0, y, 0) + int64_t{g} * kLanes * quantization.bytes(), out.block);
  }
}

void quantize_row(const float* from, int count, const Quantization& quantization, uint8_t* to,
                  int64_t step) {
  if (quantization.bf16) {
    round_channel(from, count, to, step);
  } else if (step == 1) {
    quantize_eights(from, count, quantization, to, kLanes);
  } else {
    quantize_channel(from, count, quantization, to, step);
  }
}

int64_t norm_scratch(int channels, int block, int height) {
  const int64_t groups = (channels + block - 1) / block;
  return groups * kLanes * 2 + moments_floats(channels, block, height);
}

namespace {

// Statistics and program, group by group: what was read for the first is near for the second.
void normalise_groups(const Norm& norm, const Program& program, float* moments, float* scale,
                      float* shift, int threads) {
  const TensorView& in = program.in;
  for_rows(in.groups(), 1, threads, [&](int g) {
    for (int y = 0; y < in.height; y++) row_moments(in, g, y, moments);
    merge_moments(norm, in, {moments, in.height}, g, scale, shift);
    for (int y = in.height - 1; y >= 0; y--) program_row(program, g, y);
  });
}

void normalise(const Norm& norm, Program program, const MomentsView& given, float* scratch,
               int threads) {
  const TensorView& in = program.in;
  const int groups = in.groups();
  float* scale = scratch;
  float* shift = scale + static_cast<int64_t>(groups) * kLanes;
  float* own = shift + static_cast<int64_t>(groups) * kLanes;
  program.scale = scale;
  program.shift = shift;
  // Channels of a picture share the bytes that are read and written at once.
  const bool together = in.block != kLanes && program.out.bytes.data;
  if (!given.data && !together && (groups >= 4 * threads || groups % threads == 0)) {
    return normalise_groups(norm, program, own, scale, shift, threads);
  }
  const MomentsView moments = given.data ? given : MomentsView{own, in.height};
  if (!given.data) {
    for_rows(in.height, 1, threads, [&](int y) {
      for (int g = 0; g < groups; g++) row_moments(in, g, y, own);
    });
  }
  for_rows(groups, 1, threads, [&](int g) { merge_moments(norm, in, moments, g, scale, shift); });
  run_rows(program, threads);
}

}  // namespace

void run_norm(const Norm& norm, const std::vector<PointOp>& ops,
              const std::vector<TensorView>& others, const TensorView& in,
              const MomentsView& moments, float* scratch, const PointOutput& out, int threads) {
  normalise(norm, {ops, others, in, out}, moments, scratch, threads);
}

}  // namespace atelier::model::kernels
