// SPDX-License-Identifier: Apache-2.0
// Which precision a run scores in. Prepare decides it on a few frames of the very video, once, and
// the manifest says it: f32 always stands, bf16 and int8 have to show that their pictures are near
// enough.
//
// Sampled frames go through the network in f32, which gives the pictures to compare with and the
// ranges of the activations, then in int8. If the worst of them is too far away, they go through it
// in bf16, where that is faster than f32; that is what the layers that are not in int8 compute in
// if it is near enough, else they are f32. Then each convolution is tried in int8 alone on the
// worst frame; squared errors of layers add up, nearly, so as many as fit below the limit are in
// int8. That is checked on all sampled frames again. Where none is, and bf16 in all layers is too
// far away, as many as fit are in bf16, found likewise. Cost: about as many frames as are sampled,
// four times, and one for each layer and precision. Frames that were not sampled may be brighter or
// darker: what enters the network has the range from black to white (Runner::observe).
#pragma once

#include <functional>

#include "run/manifest.h"
#include "run/runner_factory.h"

namespace atelier::run {

// What "auto" chooses is at least so near to f32, and no video is so short that trying costs
// more than it saves.
inline constexpr double kAutoPsnr = 40;
inline constexpr uint64_t kAutoFrames = 250;

// `manifest` is planned for f32, as `exact` scores (with shots: frames of the first one; all others
// are compared with their own shot's networks, and ranges are those of all of them together); bf16
// or int8, if it is wanted and good enough, changes plan, precision and memory, and what was asked
// for by name and refused adds a note. Errors: those of reading frames and of the runners.
// `scored_one` is called after each frame.
Result<void> choose_precision(Manifest& manifest, ByteSource& input, const media::MediaInfo& info,
                              model::Runner& exact, const RunnerFactory& make, int threads,
                              const std::function<void()>& scored_one);

}  // namespace atelier::run
