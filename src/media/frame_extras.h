// SPDX-License-Identifier: Apache-2.0
// Private to src/media: side data that rides with a frame from the decoder to the encoder.
#pragma once

#include "media/av.h"

namespace atelier::media {

class FrameExtras {
 public:
  // Null when `frame` has nothing worth keeping.
  static std::shared_ptr<const FrameExtras> of(const AVFrame& frame);
  // Attaches copies (references) of the side data to `frame`.
  Result<void> attach_to(AVFrame& frame) const;

 private:
  FramePtr carrier_;  // an AVFrame that holds nothing but side data
};

}  // namespace atelier::media
