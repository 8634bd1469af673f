// SPDX-License-Identifier: Apache-2.0
// Between coded pictures and the float planes a network sees.
//
// A coded sample goes: chroma upsampled to the luma grid at its siting, quantisation range undone,
// matrix undone (ITU-T H.273, 8.3), then mapped so that black..white is spec.range, then
// (value - mean) * scale. The way back is the exact inverse: the chroma decimation is a left
// inverse of the interpolation (see chroma.h), so a network that changes nothing returns the same
// code values, out-of-gamut ones included.
//
// Transfer and primaries are not touched: networks see the coded (gamma) values, as they were
// trained on. Alpha is not read or written: whoever owns the output copies it.
//
// Both directions use the caller's OpenMP thread count; results do not depend on it, nor on the
// vector instructions of the processor.
#pragma once

#include <cstddef>

#include "base/frame.h"
#include "base/result.h"
#include "model/kernels/tensor_view.h"
#include "model/model_spec.h"

namespace atelier::model {

// Planes: sample (c, y, x) is data[c * plane_stride + y * row_stride + x * pixel_stride]; strides
// count samples. Owns nothing.
template <class Sample>
struct BasicPlanesView {
  Sample* data = nullptr;
  int channels = 0;  // 3, in the model's colour order; or 1, luma
  int width = 0;
  int height = 0;
  ptrdiff_t row_stride = 0;
  ptrdiff_t plane_stride = 0;
  ptrdiff_t pixel_stride = 1;  // of floats always 1
};
using PlanesView = BasicPlanesView<float>;
using BytePlanesView = BasicPlanesView<uint8_t>;
using HalfPlanesView = BasicPlanesView<uint16_t>;  // of bfloat16

struct ConstPlanesView {
  const float* data = nullptr;
  int channels = 0;
  int width = 0;
  int height = 0;
  ptrdiff_t row_stride = 0;
  ptrdiff_t plane_stride = 0;
  ConstPlanesView() = default;
  ConstPlanesView(const float* samples, int c, int w, int h, ptrdiff_t row, ptrdiff_t plane)
      : data(samples), channels(c), width(w), height(h), row_stride(row), plane_stride(plane) {}
  ConstPlanesView(const PlanesView& v)  // a view of what can be written can be read
      : ConstPlanesView(v.data, v.channels, v.width, v.height, v.row_stride, v.plane_stride) {}
};

// Where the frame's first pixel lies in the planes: pad on the left and on top. What is left of the
// planes is pad on the right and below.
struct PlaneOffset {
  int x = 0;
  int y = 0;
};

// `color` with nothing left unspecified that decides how samples are read:
//   matrix  of yuv: 2 (unspecified), and 0 (identity) with subsampled chroma, which H.273 forbids
//           and only wrong tags say: 6 (BT.601) if height <= 576 and width <= 1024, else 1
//           (BT.709). Of gray and rgb, whose luma alone needs it: any that is not a luma weighting,
//           likewise.
//   range   limited for yuv; full for rgb and gray (libav's convention).
//   siting  left (MPEG-2, and what H.264 and H.265 infer).
// For a network that changes the size, pass the size of the input frame for both directions. The
// output keeps its unspecified tag; its pixels obey the resolved one.
ColorSpec resolve_color(const ColorSpec& color, int width, int height, const PixelFormat& format);

// Fills all of `out`, the pad by reflection without repeating the edge sample (period 2(n-1); a 1
// sample wide picture is repeated). With one channel: luma. Only range, mean, scale, order and
// clamp of `spec` are used. YUV holds colours outside range (a black with a trace of chroma is
// one): with spec.clamp they are clipped to it, as in the 8-bit RGB pictures that networks are
// trained on. Errors: invalid_input: a matrix that is not supported (10 BT.2020cl, 11 and above,
// 3, 12..), a frame format that is not; invalid_argument: `out` does not hold the frame, or other
// than 1 or 3 channels.
Result<void> frame_to_planes(const FrameView& in, const ModelSpec& spec, const PlanesView& out,
                             PlaneOffset at = {});

// The same values in eight bits, as a convolution in int8 takes them: no float plane is written.
// What lies between samples that are apart stays as it is.
Result<void> frame_to_bytes(const FrameView& in, const ModelSpec& spec,
                            const kernels::Quantization& quantization, const BytePlanesView& out);
// The same in bfloat16.
Result<void> frame_to_halves(const FrameView& in, const ModelSpec& spec, const HalfPlanesView& out);

// Writes all samples of `out` but alpha from the part of `in` that starts at `at`. One channel
// gives a gray picture in any format. The pixels obey `coded`, which must be resolved:
// resolve_color(out.color, input width, input height, out.format). Values are mapped by
// spec.output_range (not by mean and scale), clipped to it if spec.clamp, rounded to nearest, and
// clipped to what the format can store; NaN becomes black or the lowest code.
// Errors: as above; invalid_argument too: an empty output_range.
Result<void> planes_to_frame(const ConstPlanesView& in, const ModelSpec& spec,
                             const ColorSpec& coded, const FrameView& out, PlaneOffset at = {});

}  // namespace atelier::model
