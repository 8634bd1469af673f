// SPDX-License-Identifier: Apache-2.0
// The immutable record of a run: what is scored with what, cut how, planned how. Whoever has the
// manifest, the input at its etag and the model at its hash computes the same bits.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "media/frame_writer.h"
#include "media/packet_scan.h"
#include "model/runner.h"
#include "run/planner.h"

namespace atelier::run {

// Bumped whenever a manifest or a chunk written by one version would be misread by another.
inline constexpr int kFormatVersion = 1;

// What a user asked for that changes the result.
struct Parameters {
  double chunk_seconds = 4;
  media::TimeRange range;
  int width = 0;  // of the output; 0: the model's own
  int height = 0;
  std::string codec = "libx264";
  int crf = 18;
  std::string preset = "veryfast";
  std::map<std::string, std::string> encoder_options;
  std::string keep_frames;  // "", "png" or "jpg"
  bool deinterlace = false;
  std::string precision = "f32";  // "bf16", "int8" or "auto"; the manifest says what was chosen
  double min_psnr = 32;           // what is below it gives way
  std::string norm = "frame";     // or "shot"; the manifest says what was found
  std::string tune = "auto";      // or "on", "off": whether ways are measured (run/tuned_ways.h)
};

// What convolutions compute in, as prepare decided on frames of the video (run/precision.h).
struct ChosenPrecision {
  model::Precision name = model::Precision::f32;
  model::Ranges ranges;     // of int8: the convolutions that may take it
  double sampled_psnr = 0;  // but of f32: dB against it, of the worst of those frames
  uint64_t frames = 0;      // that were looked at
};

// Frames from `first_pts` to the next shot, and what their normalisations go by (run/norm.h).
struct Shot {
  int64_t first_pts = 0;
  model::Statistics statistics;
};

struct InputIdentity {
  std::string url;
  std::string name;  // the last part of the path, for libav's guess and for messages
  std::string etag;
  uint64_t size = 0;
};

struct ModelIdentity {
  std::string name;
  std::string sha256;  // of what the scorer read of the model, mixed with what its broker read
  std::string spec;    // canonical text
  // Where the ONNX file was when the run was prepared; says nothing of what it holds. Empty in
  // runs of older versions.
  std::string url;
};

struct Manifest {
  std::string run_id;
  InputIdentity input;
  // URL of where the command that prepared the run wanted its result; others of the same run may
  // want it elsewhere. Says nothing of what is there. Empty in runs of older versions.
  std::string output;
  ModelIdentity model;
  Parameters parameters;
  int video_stream = -1;
  Rational time_base{1, 1};
  model::Size scored_size;  // of the frames given to the network
  media::EncodeSettings encode;
  std::vector<ChunkPlan> chunks;
  std::vector<model::PlanStep> plan;
  ChosenPrecision precision;
  std::vector<Shot> shots;  // in order; empty: every frame is normalised by its own statistics
  std::vector<media::CopiedStream> copied;
  uint64_t damaged_packets = 0;
  uint64_t scorer_bytes = 0;  // memory that one scorer needs, about; 0: not known (older versions)
  std::string isa;
  std::map<std::string, std::string> tools;  // library name -> version
  std::vector<std::string> notes;            // said to the user when the run was prepared

  uint64_t frames_expected() const;
};

// Hash of everything that changes the result: 16 hex digits, so that the same command finds the
// same run.
std::string make_run_id(const InputIdentity& input, const ModelIdentity& model,
                        const Parameters& parameters);

std::string to_json(const Manifest& manifest);
// Errors: corrupt (not a manifest), conflict (another format version: the sentence says what to
// do).
Result<Manifest> manifest_from_json(std::string_view text);

}  // namespace atelier::run
