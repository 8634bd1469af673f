// SPDX-License-Identifier: Apache-2.0
#include "model/kernels/conv.h"

#include <immintrin.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "model/kernels/bf16.h"
#include "model/kernels/moments.h"
#include "model/kernels/pointwise.h"
#include "model/kernels/row_shares.h"

namespace atelier::model::kernels {
namespace {

// A picture's rows are worked in pieces of so many pixels, whose lanes fit L1, and the pieces of a
// band of rows one below the other, so that the rows a kernel spans are still in L2 (a 9x9 kernel
// over 32 channels of 512 columns would read 600 KiB for each row).
constexpr int kColumns = 240;
constexpr int kBand = 16;

int round_up(int value, int unit) { return (value + unit - 1) / unit * unit; }

// Taps of one axis that reach output `phase`: the offset of their input, ascending. Taps of an
// enlarged picture may share one.
struct Tap {
  int offset;
  std::vector<int> indices;
};

int floor_divide(int a, int b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

std::vector<Tap> taps_of(const ConvShape& s, bool vertical, int pad, int phase) {
  const int kernel = vertical ? s.kernel_h : s.kernel_w;
  const int stride = vertical ? s.stride_h : s.stride_w;
  const int dilation = vertical ? s.dilation_h : s.dilation_w;
  std::map<int, std::vector<int>> taps;
  for (int k = 0; k < kernel; k++) {
    if (!s.transposed) {
      taps[floor_divide(phase + k * dilation - pad, s.enlarge)].push_back(k);
    } else if ((phase + pad - k * dilation) % stride == 0) {
      taps[(phase + pad - k * dilation) / stride].push_back(k);
    }
  }
  std::vector<Tap> result;
  for (auto& [offset, indices] : taps) result.push_back({offset, std::move(indices)});
  return result;
}

float weight_at(const ConvShape& s, const float* weights, int out, int in, int y, int x) {
  if (out >= s.out_channels || in >= s.in_channels) return 0;
  const int64_t pair = s.transposed ? static_cast<int64_t>(in) * s.out_channels + out
                                    : static_cast<int64_t>(out) * s.in_channels + in;
  return weights[(pair * s.kernel_h + y) * s.kernel_w + x];
}

// Unfolded: the lane says the tap along x and the channel.
float lane_weight(const DirectWeights& d, const float* weights, int lane, int in, int y) {
  const int kx = lane / d.shape.out_channels;
  if (kx >= d.shape.kernel_w) return 0;
  return weight_at(d.shape, weights, lane % d.shape.out_channels, in, y, kx);
}

// Taps whose inputs are neighbours are one segment.
Phase pack_phase(const DirectWeights& d, const float* weights, int out_y, int out_x) {
  const ConvShape& s = d.shape;
  Phase phase;
  phase.out_y = out_y;
  phase.out_x = out_x;
  const auto rows = taps_of(s, true, d.pad_top, out_y);
  auto columns = taps_of(s, false, d.pad_left, out_x);
  if (d.unfold) columns = {{-d.pad_left, {0}}};  // the lane says which tap
  const int run = columns.size() > 1 && columns[1].offset == columns[0].offset + 1
                      ? static_cast<int>(columns.size())
                      : 1;
  phase.length = run * d.in_block;
  struct Source {
    const Tap* row;
    size_t column;
  };
  std::vector<Source> sources;
  const int groups = (s.in_channels + d.in_block - 1) / d.in_block;
  for (int g = 0; g < groups; g++) {
    for (const Tap& row : rows) {
      for (size_t c = 0; c < columns.size(); c += static_cast<size_t>(run)) {
        phase.segments.push_back({g, row.offset, columns[c].offset});
        sources.push_back({&row, c});
      }
    }
  }
  for (int panel = 0; panel < d.lanes; panel += 16) {
    const int wide = std::min(16, d.lanes - panel);
    for (size_t i = 0; i < sources.size(); i++) {
      for (int l = 0; l < phase.length; l++) {
        const int in = phase.segments[i].group * d.in_block + l % d.in_block;
        const Tap& column = columns[sources[i].column + static_cast<size_t>(l / d.in_block)];
        for (int o = 0; o < wide; o++) {
          const int lane = panel + o;
          float sum = 0;
          for (const int ky : sources[i].row->indices) {
            for (const int kx : column.indices) {
              sum += d.unfold ? lane_weight(d, weights, lane, in, ky)
                              : weight_at(s, weights, lane, in, ky, kx);
            }
          }
          phase.packed.push_back(sum);
        }
      }
    }
  }
  return phase;
}

// One phase, as the threads see it. `Args` says in which precision.
template <class Args>
struct PhaseJob {
  Isa isa;
  const BasicView<typename Args::Input>& in;
  const DirectWeights& weights;  // the layout, and the weights in floats
  const Phase& phase;
  const NarrowPhase* narrow;     // null: in floats
  std::vector<int64_t> offsets;  // of the segments, in the input
  const ConvEpilogue& epilogue;
  const TensorView& out;
};

// What all rows of a phase have in common.
GemmArgs start_args(const PhaseJob<GemmArgs>& job) {
  GemmArgs args;
  args.length = job.phase.length;
  args.w = job.phase.packed.data();
  return args;
}

template <class Args>
Args start_args(const PhaseJob<Args>& job) {
  Args args;
  args.length = job.narrow->length;
  args.w = job.narrow->packed.data();
  return args;
}

// Elements of the view of the input that a number takes.
template <class Args>
constexpr int kStep = std::is_same_v<Args, Bf16GemmArgs> ? 2 : 1;

template <class Args>
Args phase_args(const PhaseJob<Args>& job) {
  Args args = start_args(job);
  args.offsets = job.offsets.data();
  args.segments = static_cast<int>(job.phase.segments.size());
  args.a_stride = static_cast<int64_t>(job.weights.in_step_x) * job.weights.in_block * kStep<Args>;
  return args;
}

// Those lanes' own; `bias` is the layer's, for output channels.
void set_lane(const PhaseJob<GemmArgs>& job, int lane, bool bias, GemmArgs& args) {
  const std::vector<float>& values = job.weights.bias;
  args.epilogue.bias = !bias || values.empty() ? nullptr : &values[static_cast<size_t>(lane)];
}

void set_lane(const PhaseJob<Int8GemmArgs>& job, int lane, bool, Int8GemmArgs& args) {
  args.scale = &job.narrow->scale[static_cast<size_t>(lane)];
  args.epilogue.bias = &job.narrow->shift[static_cast<size_t>(lane)];
}

void set_lane(const PhaseJob<Bf16GemmArgs>& job, int lane, bool, Bf16GemmArgs& args) {
  args.epilogue.bias = &job.narrow->shift[static_cast<size_t>(lane)];
}

int blocks_of_call(const PhaseJob<GemmArgs>& job, int lanes) {
  return blocks_at_once(job.isa, lanes);
}

int blocks_of_call(const PhaseJob<Int8GemmArgs>& job, int lanes) {
  return int8_blocks_at_once(job.isa, lanes);
}

int blocks_of_call(const PhaseJob<Bf16GemmArgs>&, int lanes) { return std::min(2, lanes / kLanes); }

// Row `y` of the phase, into its row of `out`.
template <class Args>
void blocked_row(const PhaseJob<Args>& job, int y, const TensorView& out) {
  const DirectWeights& d = job.weights;
  const Phase& phase = job.phase;
  const int row = phase.out_y + y * d.out_step_y;
  const int pixels = (out.width - phase.out_x + d.out_step_x - 1) / d.out_step_x;
  Args args = phase_args(job);
  args.a = job.in.row_at(0, y * d.in_step_y);
  args.c_stride = static_cast<int64_t>(d.out_step_x) * kLanes;
  args.c_block = out.plane;
  args.add_block = job.epilogue.add ? job.epilogue.add->plane : 0;
  args.epilogue.low = job.epilogue.low;
  args.epilogue.high = job.epilogue.high;
  int blocks = 0;
  for (int lane = 0; lane < d.lanes; lane += blocks * kLanes) {
    blocks = blocks_of_call(job, d.lanes - lane);
    args.c = out.at(lane / kLanes, row, phase.out_x);
    if (job.epilogue.add) args.epilogue.add = job.epilogue.add->at(lane / kLanes, row, phase.out_x);
    set_lane(job, lane, true, args);
    gemm_row(job.isa, args, pixels, blocks);
    args.w += static_cast<int64_t>(args.segments) * args.length * kLanes * blocks;
  }
}

#pragma GCC push_options
#pragma GCC target("avx2,fma")

// Adds the taps of each pixel from the lanes of its neighbours and takes the channels apart.
template <class Args>
void fold(const PhaseJob<Args>& job, const float* lanes, int row, int first, int pixels) {
  const DirectWeights& d = job.weights;
  const Phase& phase = job.phase;
  const int channels = d.shape.out_channels;
  const int taps = d.unfold ? d.shape.kernel_w : 1;
  const int64_t step = static_cast<int64_t>(d.unfold ? d.shape.dilation_w : 0) * d.lanes + channels;
  const __m256 bias = d.bias.empty() ? _mm256_setzero_ps() : _mm256_loadu_ps(d.bias.data());
  const __m256 low = _mm256_set1_ps(job.epilogue.low), high = _mm256_set1_ps(job.epilogue.high);
  float* to[kLanes];
  for (int c = 0; c < channels; c++) to[c] = job.out.at(c, row, phase.out_x + first * d.out_step_x);
  alignas(32) float pixel[kLanes];
  for (int x = 0; x < pixels; x++) {
    const float* from = lanes + static_cast<int64_t>(x) * d.lanes;
    __m256 even = bias, odd = _mm256_setzero_ps();
    int k = 0;
    for (; k + 2 <= taps; k += 2, from += 2 * step) {
      even = _mm256_add_ps(even, _mm256_loadu_ps(from));
      odd = _mm256_add_ps(odd, _mm256_loadu_ps(from + step));
    }
    if (k < taps) even = _mm256_add_ps(even, _mm256_loadu_ps(from));
    const __m256 sum = _mm256_add_ps(even, odd);
    _mm256_store_ps(pixel, _mm256_min_ps(high, _mm256_max_ps(low, sum)));
    for (int c = 0; c < channels; c++) to[c][static_cast<int64_t>(x) * d.out_step_x] = pixel[c];
  }
}

#pragma GCC pop_options

// Output pixels x to x + count of one row.
template <class Args>
void picture_piece(const PhaseJob<Args>& job, int y, int x, int count, float* scratch) {
  const DirectWeights& d = job.weights;
  const int extra = d.unfold ? (d.shape.kernel_w - 1) * d.shape.dilation_w : 0;
  Args args = phase_args(job);
  args.c_stride = d.lanes;
  args.c_block = kLanes;
  args.a = job.in.row_at(0, y * d.in_step_y) + x * args.a_stride;
  int blocks = 0;
  for (int lane = 0; lane < d.lanes; lane += blocks * kLanes) {
    blocks = blocks_of_call(job, d.lanes - lane);
    args.c = scratch + lane;
    set_lane(job, lane, false, args);
    gemm_row(job.isa, args, count + extra, blocks);
    args.w += static_cast<int64_t>(args.segments) * args.length * kLanes * blocks;
  }
  fold(job, scratch, job.phase.out_y + y * d.out_step_y, x, count);
}

template <class Args>
void picture_phase(const PhaseJob<Args>& job, int rows, float* scratch, int threads) {
  const int64_t each = direct_scratch(job.weights, 0);
  const int step = job.weights.out_step_x;
  const int pixels = (job.out.width - job.phase.out_x + step - 1) / step;
  const int pieces = (pixels + kColumns - 1) / kColumns;
  const int wide = (pixels + pieces - 1) / pieces;
  const int bands = (rows + kBand - 1) / kBand;
  RowShares shares(bands * pieces, 1, threads);
#pragma omp parallel num_threads(threads)
  {
    const TileScope tiles(job.narrow ? job.isa : Isa::avx2, kStep<Args> == 2);
    float* mine = scratch + each * omp_get_thread_num();
    shares.run([&](int i) {
      const int first = i / pieces * kBand, x = i % pieces * wide;
      for (int y = first; y < std::min(first + kBand, rows); y++) {
        picture_piece(job, y, x, std::min(wide, pixels - x), mine);
      }
    });
  }
}

// Where rows are made: in the output, or, if that is nowhere in floats, in a thread's scratch, of
// which each has as many rows as are made at a time.
class RowTarget {
 public:
  RowTarget(const TensorView& out, const DirectWeights& weights, float* scratch) : out_(out) {
    if (out.data) return;
    out_.row = 0;  // whichever row is meant
    out_.plane = int64_t{out.width} * kLanes;
    rows_ = scratch + direct_scratch(weights, out.width) * omp_get_thread_num();
  }
  // A view of which row `r` of those made at a time is there.
  TensorView row(int r) const {
    TensorView view = out_;
    if (rows_) view.data = rows_ + r * out_.plane * out_.groups();
    return view;
  }

 private:
  TensorView out_;
  float* rows_ = nullptr;
};

// A row of each phase makes neighbouring rows of the output, whole ones: their moments are taken,
// and they are made bytes, before they leave the cache.
template <class Args>
void blocked_phases(const std::vector<PhaseJob<Args>>& jobs, const DirectWeights& weights,
                    const TensorView& out, const ConvEpilogue& epilogue, float* scratch,
                    int threads) {
  const int step = weights.out_step_y;
  const int rows = (out.height + step - 1) / step;
  RowShares shares(rows, 2, threads);
#pragma omp parallel num_threads(threads)
  {
    const PhaseJob<Args>& any = jobs.front();
    const TileScope tiles(any.narrow ? any.isa : Isa::avx2, kStep<Args> == 2);
    const RowTarget target(out, weights, scratch);
    shares.run([&](int y) {
      for (const PhaseJob<Args>& job : jobs) {
        if (job.phase.out_y + y * step < out.height) {
          blocked_row(job, y, target.row(job.phase.out_y));
        }
      }
      for (int r = 0; r < std::min(step, out.height - y * step); r++) {
        const TensorView made = target.row(r);
        const int row = y * step + r;
        for (int g = 0; epilogue.moments && g < out.groups(); g++) {
          row_moments(made, g, row, epilogue.moments);
        }
        if (epilogue.bytes) quantize_groups(made, row, epilogue.quantization, *epilogue.bytes);
      }
    });
  }
}

template <class Args>
void run_phases(Isa isa, const BasicView<typename Args::Input>& in, const DirectWeights& weights,
                const std::vector<NarrowPhase>* narrow, const ConvEpilogue& epilogue,
                float* scratch, const TensorView& out, int threads) {
  std::vector<PhaseJob<Args>> jobs;
  for (size_t i = 0; i < weights.phases.size(); i++) {
    const Phase& phase = weights.phases[i];
    if (phase.out_y >= out.height || phase.out_x >= out.width) continue;
    PhaseJob<Args> job{isa, in,       weights, phase, narrow ? &(*narrow)[i] : nullptr,
                       {},  epilogue, out};
    for (const Segment& s : phase.segments) {
      job.offsets.push_back(s.group * in.plane + s.dy * in.row +
                            s.dx * weights.in_block * kStep<Args>);
    }
    const int rows = (out.height - phase.out_y + weights.out_step_y - 1) / weights.out_step_y;
    if (out.block == kLanes) {
      jobs.push_back(std::move(job));
    } else {
      picture_phase(job, rows, scratch, threads);
    }
  }
  if (!jobs.empty()) blocked_phases(jobs, weights, out, epilogue, scratch, threads);
}

// One panel of a phase in eight bits: lanes `panel` to `panel` + `wide`.
void quantize_panel(const Phase& phase, int panel, int wide, const float* packed, NarrowPhase& to) {
  const int segments = static_cast<int>(phase.segments.size());
  const auto weight = [&](int s, int l, int o) {
    return l < phase.length ? packed[(static_cast<int64_t>(s) * phase.length + l) * wide + o] : 0;
  };
  for (int o = 0; o < wide; o++) {
    float most = 0;
    for (int s = 0; s < segments; s++)
      for (int l = 0; l < to.length; l += 2)
        most = std::max(most, std::abs(weight(s, l, o)) + std::abs(weight(s, l + 1, o)));
    // Rounding may add a half to each of the two. A scale without all of its digits would let them
    // grow; weights that small count as none.
    const float scale = most / static_cast<float>(kMostWeightPair - 1);
    to.scale[static_cast<size_t>(panel + o)] =
        scale >= std::numeric_limits<float>::min() ? scale : 1;
  }
  for (int s = 0; s < segments; s++) {
    for (int l = 0; l < to.length; l += 4) {
      for (int o = 0; o < wide; o++) {
        const float scale = to.scale[static_cast<size_t>(panel + o)];
        for (int k = 0; k < 4; k++) {
          const float q = std::nearbyint(weight(s, l + k, o) / scale);
          // A weight may be anything in a file; what is no number counts as none.
          to.packed.push_back(std::isfinite(q) ? static_cast<int8_t>(std::clamp(q, -127.0f, 127.0f))
                                               : int8_t{0});
          to.shift[static_cast<size_t>(panel + o)] += to.packed.back();
        }
      }
    }
  }
}

// The same in bfloat16.
void round_panel(const Phase& phase, int wide, const float* packed, NarrowPhase& to) {
  const int segments = static_cast<int>(phase.segments.size());
  for (int s = 0; s < segments; s++) {
    for (int l = 0; l < to.length / 2; l += 2) {
      for (int o = 0; o < wide; o++) {
        for (int k = l; k < l + 2; k++) {
          const uint16_t bits =
              k < phase.length
                  ? to_bf16(packed[(static_cast<int64_t>(s) * phase.length + k) * wide + o])
                  : uint16_t{0};
          to.packed.push_back(static_cast<int8_t>(bits & 0xFF));
          to.packed.push_back(static_cast<int8_t>(bits >> 8));
        }
      }
    }
  }
}

}  // namespace

DirectWeights pack_direct(const ConvShape& shape, const float* weights, const float* bias,
                          int pad_top, int pad_left, int in_block) {
  DirectWeights d;
  d.shape = shape;
  d.pad_top = pad_top;
  d.pad_left = pad_left;
  d.in_block = in_block;
  d.unfold =
      shape.out_channels < kLanes && !shape.transposed && shape.stride_w == 1 && shape.enlarge == 1;
  d.lanes = round_up(shape.out_channels * (d.unfold ? shape.kernel_w : 1), kLanes);
  if (shape.transposed) {
    d.out_step_y = shape.stride_h;
    d.out_step_x = shape.stride_w;
  } else {
    d.in_step_y = shape.stride_h;
    d.in_step_x = shape.stride_w;
  }
  if (shape.enlarge > 1) d.out_step_y = d.out_step_x = shape.enlarge;
  for (int y = 0; y < d.out_step_y; y++)
    for (int x = 0; x < d.out_step_x; x++) d.phases.push_back(pack_phase(d, weights, y, x));
  if (bias) {
    d.bias.assign(bias, bias + shape.out_channels);
    d.bias.resize(static_cast<size_t>(round_up(shape.out_channels, kLanes)), 0.0f);
  }
  return d;
}

Halo direct_halo(const DirectWeights& weights, int in_h, int in_w, int out_h, int out_w) {
  Halo halo;
  const int extra = weights.unfold ? (weights.shape.kernel_w - 1) * weights.shape.dilation_w : 0;
  for (const Phase& phase : weights.phases) {
    if (phase.out_y >= out_h || phase.out_x >= out_w) continue;
    const int last_y = (out_h - 1 - phase.out_y) / weights.out_step_y * weights.in_step_y;
    const int last_x = (out_w - 1 - phase.out_x) / weights.out_step_x * weights.in_step_x + extra;
    const int wide = phase.length / weights.in_block - 1;
    for (const Segment& s : phase.segments) {
      halo.top = std::max(halo.top, -s.dy);
      halo.left = std::max(halo.left, -s.dx);
      halo.bottom = std::max(halo.bottom, last_y + s.dy - (in_h - 1));
      halo.right = std::max(halo.right, last_x + s.dx + wide - (in_w - 1));
    }
  }
  return halo;
}

int64_t direct_scratch(const DirectWeights& weights, int width) {
  if (weights.shape.out_channels >= kLanes)
    return int64_t{weights.out_step_y} * weights.lanes * width;
  const int extra = weights.unfold ? (weights.shape.kernel_w - 1) * weights.shape.dilation_w : 0;
  return static_cast<int64_t>(kColumns + extra) * weights.lanes + kLanes;
}

NarrowWeights narrow_direct(Isa isa, DirectWeights weights, const Quantization& input) {
  NarrowWeights result;
  result.bf16 = input.bf16;
  for (Phase& phase : weights.phases) {
    NarrowPhase made;
    made.length = input.bf16 ? round_up(2 * phase.length, kTileBytes)
                             : round_up(phase.length, segment_unit(isa));
    made.scale.resize(static_cast<size_t>(weights.lanes));
    made.shift.resize(static_cast<size_t>(weights.lanes));
    const float* packed = phase.packed.data();
    for (int panel = 0; panel < weights.lanes; panel += 16) {
      const int wide = std::min(16, weights.lanes - panel);
      if (input.bf16) {
        round_panel(phase, wide, packed, made);
      } else {
        quantize_panel(phase, panel, wide, packed, made);
      }
      packed += static_cast<int64_t>(phase.segments.size()) * phase.length * wide;
    }
    // So far the sum of the lane's weights, each of which was multiplied with the zero point.
    const bool own_bias = weights.shape.out_channels >= kLanes && !weights.bias.empty();
    for (size_t o = 0; o < made.shift.size(); o++) {
      made.scale[o] *= input.scale;
      made.shift[o] *= -made.scale[o] * static_cast<float>(input.zero_point);
      if (own_bias) made.shift[o] += weights.bias[o];
    }
    made.packed.resize(made.packed.size() + kWeightSlack);
    phase.packed = {};
    result.phases.push_back(std::move(made));
  }
  result.layout = std::move(weights);
  return result;
}

void conv_direct(Isa isa, const TensorView& in, const DirectWeights& weights,
                 const ConvEpilogue& epilogue, float* scratch, const TensorView& out, int threads) {
  run_phases<GemmArgs>(isa, in, weights, nullptr, epilogue, scratch, out, threads);
}

void conv_direct(Isa isa, const ByteView& in, const NarrowWeights& weights,
                 const ConvEpilogue& epilogue, float* scratch, const TensorView& out, int threads) {
  const auto run = weights.bf16 ? run_phases<Bf16GemmArgs> : run_phases<Int8GemmArgs>;
  run(isa, in, weights.layout, &weights.phases, epilogue, scratch, out, threads);
}

}  // namespace atelier::model::kernels
