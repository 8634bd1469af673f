// SPDX-License-Identifier: Apache-2.0
#include "model/pixel_rows.h"

// One body, several instruction sets, chosen when the program is loaded. Not under the sanitizers,
// whose run time is not ready yet when the choice is made.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define ATELIER_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define ATELIER_CLONES
#endif
#define ATELIER_INLINE static inline __attribute__((always_inline))

namespace atelier::model::rows {
namespace {

template <class T>
ATELIER_INLINE void load_row(const T* __restrict in, float weight, float centre,
                             float* __restrict out, ptrdiff_t n) {
  for (ptrdiff_t i = 0; i < n; ++i) {
    out[i] = weight * (static_cast<float>(static_cast<int>(in[i])) - centre);
  }
}

template <class T>
ATELIER_INLINE void load_add_row(const T* __restrict in, float weight, float centre,
                                 float* __restrict out, ptrdiff_t n) {
  for (ptrdiff_t i = 0; i < n; ++i) {
    out[i] += weight * (static_cast<float>(static_cast<int>(in[i])) - centre);
  }
}

// Both comparisons are false for NaN, so the bound is taken: never converts what int cannot hold.
ATELIER_INLINE float clip(float v, float lo, float hi) {
  v = v > lo ? v : lo;
  return v < hi ? v : hi;
}

template <class T>
ATELIER_INLINE void store_row(const float* __restrict in, float centre, float max,
                              T* __restrict out, ptrdiff_t n) {
  for (ptrdiff_t i = 0; i < n; ++i) {
    out[i] = static_cast<T>(static_cast<int>(clip(in[i] + centre, 0.0F, max) + 0.5F));
  }
}

}  // namespace

ATELIER_CLONES void load(const uint8_t* in, float weight, float centre, float* out, ptrdiff_t n) {
  load_row(in, weight, centre, out, n);
}

ATELIER_CLONES void load(const uint16_t* in, float weight, float centre, float* out, ptrdiff_t n) {
  load_row(in, weight, centre, out, n);
}

ATELIER_CLONES void load_add(const uint8_t* in, float weight, float centre, float* out,
                             ptrdiff_t n) {
  load_add_row(in, weight, centre, out, n);
}

ATELIER_CLONES void load_add(const uint16_t* in, float weight, float centre, float* out,
                             ptrdiff_t n) {
  load_add_row(in, weight, centre, out, n);
}

ATELIER_CLONES void scale(const float* __restrict in, float weight, float* __restrict out,
                          ptrdiff_t n) {
  for (ptrdiff_t i = 0; i < n; ++i) out[i] = weight * in[i];
}

ATELIER_CLONES void scale_add(const float* __restrict in, float weight, float* __restrict out,
                              ptrdiff_t n) {
  for (ptrdiff_t i = 0; i < n; ++i) out[i] += weight * in[i];
}

ATELIER_CLONES void mix(const float* a, const float* b, const float* c, const Mix& m,
                        float* __restrict out, ptrdiff_t n) {
  const float k0 = m.k[0], k1 = m.k[1], k2 = m.k[2], k3 = m.k[3], lo = m.lo, hi = m.hi;
  for (ptrdiff_t i = 0; i < n; ++i) {
    out[i] = k0 * clip(a[i], lo, hi) + k1 * clip(b[i], lo, hi) + (k2 * clip(c[i], lo, hi) + k3);
  }
}

ATELIER_CLONES void mix_free(const float* a, const float* b, const float* c, const Mix& m,
                             float* __restrict out, ptrdiff_t n) {
  const float k0 = m.k[0], k1 = m.k[1], k2 = m.k[2], k3 = m.k[3];
  for (ptrdiff_t i = 0; i < n; ++i) out[i] = k0 * a[i] + k3 + (k1 * b[i] + k2 * c[i]);
}

ATELIER_CLONES void clip_to(float* row, float lo, float hi, ptrdiff_t n) {
  for (ptrdiff_t i = 0; i < n; ++i) row[i] = clip(row[i], lo, hi);
}

ATELIER_CLONES void store(const float* in, float centre, float max, uint8_t* out, ptrdiff_t n) {
  store_row(in, centre, max, out, n);
}

ATELIER_CLONES void store(const float* in, float centre, float max, uint16_t* out, ptrdiff_t n) {
  store_row(in, centre, max, out, n);
}

ATELIER_CLONES void up_first(const float* __restrict in, float* __restrict out, ptrdiff_t pairs) {
  for (ptrdiff_t k = 0; k < pairs; ++k) {
    out[2 * k] = in[k];
    out[2 * k + 1] = 0.5F * (in[k] + in[k + 1]);
  }
}

ATELIER_CLONES void up_centre(const float* __restrict in, float* __restrict out, ptrdiff_t pairs) {
  for (ptrdiff_t k = 0; k < pairs; ++k) {
    out[2 * k + 1] = 0.75F * in[k] + 0.25F * in[k + 1];
    out[2 * k + 2] = 0.25F * in[k] + 0.75F * in[k + 1];
  }
}

ATELIER_CLONES void down_first(const float* __restrict in, float* __restrict out, ptrdiff_t begin,
                               ptrdiff_t end) {
  for (ptrdiff_t k = begin; k < end; ++k) {
    const float* f = in + 2 * k;
    out[k] = 0.75F * f[0] + 0.25F * (f[-1] + f[1]) - 0.125F * (f[-2] + f[2]);
  }
}

ATELIER_CLONES void down_centre(const float* __restrict in, float* __restrict out, ptrdiff_t begin,
                                ptrdiff_t end) {
  for (ptrdiff_t k = begin; k < end; ++k) {
    const float* f = in + 2 * k;
    out[k] = 0.75F * (f[0] + f[1]) - 0.25F * (f[-1] + f[2]);
  }
}

}  // namespace atelier::model::rows
