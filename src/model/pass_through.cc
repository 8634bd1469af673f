// SPDX-License-Identifier: Apache-2.0
#include "model/pass_through.h"

#include "model/pixels.h"
#include "model/planes.h"
#include "model/resample.h"

namespace atelier::model {

Result<void> pass_through(const FrameView& in, const FrameView& out) {
  constexpr int kChannels = 3;
  ModelSpec spec;
  spec.clamp = false;
  Planes planes(kChannels, in.width, in.height);
  TRY(frame_to_planes(in, spec, planes.view()));
  if (in.width != out.width || in.height != out.height) {
    Planes scaled(kChannels, out.width, out.height);
    resample(planes, {0, 0, in.width, in.height}, scaled);
    planes = std::move(scaled);
  }
  const ColorSpec coded = resolve_color(out.color, in.width, in.height, out.format);
  return planes_to_frame(planes.view(), spec, coded, out);
}

}  // namespace atelier::model
