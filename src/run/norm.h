// SPDX-License-Identifier: Apache-2.0
// Statistics of normalisations by shot instead of by frame (--norm shot). Prepare decides them on
// the very video, once, and the manifest says them: whoever scores computes the same bits.
//
// Every frame is decoded to find the cuts (run/shots.h); then those sampled from each shot are
// decoded again and scored with the frames' own statistics, which are pooled (Runner::measure).
// Cost: two decodes of the video and three frames scored for each shot.
#pragma once

#include <functional>

#include "run/manifest.h"
#include "run/runner_factory.h"

namespace atelier::run {

// Does nothing unless manifest.parameters.norm is "shot". `manifest` is planned for `by_frame`,
// made without statistics; shots, plan and memory are set, or a note is added if there is nothing
// to fix. `step` is called after each frame that was decoded or scored. Errors: those of reading
// frames and of the runners.
Result<void> choose_shots(Manifest& manifest, ByteSource& input, const media::MediaInfo& info,
                          model::Runner& by_frame, const RunnerFactory& make, int threads,
                          const std::function<void()>& step);

}  // namespace atelier::run
