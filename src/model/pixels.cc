// SPDX-License-Identifier: Apache-2.0
// Rows are independent, so each direction is a parallel loop over bands of rows; temporaries are a
// few rows per thread, which stay in the nearest caches. On the way back the chroma of a band needs
// luma-grid rows of its neighbours too: those few are computed twice rather than shared.
#include "model/pixels.h"

#include <omp.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "model/chroma.h"
#include "model/color_matrix.h"
#include "model/kernels/pointwise.h"
#include "model/kernels/row_shares.h"
#include "model/pixel_rows.h"

namespace atelier::model {
namespace {

using rows::Mix;

constexpr int kBandRows = 64;  // a multiple of every chroma group

int ceil_shift(int n, int shift) { return -((-n) >> shift); }

Result<void> check_frame(const FrameView& frame) {
  const PixelFormat& f = frame.format;
  const bool sizes = frame.width > 0 && frame.height > 0;
  const bool known =
      f.depth >= 8 && f.depth <= 16 && f.chroma_shift_x <= 2 && f.chroma_shift_y <= 2;
  if (!sizes || !known) {
    return make_error(Code::invalid_input,
                      "A frame of {}x{} with {} bits and chroma shifts {} and {} cannot be scored; "
                      "convert the video to 4:2:0, 4:2:2 or 4:4:4 with 8 to 16 bits.",
                      frame.width, frame.height, f.depth, f.chroma_shift_x, f.chroma_shift_y);
  }
  const int planes = f.family == PixelFormat::Family::gray ? 1 : 3;
  for (int p = 0; p < planes; ++p) {
    const auto& plane = frame.plane[static_cast<size_t>(p)];
    const bool aligned =
        f.depth == 8 || (reinterpret_cast<uintptr_t>(plane.data) % 2 == 0 && plane.stride % 2 == 0);
    if (plane.data == nullptr || !aligned) {
      return make_error(Code::internal, "Plane {} of a frame has no samples at an even address.",
                        p);
    }
  }
  return {};
}

template <class Planes>
Result<void> check_planes(const Planes& planes, const FrameView& frame, PlaneOffset at) {
  if (planes.data == nullptr || (planes.channels != 1 && planes.channels != 3)) {
    return make_error(Code::invalid_argument,
                      "A network with {} image channels cannot be used; 1 and 3 work.",
                      planes.channels);
  }
  if (at.x < 0 || at.y < 0 || planes.width - at.x < frame.width ||
      planes.height - at.y < frame.height) {
    return make_error(Code::invalid_argument,
                      "A frame of {}x{} at {},{} does not fit the network's image of {}x{}.",
                      frame.width, frame.height, at.x, at.y, planes.width, planes.height);
  }
  return {};
}

// Floats per thread, aligned to cache lines so that threads do not share one.
class Scratch {
 public:
  Scratch(int row_length, int rows_per_thread)
      : row_((static_cast<size_t>(row_length) + 31) / 16 * 16),
        thread_(row_ * static_cast<size_t>(rows_per_thread)),
        floats_(thread_ * static_cast<size_t>(omp_get_max_threads()) + 16) {}
  // Row `i` of the calling thread.
  float* row(int i) {
    const auto address = reinterpret_cast<uintptr_t>(floats_.data());
    const size_t lead = (64 - address % 64) % 64 / sizeof(float);
    return floats_.data() + lead + thread_ * static_cast<size_t>(omp_get_thread_num()) +
           row_ * static_cast<size_t>(i);
  }

