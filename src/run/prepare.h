// SPDX-License-Identifier: Apache-2.0
// The first phase of a run: look at the input, cut it, plan it, write the manifest. Idempotent: a
// run that was prepared is read back instead.
#pragma once

#include <stop_token>

#include "model/runner.h"
#include "run/manifest.h"
#include "run/run_folder.h"

namespace atelier::run {

struct PrepareRequest {
  InputIdentity input;
  ModelIdentity model;
  Parameters parameters;
};

// `runner` scores with the request's model; it is asked for sizes and its plan, nothing is scored.
// Errors: invalid_input (no video, no frame in the range, interlaced, truncated), invalid_argument
// (a codec, a size or a network that does not fit), conflict (the input changed meanwhile; an older
// format), cancelled.
Result<Manifest> prepare(const PrepareRequest& request, ByteSource& input,
                         const media::MediaInfo& info, model::Runner& runner, RunFolder& folder,
                         std::stop_token stop);

// The same without a run folder: what prepare() would write.
Result<Manifest> plan_run(const PrepareRequest& request, ByteSource& input,
                          const media::MediaInfo& info, model::Runner& runner,
                          const std::string& run_id, std::stop_token stop);

// Whether there is a video that can be scored, interlaced only with `deinterlace`. Errors:
// invalid_input naming `name`.
Result<void> check_video(const media::MediaInfo& info, const std::string& name, bool deinterlace);

// The input frame size for which the network gives `wanted` (0: the source's own; one 0: that side
// keeps the aspect).
struct SizePlan {
  model::Size scored;  // frames are scaled to this before the network
  model::Size output;
  Rational sample_aspect_ratio{0, 1};
};
Result<SizePlan> plan_size(const media::VideoFacts& video, int wanted_width, int wanted_height,
                           model::Runner& runner);

// What the packets say about a file named `name`: damage and a missing end are noted. Errors:
// invalid_input when it is truncated (media::PacketScan) and `range` goes beyond what can be read
// whole; the sentence names a --to that works.
Result<void> check_scan(const media::PacketScan& scan, const media::TimeRange& range,
                        const std::string& name, std::vector<std::string>& notes);

}  // namespace atelier::run
