// SPDX-License-Identifier: Apache-2.0
#include "media/alpha.h"

#include "media/frame_convert.h"

namespace atelier::media {
namespace {

FrameView::Plane alpha_of(const FrameView& frame) {
  return frame.plane[static_cast<size_t>(frame.format.planes() - 1)];
}

// The alpha plane as a picture of its own.
FrameView as_gray(const FrameView& frame) {
  FrameView gray;
  gray.width = frame.width;
  gray.height = frame.height;
  gray.format = {PixelFormat::Family::gray, frame.format.depth, 0, 0, false};
  gray.color.range = ColorSpec::Range::full;
  gray.plane[0] = alpha_of(frame);
  return gray;
}

template <class In, class Out>
void convert(const FrameView& from, unsigned most_in, const FrameView& to, unsigned most_out) {
  for (int y = 0; y < to.height; ++y) {
    const auto* in = reinterpret_cast<const In*>(from.plane[0].data + y * from.plane[0].stride);
    auto* out = reinterpret_cast<Out*>(to.plane[0].data + y * to.plane[0].stride);
    for (int x = 0; x < to.width; ++x) {
      out[x] = static_cast<Out>((uint64_t{in[x]} * most_out + most_in / 2) / most_in);
    }
  }
}

void fill(const FrameView& to, unsigned value) {
  const bool wide = to.format.bytes_per_sample() == 2;
  for (int y = 0; y < to.height; ++y) {
    std::byte* row = to.plane[0].data + y * to.plane[0].stride;
    for (int x = 0; x < to.width; ++x) {
      if (wide) {
        reinterpret_cast<uint16_t*>(row)[x] = static_cast<uint16_t>(value);
      } else {
        row[x] = static_cast<std::byte>(value);
      }
    }
  }
}

}  // namespace

Result<void> copy_alpha(const FrameView& from, const FrameView& to) {
  if (!to.format.alpha) {
    return make_error(Code::invalid_argument, "The picture has no alpha channel to fill.");
  }
  const FrameView out = as_gray(to);
  const unsigned most_out = (1U << to.format.depth) - 1;
  if (!from.format.alpha) {
    fill(out, most_out);
    return {};
  }
  const FrameView gray = as_gray(from);
  PictureScaler scaler(to.width, to.height, gray.format);
  const PlanarPicture scaled = TRY(scaler.fit(PlanarPicture{gray, nullptr}));
  const unsigned most_in = (1U << from.format.depth) - 1;
  const bool wide_in = from.format.bytes_per_sample() == 2;
  const bool wide_out = to.format.bytes_per_sample() == 2;
  const auto how = wide_in ? (wide_out ? convert<uint16_t, uint16_t> : convert<uint16_t, uint8_t>)
                           : (wide_out ? convert<uint8_t, uint16_t> : convert<uint8_t, uint8_t>);
  how(scaled.view, most_in, out, most_out);
  return {};
}

}  // namespace atelier::media