 private:
  size_t row_;
  size_t thread_;
  std::vector<float> floats_;
};

float apply(const Taps& taps, const float* in) {
  float sum = 0;
  for (int i = 0; i < taps.count; ++i)
    sum += taps.weight[static_cast<size_t>(i)] * in[taps.first + i];
  return sum;
}

// A horizontal resampling between `fine` luma-grid samples and the chroma samples over them.
class Horizontal {
 public:
  Horizontal(int fine, int shift, Phase phase)
      : fine_(fine), coarse_(ceil_shift(fine, shift)), shift_(shift), phase_(phase) {
    if (shift_ != 2) return;
    for (int i = 0; i < fine_; ++i) up_.push_back(upsample_taps(i, fine_, shift_, phase_));
    for (int i = 0; i < coarse_; ++i) down_.push_back(downsample_taps(i, fine_, shift_, phase_));
  }
  void up(const float* in, float* out) const {
    if (shift_ == 2) return apply_all(up_, in, out);
    const int pairs = coarse_ - 1;
    phase_ == Phase::centre ? rows::up_centre(in, out, pairs) : rows::up_first(in, out, pairs);
    out[0] = apply(upsample_taps(0, fine_, 1, phase_), in);
    for (int i = 2 * pairs; i < fine_; ++i) out[i] = apply(upsample_taps(i, fine_, 1, phase_), in);
  }
  void down(const float* in, float* out) const {
    if (shift_ == 2) return apply_all(down_, in, out);
    const auto middle = phase_ == Phase::centre ? rows::down_centre : rows::down_first;
    if (coarse_ > 2) middle(in, out, 1, coarse_ - 1);
    out[0] = apply(downsample_taps(0, fine_, 1, phase_), in);
    out[coarse_ - 1] = apply(downsample_taps(coarse_ - 1, fine_, 1, phase_), in);
  }
  int coarse() const { return coarse_; }
  int shift() const { return shift_; }

 private:
  static void apply_all(const std::vector<Taps>& taps, const float* in, float* out) {
    for (size_t i = 0; i < taps.size(); ++i) out[i] = apply(taps[i], in);
  }
  int fine_;
  int coarse_;
  int shift_;
  Phase phase_;
  std::vector<Taps> up_;
  std::vector<Taps> down_;
};

int shift_x(const FrameView& frame) { return frame.is_chroma(1) ? frame.format.chroma_shift_x : 0; }
int shift_y(const FrameView& frame) { return frame.is_chroma(1) ? frame.format.chroma_shift_y : 0; }

int reflect(int i, int n) {
  if (n == 1) return 0;
  const int period = 2 * (n - 1);
  i = ((i % period) + period) % period;
  return i < n ? i : period - i;
}

// out = the row's samples, weighted; added to what is there with `add`.
void load_samples(const FrameView& frame, int p, int y, float weight, float centre, bool add,
                  float* out) {
  const auto& plane = frame.plane[static_cast<size_t>(p)];
  const std::byte* row = plane.data + plane.stride * y;
  const int n = frame.plane_width(p);
  if (frame.format.bytes_per_sample() == 1) {
    const auto* samples = reinterpret_cast<const uint8_t*>(row);
    add ? rows::load_add(samples, weight, centre, out, n)
        : rows::load(samples, weight, centre, out, n);
  } else {
    const auto* samples = reinterpret_cast<const uint16_t*>(row);
    add ? rows::load_add(samples, weight, centre, out, n)
        : rows::load(samples, weight, centre, out, n);
  }
}

void store_samples(const FrameView& frame, int p, int y, const float* in, float centre) {
  const auto& plane = frame.plane[static_cast<size_t>(p)];
  std::byte* row = plane.data + plane.stride * y;
  const int n = frame.plane_width(p);
  const auto max = static_cast<float>((1 << frame.format.depth) - 1);
  if (frame.format.bytes_per_sample() == 1) {
    rows::store(in, centre, max, reinterpret_cast<uint8_t*>(row), n);
  } else {
    rows::store(in, centre, max, reinterpret_cast<uint16_t*>(row), n);
  }
}

// Which of R, G, B a plane of the network's image is.
size_t color_of_channel(const ModelSpec& spec, size_t channel) {
  return spec.order == ModelSpec::Order::bgr ? 2 - channel : channel;
}

// By as many threads as the caller's team has.
template <class Body>
void for_bands(int bands, Body&& body) {
  kernels::for_rows(bands, 1, bands > 1 ? omp_get_max_threads() : 1, body);
}

// Each row of floats becomes samples of the planes by `finish(row of floats, row of samples)`.
template <class Sample, class Finish>
class ToPlanes {
 public:
  ToPlanes(const FrameView& in, const ModelSpec& spec, const ColorSpec& color, const CodeMap& map,
           const BasicPlanesView<Sample>& out, PlaneOffset at, Finish finish)
      : in_(in),
        out_(out),
        at_(at),
        clamp_(spec.clamp),
        planes_(in.format.family == PixelFormat::Family::gray ? 1 : 3),
        horizontal_(in.width, shift_x(in), horizontal_phase(color.siting)),
        vertical_phase_(vertical_phase(color.siting)),
        scratch_(in.width, 5),
        finish_(finish) {
    for (size_t p = 0; p < 3; ++p) centre_[p] = static_cast<float>(map.centre[p]);
    for (size_t c = 0; c < static_cast<size_t>(out.channels); ++c) mix_[c] = mix_of(spec, map, c);
  }

