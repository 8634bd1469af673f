// SPDX-License-Identifier: Apache-2.0
#include "model/kernels/winograd.h"

#include <immintrin.h>
#include <omp.h>

#include <algorithm>

#include "model/kernels/moments.h"
#include "model/kernels/row_shares.h"
#include "model/kernels/store_moments.h"

namespace atelier::model::kernels {
namespace {

constexpr int kPoints = 36;
// A block's points and products stay in L2, where the transforms scatter them and the products read
// them: so many floats, of half a megabyte, beside the weights that stream through it. Blocks that
// did not (48 tiles of 128 channels) spent a quarter of their time on lines fetched to be written.
constexpr int kBlockFloats = 64 * 1024;
// Tiles are multiplied six at a time.
constexpr int kTileStep = 6, kLeastTiles = 12, kMostTiles = 48;
// Output channels whose products are made and transformed before the next ones.
constexpr int kOutputs = 32;

// G of the paper: how a 3-tap kernel enters the domain of points 0, 1, -1, 2, -2, infinity.
constexpr double kG[6][3] = {{1.0 / 4, 0, 0},
                             {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                             {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                             {1.0 / 24, 1.0 / 12, 1.0 / 6},
                             {1.0 / 24, -1.0 / 12, 1.0 / 6},
                             {0, 0, 1}};

int padded(int channels) { return (channels + kLanes - 1) / kLanes * kLanes; }

// Tiles of a block, at most.
int block_tiles(int in_channels, int out_channels) {
  const int each = kPoints * (padded(in_channels) + std::min(kOutputs, padded(out_channels)));
  return std::clamp(kBlockFloats / each / kTileStep * kTileStep, kLeastTiles, kMostTiles);
}

// Floats from one point to the next. Never a multiple of a page: 36 stores would meet in one set of
// the L1 cache and evict each other.
int64_t point_stride(int tiles, int channels) {
  return static_cast<int64_t>(tiles) * channels + 16;
}

#pragma GCC push_options
#pragma GCC target("avx2,fma")

using Vec = __m256;

// B^T d for one column of six.
inline __attribute__((always_inline)) void input_1d(const Vec d[6], Vec out[6]) {
  const Vec four = _mm256_set1_ps(4), five = _mm256_set1_ps(5), two = _mm256_set1_ps(2);
  const Vec even = _mm256_fnmadd_ps(four, d[2], d[4]);  // d4 - 4 d2
  const Vec odd = _mm256_fnmadd_ps(four, d[1], d[3]);   // d3 - 4 d1
  const Vec even2 = _mm256_sub_ps(d[4], d[2]);
  const Vec odd2 = _mm256_mul_ps(two, _mm256_sub_ps(d[3], d[1]));
  out[0] = _mm256_fmadd_ps(four, d[0], _mm256_fnmadd_ps(five, d[2], d[4]));
  out[1] = _mm256_add_ps(even, odd);
  out[2] = _mm256_sub_ps(even, odd);
  out[3] = _mm256_add_ps(even2, odd2);
  out[4] = _mm256_sub_ps(even2, odd2);
  out[5] = _mm256_fmadd_ps(four, d[1], _mm256_fnmadd_ps(five, d[3], d[5]));
}

// A^T m for one column of six.
inline __attribute__((always_inline)) void output_1d(const Vec m[6], Vec out[4]) {
  const Vec two = _mm256_set1_ps(2), four = _mm256_set1_ps(4), eight = _mm256_set1_ps(8);
  const Vec a = _mm256_add_ps(m[1], m[2]), b = _mm256_sub_ps(m[1], m[2]);
  const Vec c = _mm256_add_ps(m[3], m[4]), d = _mm256_sub_ps(m[3], m[4]);
  out[0] = _mm256_add_ps(_mm256_add_ps(m[0], a), c);
  out[1] = _mm256_fmadd_ps(two, d, b);
  out[2] = _mm256_fmadd_ps(four, c, a);
  out[3] = _mm256_add_ps(_mm256_fmadd_ps(eight, d, b), m[5]);
}

// What a tile will read or write kAhead tiles later: rows of two groups are more streams than the
// processor's own prefetching follows, and their latency is as long as the arithmetic of a tile.
constexpr int kAhead = 3;
template <int Rows>
inline __attribute__((always_inline)) void prefetch_ahead(const float* tile, int64_t row) {
  const float* four_columns = tile + kAhead * 4 * kLanes;
#pragma GCC unroll 6
  for (int y = 0; y < Rows; y++) {
    _mm_prefetch(reinterpret_cast<const char*>(four_columns + y * row), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(four_columns + y * row + 2 * kLanes), _MM_HINT_T0);
  }
}

// One tile of eight channels: 6x6 pixels at `in` to 36 points, `point` floats apart.
void transform_in(const float* in, int64_t row, float* out, int64_t point) {
  Vec half[6][6];
#pragma GCC unroll 6
  for (int x = 0; x < 6; x++) {
    Vec d[6], t[6];
#pragma GCC unroll 6
    for (int y = 0; y < 6; y++) d[y] = _mm256_loadu_ps(in + y * row + x * kLanes);
    input_1d(d, t);
#pragma GCC unroll 6
    for (int y = 0; y < 6; y++) half[y][x] = t[y];
  }
#pragma GCC unroll 6
  for (int y = 0; y < 6; y++) {
    Vec t[6];
    input_1d(half[y], t);
#pragma GCC unroll 6
    for (int x = 0; x < 6; x++) _mm256_storeu_ps(out + (y * 6 + x) * point, t[x]);
  }
}

struct OutputTile {
  float* out;
  const float* add;  // null: none
  int64_t out_row;
  int64_t add_row;
  int rows;
  int columns;
};

// Moments of pixels as they are made, each lane about a pivot of its own: one of the pixels, so
// that a mean that is large beside the deviations does not eat them.
struct Running {
  Vec pivot, sum, square;
  float count = 0;
  inline __attribute__((always_inline)) void add(Vec v) {
    const Vec d = _mm256_sub_ps(v, pivot);
    sum = _mm256_add_ps(sum, d);
    square = _mm256_fmadd_ps(d, d, square);
  }
};

// 36 points, `point` floats apart, to 4x4 pixels of eight channels, or fewer at a border.
template <bool kWhole, bool kMoments>
inline __attribute__((always_inline)) void transform_out(const float* in, int64_t point,
                                                         const float* bias, float low, float high,
                                                         const OutputTile& tile, Running* running) {
  Vec half[4][6];
#pragma GCC unroll 6
  for (int x = 0; x < 6; x++) {
    Vec m[6], t[4];
#pragma GCC unroll 6
    for (int y = 0; y < 6; y++) m[y] = _mm256_loadu_ps(in + (y * 6 + x) * point);
    output_1d(m, t);
#pragma GCC unroll 4
    for (int y = 0; y < 4; y++) half[y][x] = t[y];
  }
  const Vec shift = bias ? _mm256_loadu_ps(bias) : _mm256_setzero_ps();
  const Vec floor = _mm256_set1_ps(low), ceiling = _mm256_set1_ps(high);
  const int rows = kWhole ? 4 : tile.rows, columns = kWhole ? 4 : tile.columns;
#pragma GCC unroll 4
  for (int y = 0; y < rows; y++) {
    Vec t[4];
    output_1d(half[y], t);
#pragma GCC unroll 4
    for (int x = 0; x < columns; x++) {
      Vec v = _mm256_add_ps(t[x], shift);
      if (tile.add) v = _mm256_add_ps(v, _mm256_loadu_ps(tile.add + y * tile.add_row + x * kLanes));
      v = _mm256_min_ps(ceiling, _mm256_max_ps(floor, v));
      _mm256_storeu_ps(tile.out + y * tile.out_row + x * kLanes, v);
      if (!kMoments) continue;
      if (running->count == 0 && y == 0 && x == 0) running->pivot = v;
      running->add(v);
    }
  }
  if (kMoments) running->count += static_cast<float>(rows * columns);
}

struct Job {
  Isa isa;
  const TensorView& in;
  int pad_top;
  int pad_left;
  const WinogradWeights& weights;
  const ConvEpilogue& epilogue;
  const TensorView& out;
  int tiles_x;
  int blocks;
  int64_t in_point, out_point;  // floats from one point to the next
};

// Tiles that are worked together.
struct Block {
  int index = 0;
  int first = 0;
  int count = 0;
};

// Two groups, a whole cache line of each point, before the next tile: neither is written in halves.
void inputs_of_block(const Job& job, const Block& block, float* points) {
  const int channels = padded(job.weights.in_channels), groups = channels / kLanes;
  for (int pair = 0; pair < groups; pair += 2) {
    for (int t = 0; t < block.count; t++) {
      const int y = (block.first + t) / job.tiles_x * 4 - job.pad_top;
      const int x = (block.first + t) % job.tiles_x * 4 - job.pad_left;
      for (int g = pair; g < std::min(pair + 2, groups); g++) {
        const float* from = job.in.at(g, y, x);
        prefetch_ahead<6>(from + 2 * kLanes, job.in.row);
        transform_in(from, job.in.row, points + t * channels + g * kLanes, job.in_point);
      }
    }
  }
}

// Of output channels `from` to `to`, which lie side by side in `products`.
void products_of_block(const Job& job, int count, const float* points, int from, int to,
                       float* products) {
  const int in = job.weights.in_channels, out = padded(job.weights.out_channels);
  const int64_t zero = 0;
  for (int p = 0; p < kPoints; p++) {
    int blocks = 0;
    for (int o = from; o < to; o += blocks * kLanes) {
      blocks = blocks_at_once(job.isa, to - o);
      GemmArgs args;
      args.a = points + p * job.in_point;
      args.offsets = &zero;
      args.length = in;
      args.a_stride = padded(in);
      args.w = job.weights.packed.data() + (static_cast<int64_t>(p) * out + o) * in;
      args.c = products + p * job.out_point + (o - from);
      args.c_stride = to - from;
      args.c_block = kLanes;
      gemm_row(job.isa, args, count, blocks);
    }
  }
}

// One group of channels of a block's tiles, `channels` floats apart in `products`.
template <bool kMoments>
void outputs_of_group(const Job& job, const Block& block, int g, const float* products,
                      int channels) {
  const TensorView* add = job.epilogue.add;
  const float* bias = job.weights.bias.empty() ? nullptr : &job.weights.bias[g * kLanes];
  const float low = job.epilogue.low, high = job.epilogue.high;
  Running running{};
  for (int t = 0; t < block.count; t++, products += channels) {
    const int y = (block.first + t) / job.tiles_x * 4, x = (block.first + t) % job.tiles_x * 4;
    const OutputTile tile{
        job.out.at(g, y, x), add ? add->at(g, y, x) : nullptr, job.out.row,
        add ? add->row : 0,  std::min(4, job.out.height - y),  std::min(4, job.out.width - x)};
    prefetch_ahead<4>(tile.out, tile.out_row);
    if (tile.add) prefetch_ahead<4>(tile.add, tile.add_row);
    if (tile.rows == 4 && tile.columns == 4) {
      transform_out<true, kMoments>(products, job.out_point, bias, low, high, tile, &running);
    } else {
      transform_out<false, kMoments>(products, job.out_point, bias, low, high, tile, &running);
    }
  }
  if (!kMoments) return;
  const Vec count = _mm256_set1_ps(running.count);
  const Vec offset = _mm256_div_ps(running.sum, count);
  store_moments(
      running.count, _mm256_add_ps(running.pivot, offset),
      _mm256_max_ps(_mm256_setzero_ps(), _mm256_fnmadd_ps(offset, running.sum, running.square)),
      job.epilogue.moments + moments_slot(g, block.index, job.blocks));
}

#pragma GCC pop_options

void outputs_of_block(const Job& job, const Block& block, const float* products, int from, int to) {
  for (int g = from / kLanes; g < to / kLanes; g++) {
    const float* mine = products + g * kLanes - from;
    job.epilogue.moments ? outputs_of_group<true>(job, block, g, mine, to - from)
                         : outputs_of_group<false>(job, block, g, mine, to - from);
  }
}

}  // namespace

WinogradWeights pack_winograd(const float* weights, const float* bias, int out_channels,
                              int in_channels) {
  WinogradWeights result{in_channels, out_channels, {}, {}};
  const int in = in_channels, out = padded(out_channels);
  result.packed.assign(static_cast<size_t>(kPoints) * in * out, 0.0f);
  for (int o = 0; o < out_channels; o++) {
    // Outputs lie in panels of sixteen; a last panel may be eight wide.
    const int panel = o / 16 * 16, wide = std::min(16, out - panel);
    for (int i = 0; i < in_channels; i++) {
      const float* k = weights + (static_cast<int64_t>(o) * in_channels + i) * 9;
      double half[6][3] = {};
      for (int y = 0; y < 6; y++)
        for (int x = 0; x < 3; x++)
          for (int j = 0; j < 3; j++) half[y][x] += kG[y][j] * static_cast<double>(k[j * 3 + x]);
      for (int y = 0; y < 6; y++) {
        for (int x = 0; x < 6; x++) {
          double sum = 0;
          for (int j = 0; j < 3; j++) sum += kG[x][j] * half[y][j];
          const int64_t at = (static_cast<int64_t>(y) * 6 + x) * in * out +
                             static_cast<int64_t>(panel) * in + static_cast<int64_t>(i) * wide +
                             (o - panel);
          result.packed[static_cast<size_t>(at)] = static_cast<float>(sum);
        }
      }
    }
  }
  if (bias) {
    result.bias.assign(bias, bias + out_channels);
    result.bias.resize(static_cast<size_t>(out), 0.0f);
  }
  return result;
}

int64_t winograd_scratch(const WinogradWeights& weights) {
  const int in = padded(weights.in_channels), out = padded(weights.out_channels);
  const int tiles = block_tiles(in, out);
  return kPoints * (point_stride(tiles, in) + point_stride(tiles, std::min(kOutputs, out)));
}

int winograd_overhang(int outputs, int inputs, int pad) {
  const int tiles = (outputs + 3) / 4;
  return std::max(0, tiles * 4 + 2 - pad - inputs);
}

int winograd_blocks(const WinogradWeights& weights, int out_h, int out_w) {
  const int size = block_tiles(padded(weights.in_channels), padded(weights.out_channels));
  return ((out_h + 3) / 4 * ((out_w + 3) / 4) + size - 1) / size;
}

void conv_winograd(Isa isa, const TensorView& in, int pad_top, int pad_left,
                   const WinogradWeights& weights, const ConvEpilogue& epilogue, float* scratch,
                   const TensorView& out, int threads) {
  const int tiles_x = (out.width + 3) / 4;
  const int tiles = tiles_x * ((out.height + 3) / 4);
  const int in_channels = padded(weights.in_channels), outputs = padded(weights.out_channels);
  const int size = block_tiles(in_channels, outputs);
  const int blocks = winograd_blocks(weights, out.height, out.width);
  const Job job{isa,
                in,
                pad_top,
                pad_left,
                weights,
                epilogue,
                out,
                tiles_x,
                blocks,
                point_stride(size, in_channels),
                point_stride(size, std::min(kOutputs, outputs))};
  const int64_t each = winograd_scratch(weights);
  for_rows(blocks, 1, threads, [&](int b) {
    float* points = scratch + each * omp_get_thread_num();
    float* products = points + kPoints * job.in_point;
    const Block block{b, b * size, std::min(size, tiles - b * size)};
    inputs_of_block(job, block, points);
    for (int from = 0; from < outputs; from += kOutputs) {
      const int to = std::min(from + kOutputs, outputs);
      products_of_block(job, block.count, points, from, to, products);
      outputs_of_block(job, block, products, from, to);
    }
  });
}

}  // namespace atelier::model::kernels
