// SPDX-License-Identifier: Apache-2.0
// Chroma resampling that loses nothing: interpolation U from the chroma grid to the luma grid is
// linear at the right phase, and decimation D is chosen with D * U = I, so that chroma which nobody
// changed comes back as it was. The pairs are biorthogonal wavelets' synthesis and analysis
// low-passes (Cohen, Daubechies, Feauveau 1992):
//   co-sited  U [1/2 1 1/2]        D [-1/8 2/8 6/8 2/8 -1/8]    (LeGall 5/3)
//   centred   U [1/4 3/4 3/4 1/4]  D [-1/4 3/4 3/4 -1/4]        (CDF 3/1)
// A subsampling by four is the pair applied twice. At the borders U repeats the edge chroma sample;
// D extends the luma-grid signal as U would have continued it: whole-sample symmetry for 5/3,
// half-sample for 3/1, and where the last chroma sample lies outside an odd-sized picture, the line
// through the last two samples. All weights are dyadic, hence exact in float.
#pragma once

#include <array>

#include "base/frame.h"

namespace atelier::model {

// Where a chroma sample lies among the luma samples of its group, along one axis.
enum class Phase { first, centre, last };

Phase horizontal_phase(ColorSpec::Siting siting);
Phase vertical_phase(ColorSpec::Siting siting);

// One output sample: sum of weight[i] * input[first + i], i < count.
struct Taps {
  static constexpr int kMax = 16;
  int first = 0;
  int count = 0;
  std::array<float, kMax> weight{};
};

// Luma-grid sample `index` of `fine` from the chroma samples; shift 0, 1 or 2.
Taps upsample_taps(int index, int fine, int shift, Phase phase);
// Chroma sample `index` of ceil(fine / 2^shift) from the luma-grid samples.
Taps downsample_taps(int index, int fine, int shift, Phase phase);

}  // namespace atelier::model
