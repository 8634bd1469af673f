// SPDX-License-Identifier: Apache-2.0
// What stands in for chunks that were given up: the input's own pictures. A video is never
// published short; where a user prefers one with a few unpainted frames to none
// (--error-threshold), those chunks are decoded and encoded as all others are, and the network is
// left out.
//
// They lie under unpainted/, beside the chunks and not among them: whoever asks for the run again
// has the chunks that were given up tried again.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "run/ledger.h"
#include "run/run_folder.h"
#include "run/scorer_process.h"

namespace atelier::run {

// A chunk that shows the input's own pictures, and why.
struct Unpainted {
  ChunkCommit commit;
  uint64_t first_frame = 0;  // of the video
  std::string error;         // of the last attempt to score it
};

struct UnpaintedRequest {
  std::string program;            // see ScorerProcess::start
  ScorerTask task;                // that of the run
  std::filesystem::path scratch;  // an existing folder
  uint64_t threshold = 0;         // frames that may stay unpainted
};

// Takes the place of every chunk in `failures`. What an earlier call made is used again. Errors:
// corrupt naming the first chunk that was given up: they have more than `threshold` frames, or one
// of them cannot be decoded either; those of the store; cancelled.
Result<std::vector<Unpainted>> take_unpainted(const std::vector<ChunkFailure>& failures,
                                              const Manifest& manifest, RunFolder& folder,
                                              const UnpaintedRequest& request,
                                              std::stop_token stop);

}  // namespace atelier::run