  void run() {
    const int bands = (in_.height + kBandRows - 1) / kBandRows;
    for_bands(bands, [&](int band) {
      const int end = std::min(in_.height, (band + 1) * kBandRows);
      for (int y = band * kBandRows; y < end; ++y) convert_row(y);
    });
    const int pad_rows = out_.height - in_.height;
#pragma omp parallel for schedule(static) if (pad_rows > 8)
    for (int i = 0; i < pad_rows; ++i) pad_row(i < at_.y ? i : i + in_.height);
  }

 private:
  Mix mix_of(const ModelSpec& spec, const CodeMap& map, size_t channel) const {
    const double black = spec.range[0];
    const double span = static_cast<double>(spec.range[1]) - black;
    std::array<double, 3> weights = map.luma;
    if (out_.channels == 3) {
      weights = {};
      weights[color_of_channel(spec, channel)] = 1;
    }
    std::array<double, 4> k{};
    for (size_t c = 0; c < 3; ++c) {
      for (size_t p = 0; p < 3; ++p) k[p] += weights[c] * map.decode[c][p];
      k[3] += weights[c] * map.decode_offset[c];
    }
    const double scale = spec.scale[channel];
    Mix mix;
    for (size_t i = 0; i < 3; ++i) mix.k[i] = static_cast<float>(scale * span * k[i]);
    mix.k[3] = static_cast<float>(scale * (span * k[3] + black - spec.mean[channel]));
    const auto ends = std::minmax(
        {scale * (black - spec.mean[channel]), scale * (spec.range[1] - spec.mean[channel])});
    mix.lo = static_cast<float>(ends.first);
    mix.hi = static_cast<float>(ends.second);
    return mix;
  }

  // Plane `p` of row `y` on the luma grid, centred.
  void fetch(int p, int y, float* row, float* coarse_row) {
    const auto i = static_cast<size_t>(p);
    if (!in_.is_chroma(p)) return load_samples(in_, p, y, 1, centre_[i], false, row);
    float* target = horizontal_.shift() == 0 ? row : coarse_row;
    const Taps taps = upsample_taps(y, in_.height, shift_y(in_), vertical_phase_);
    for (int t = 0; t < taps.count; ++t) {
      load_samples(in_, p, taps.first + t, taps.weight[static_cast<size_t>(t)], centre_[i], t > 0,
                   target);
    }
    if (target == coarse_row) horizontal_.up(coarse_row, row);
  }

  void convert_row(int y) {
    std::array<float*, 3> plane{scratch_.row(0), scratch_.row(0), scratch_.row(0)};
    for (int p = 0; p < planes_; ++p) {
      plane[static_cast<size_t>(p)] = scratch_.row(p);
      fetch(p, y, plane[static_cast<size_t>(p)], scratch_.row(3));
    }
    for (int c = 0; c < out_.channels; ++c) {
      const Mix& mix = mix_[static_cast<size_t>(c)];
      Sample* row = out_.data + out_.plane_stride * c + out_.row_stride * (at_.y + y);
      float* made = scratch_.row(4);
      if constexpr (std::is_same_v<Sample, float>) made = row + at_.x;
      rows::mix_free(plane[0], plane[1], plane[2], mix, made, in_.width);
      if (clamp_) rows::clip_to(made, mix.lo, mix.hi, in_.width);
      finish_(made, row + at_.x * out_.pixel_stride);
      pad_sides(row);
    }
  }

  void pad_sides(Sample* row) const {
    const ptrdiff_t step = out_.pixel_stride;
    const Sample* inner = row + at_.x * step;
    for (int x = 0; x < at_.x; ++x) row[x * step] = inner[reflect(x - at_.x, in_.width) * step];
    for (int x = at_.x + in_.width; x < out_.width; ++x) {
      row[x * step] = inner[reflect(x - at_.x, in_.width) * step];
    }
  }

