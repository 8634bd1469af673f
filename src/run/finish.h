// SPDX-License-Identifier: Apache-2.0
// The last phase: check every chunk, join, take the other streams from the input again, publish by
// one conditional commit. Idempotent; nothing is published unless everything agrees.
#pragma once

#include <filesystem>
#include <stop_token>

#include "media/muxer.h"
#include "run/manifest.h"
#include "run/run_folder.h"
#include "run/unpainted.h"

namespace atelier::run {

struct FinishRequest {
  ByteSource* input = nullptr;  // at the manifest's etag
  const media::MediaInfo* info = nullptr;
  media::Container container = media::Container::mp4;
  ObjectStore* output = nullptr;
  std::string output_key;            // of pictures a pattern, see media/picture_files.h
  bool replace = false;              // otherwise the output must be absent
  std::filesystem::path scratch;     // an existing folder for the file before it is published
  std::vector<Unpainted> unpainted;  // in place of chunks that are not committed
};

struct FinishReport {
  uint64_t frames = 0;           // in the published video
  uint64_t frames_expected = 0;  // shown packets of the input in the range
  uint64_t decode_errors = 0;
  uint64_t retimed = 0;     // frames whose time in the input was missing or another's
  uint64_t interlaced = 0;  // frames flagged interlaced in the input
  uint64_t repeated = 0;    // frames equal to the one before, so not scored again
  uint64_t unpainted = 0;   // frames that show the input's own picture
  uint64_t copied_packets = 0;
  uint64_t bytes = 0;
  double shifted_seconds = 0;
  StageSeconds seconds;  // summed over chunks, whoever scored them
  std::vector<std::string> notes;
};

// Errors: corrupt (a chunk is missing or damaged), invalid_input (not one frame could be decoded;
// the input changed), invalid_argument (the output is there with other bytes), no_space,
// unavailable, cancelled.
Result<FinishReport> finish(const Manifest& manifest, RunFolder& folder,
                            const FinishRequest& request, std::stop_token stop);

}  // namespace atelier::run
