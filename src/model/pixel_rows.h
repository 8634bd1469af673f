// SPDX-License-Identifier: Apache-2.0
// Loops over one row of samples, compiled for several instruction sets. No loop sums across
// samples and nothing is contracted to fused multiply-add, so every set gives the same bits.
// Tested by pixels_test.cc through the conversions that use them. Rows of different arguments must
// not overlap, but `mix` may read one row several times.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace atelier::model::rows {

// out = weight * (in - centre), or += with `add`.
void load(const uint8_t* in, float weight, float centre, float* out, ptrdiff_t n);
void load(const uint16_t* in, float weight, float centre, float* out, ptrdiff_t n);
void load_add(const uint8_t* in, float weight, float centre, float* out, ptrdiff_t n);
void load_add(const uint16_t* in, float weight, float centre, float* out, ptrdiff_t n);

void scale(const float* in, float weight, float* out, ptrdiff_t n);
void scale_add(const float* in, float weight, float* out, ptrdiff_t n);

// out = k[0] * a + k[1] * b + k[2] * c + k[3], inputs first clipped to lo..hi (NaN becomes lo).
struct Mix {
  std::array<float, 4> k{};
  float lo = 0;
  float hi = 0;
};
void mix(const float* a, const float* b, const float* c, const Mix& m, float* out, ptrdiff_t n);
// The same without clipping.
void mix_free(const float* a, const float* b, const float* c, const Mix& m, float* out,
              ptrdiff_t n);

// row clipped to lo..hi in place (NaN becomes lo).
void clip_to(float* row, float lo, float hi, ptrdiff_t n);

// out = in + centre rounded to nearest, clipped to 0..max (NaN becomes 0).
void store(const float* in, float centre, float max, uint8_t* out, ptrdiff_t n);
void store(const float* in, float centre, float max, uint16_t* out, ptrdiff_t n);

// The interiors of chroma.h's resamplings by two; the borders are the caller's.
// out[2k], out[2k+1] for 0 <= k < pairs, reading in[0..pairs].
void up_first(const float* in, float* out, ptrdiff_t pairs);
// out[2k+1], out[2k+2] for 0 <= k < pairs, reading in[0..pairs].
void up_centre(const float* in, float* out, ptrdiff_t pairs);
// out[k] for begin <= k < end, reading in[2k-2..2k+2] or in[2k-1..2k+2].
void down_first(const float* in, float* out, ptrdiff_t begin, ptrdiff_t end);
void down_centre(const float* in, float* out, ptrdiff_t begin, ptrdiff_t end);

}  // namespace atelier::model::rows