  void pad_row(int y) const {
    const int source = at_.y + reflect(y - at_.y, in_.height);
    for (int c = 0; c < out_.channels; ++c) {
      Sample* plane = out_.data + out_.plane_stride * c;
      const Sample* from = plane + out_.row_stride * source;
      Sample* to = plane + out_.row_stride * y;
      for (ptrdiff_t x = 0; x < out_.width; ++x)
        to[x * out_.pixel_stride] = from[x * out_.pixel_stride];
    }
  }

  const FrameView& in_;
  const BasicPlanesView<Sample>& out_;
  PlaneOffset at_;
  bool clamp_;
  int planes_;
  std::array<float, 3> centre_{};
  std::array<Mix, 3> mix_{};
  Horizontal horizontal_;
  Phase vertical_phase_;
  Scratch scratch_;
  Finish finish_;
};

class FromPlanes {
 public:
  FromPlanes(const ConstPlanesView& in, const ModelSpec& spec, const ColorSpec& color,
             const CodeMap& map, const FrameView& out, PlaneOffset at)
      : in_(in),
        out_(out),
        at_(at),
        horizontal_(out.width, shift_x(out), horizontal_phase(color.siting)),
        vertical_phase_(vertical_phase(color.siting)),
        scratch_(out.width, 2 + 2 * kRing) {
    for (size_t p = 0; p < 3; ++p) {
      centre_[p] = static_cast<float>(map.centre[p]);
      mix_[p] = mix_of(spec, map, p);
    }
  }

  void run() {
    const int bands = (out_.height + kBandRows - 1) / kBandRows;
    const int planes = out_.format.family == PixelFormat::Family::gray ? 1 : 3;
    for_bands(bands, [&](int band) {
      const int begin = band * kBandRows;
      const int end = std::min(out_.height, begin + kBandRows);
      if (planes == 3 && subsampled()) {
        convert_subsampled(begin, end);
      } else {
        convert_plain(begin, end, planes);
      }
    });
  }

 private:
  static constexpr int kRing = Taps::kMax;

  bool subsampled() const { return shift_x(out_) != 0 || shift_y(out_) != 0; }

  Mix mix_of(const ModelSpec& spec, const CodeMap& map, size_t p) const {
    const double black = spec.output_range[0];
    const double span = static_cast<double>(spec.output_range[1]) - black;
    std::array<double, 4> k{};
    k[3] = map.offset[p];
    for (size_t i = 0; i < 3; ++i) {
      const double weight = map.encode[p][color_of_channel(spec, i)] / span;
      k[in_.channels == 3 ? i : 0] += weight;
      k[3] -= weight * black;
    }
    Mix mix;
    for (size_t i = 0; i < 4; ++i) mix.k[i] = static_cast<float>(k[i]);
    // Far outside what any format stores, yet finite, so that infinities do not become NaN.
    const double reach = spec.clamp ? 0 : 1e6 * std::abs(span);
    mix.lo = static_cast<float>(std::min(black, black + span) - reach);
    mix.hi = static_cast<float>(std::max(black, black + span) + reach);
    return mix;
  }

  // Plane `p` on the luma grid.
  void mix_row(int p, int y, float* row) const {
    const float* a = in_.data + in_.row_stride * (at_.y + y) + at_.x;
    const float* b = in_.channels == 3 ? a + in_.plane_stride : a;
    const float* c = in_.channels == 3 ? b + in_.plane_stride : a;
    rows::mix(a, b, c, mix_[static_cast<size_t>(p)], row, out_.width);
  }

  void convert_plain(int begin, int end, int planes) {
    float* row = scratch_.row(0);
    for (int y = begin; y < end; ++y) {
      for (int p = 0; p < planes; ++p) {
        mix_row(p, y, row);
        store_samples(out_, p, y, row, centre_[static_cast<size_t>(p)]);
      }
    }
  }

  // A window of the luma-grid rows, decimated horizontally, slides down the band.
  void convert_subsampled(int begin, int end) {
    const int sy = shift_y(out_);
    const int last = ceil_shift(end, sy);
    int next = out_.height;
    for (int k = begin >> sy; k < last; ++k) {
      next = std::min(next, downsample_taps(k, out_.height, sy, vertical_phase_).first);
    }
    int next_luma = begin;
    for (int k = begin >> sy; k < last; ++k) {
      const Taps taps = downsample_taps(k, out_.height, sy, vertical_phase_);
      for (; next < taps.first + taps.count; ++next) {
        decimate(1, next);
        decimate(2, next);
        if (next >= next_luma && next < end) store_luma(next_luma++);
      }
      store_chroma(1, k, taps);
      store_chroma(2, k, taps);
    }
    while (next_luma < end) store_luma(next_luma++);
  }

