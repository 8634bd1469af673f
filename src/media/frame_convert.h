// SPDX-License-Identifier: Apache-2.0
// Private to src/media: from whatever a decoder gives to the planar frame of one fixed size and
// format that FrameReader promises.
#pragma once

#include <memory>

#include "base/frame.h"
#include "base/result.h"
#include "media/av.h"

struct SwsContext;

namespace atelier::media {

// A picture and what it points into.
struct PlanarPicture {
  FrameView view;
  std::shared_ptr<const void> keep_alive;
};

// The samples of `frame` unchanged, planar: plain planar frames are referenced, everything else
// (semi-planar, packed, palette, big endian, 1 bit) is unpacked into memory of its own.
// Errors: invalid_input when planar_equivalent() knows no format, corrupt when planes are missing.
Result<PlanarPicture> to_planar(const AVFrame& frame);

// The same as an AVFrame with `frame`'s times, side data and tags: `frame` itself once more where
// it is planar already.
Result<FramePtr> planar_frame(const AVFrame& frame);

// Brings pictures to one size and format. A picture that has them already passes untouched; others
// go through swscale: bicubic, accurate rounding, bit-exact on every processor, one thread, chroma
// siting and range respected. RGB is scaled plane by plane, never through YUV.
class PictureScaler {
 public:
  PictureScaler(int width, int height, PixelFormat format)
      : width_(width), height_(height), format_(format) {}
  // Errors: internal (swscale has no such conversion).
  Result<PlanarPicture> fit(PlanarPicture picture);

 private:
  struct Free {
    void operator()(SwsContext* context) const;
  };
  Result<void> prepare(const FrameView& from);

  int width_;
  int height_;
  PixelFormat format_;
  std::unique_ptr<SwsContext, Free> context_;
  FrameView made_for_;  // size, format and colour that context_ was made for
};

}  // namespace atelier::media
