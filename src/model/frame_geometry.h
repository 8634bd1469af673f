// SPDX-License-Identifier: Apache-2.0
// Which size a network is given for a frame, and which size comes out. Pure. Internal to src/model.
#pragma once

#include <functional>

#include "model/frame_fit.h"
#include "model/specialise.h"

namespace atelier::model {

struct FrameGeometry {
  Size out;          // the frame that comes out
  int channels = 3;  // of the network's output
  // The network takes the frame as it is, padded on the right and below by reflection.
  bool direct = true;
  FrameFit fit;  // fit.net is the network's size, direct or not
};

// What the network's output is for frames of this size.
using OutputType = std::function<Result<TensorType>(Size net)>;

// `declared`: N, C, H, W of the input as the file states it, -1 where any will do. Errors:
// invalid_argument, saying which --size would do or what the toml could say; those of `output`.
Result<FrameGeometry> frame_geometry(const ModelSpec& spec, const std::vector<int64_t>& declared,
                                     Size input, const OutputType& output);

}  // namespace atelier::model