  float* ring(int p, int y) { return scratch_.row(2 + (p - 1) * kRing + y % kRing); }

  void decimate(int p, int y) {
    if (horizontal_.shift() == 0) return mix_row(p, y, ring(p, y));
    mix_row(p, y, scratch_.row(0));
    horizontal_.down(scratch_.row(0), ring(p, y));
  }

  void store_luma(int y) {
    mix_row(0, y, scratch_.row(0));
    store_samples(out_, 0, y, scratch_.row(0), centre_[0]);
  }

  void store_chroma(int p, int k, const Taps& taps) {
    float* sum = scratch_.row(1);
    const int n = horizontal_.coarse();
    rows::scale(ring(p, taps.first), taps.weight[0], sum, n);
    for (int t = 1; t < taps.count; ++t) {
      rows::scale_add(ring(p, taps.first + t), taps.weight[static_cast<size_t>(t)], sum, n);
    }
    store_samples(out_, p, k, sum, centre_[static_cast<size_t>(p)]);
  }

  const ConstPlanesView& in_;
  const FrameView& out_;
  PlaneOffset at_;
  std::array<float, 3> centre_{};
  std::array<Mix, 3> mix_{};
  Horizontal horizontal_;
  Phase vertical_phase_;
  Scratch scratch_;
};

}  // namespace

Result<void> frame_to_planes(const FrameView& in, const ModelSpec& spec, const PlanesView& out,
                             PlaneOffset at) {
  TRY(check_frame(in));
  TRY(check_planes(out, in, at));
  const ColorSpec color = resolve_color(in.color, in.width, in.height, in.format);
  const CodeMap map = TRY(make_code_map(color, in.format));
  ToPlanes(in, spec, color, map, out, at, [](const float*, float*) {}).run();
  return {};
}

namespace {

template <class Sample>
Result<void> frame_to_narrow(const FrameView& in, const ModelSpec& spec,
                             const kernels::Quantization& quantization,
                             const BasicPlanesView<Sample>& out) {
  TRY(check_frame(in));
  TRY(check_planes(out, in, {}));
  const ColorSpec color = resolve_color(in.color, in.width, in.height, in.format);
  const CodeMap map = TRY(make_code_map(color, in.format));
  const auto finish = [&](const float* made, Sample* row) {
    kernels::quantize_row(made, in.width, quantization, reinterpret_cast<uint8_t*>(row),
                          out.pixel_stride * static_cast<int64_t>(sizeof(Sample)));
  };
  ToPlanes(in, spec, color, map, out, {}, finish).run();
  // Of all pixels, also those that repeat the frame's beside it.
  if constexpr (std::is_same_v<Sample, uint16_t>) {
    for (int y = 0; y < out.height; ++y) {
      kernels::zero_spare_lanes(out.data + y * out.row_stride, out.width, out.pixel_stride,
                                out.channels);
    }
  }
  return {};
}

}  // namespace

Result<void> frame_to_bytes(const FrameView& in, const ModelSpec& spec,
                            const kernels::Quantization& quantization, const BytePlanesView& out) {
  return frame_to_narrow(in, spec, quantization, out);
}

Result<void> frame_to_halves(const FrameView& in, const ModelSpec& spec,
                             const HalfPlanesView& out) {
  return frame_to_narrow(in, spec, kernels::kBf16, out);
}

Result<void> planes_to_frame(const ConstPlanesView& in, const ModelSpec& spec,
                             const ColorSpec& coded, const FrameView& out, PlaneOffset at) {
  TRY(check_frame(out));
  TRY(check_planes(in, out, at));
  const float span = spec.output_range[1] - spec.output_range[0];
  if (!std::isfinite(span) || span == 0) {
    return make_error(Code::invalid_argument,
                      "output_range [{}, {}] of model {} is empty: give what black and white are.",
                      spec.output_range[0], spec.output_range[1], spec.name);
  }
  // What is resolved stays as it is, whatever the size.
  const ColorSpec color = resolve_color(coded, out.width, out.height, out.format);
  const CodeMap map = TRY(make_code_map(color, out.format));
  FromPlanes(in, spec, color, map, out, at).run();
  return {};
}

}  // namespace atelier::model
