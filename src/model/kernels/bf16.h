// SPDX-License-Identifier: Apache-2.0
// bfloat16: the upper half of a float, so its exponent with eight bits of precision.
//
// Rounded to nearest, to the even one half-way. What a matrix unit would not multiply as it stands
// is none of the results: numbers below the least normal one are zero, larger ones than the largest
// are that, and what is no number is zero. So nothing that is multiplied is infinite, and zero
// times anything is zero.
#pragma once

#include <immintrin.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace atelier::model::kernels {

inline constexpr float kMostBf16 = 0x1.FEp127F;

inline uint16_t to_bf16(float value) {
  const float magnitude = std::abs(value);
  if (!(magnitude >= std::numeric_limits<float>::min())) return 0;
  const float kept = magnitude < kMostBf16 ? value : std::copysign(kMostBf16, value);
  const auto bits = std::bit_cast<uint32_t>(kept);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

inline float from_bf16(uint16_t value) { return std::bit_cast<float>(uint32_t{value} << 16); }

#pragma GCC push_options
#pragma GCC target("avx2,fma")

// Eight at once, each in the lower half of its 32 bits.
inline __attribute__((always_inline)) __m256i to_bf16(__m256 value) {
  const __m256 sign = _mm256_set1_ps(-0.0F);
  const __m256 magnitude = _mm256_andnot_ps(sign, value);
  const __m256 normal =
      _mm256_cmp_ps(magnitude, _mm256_set1_ps(std::numeric_limits<float>::min()), _CMP_GE_OQ);
  const __m256 bounded =
      _mm256_or_ps(_mm256_min_ps(magnitude, _mm256_set1_ps(kMostBf16)), _mm256_and_ps(sign, value));
  const __m256i bits = _mm256_castps_si256(_mm256_and_ps(normal, bounded));
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF));
  return _mm256_srli_epi32(_mm256_add_epi32(bits, up), 16);
}

#pragma GCC pop_options

}  // namespace atelier::model::kernels
