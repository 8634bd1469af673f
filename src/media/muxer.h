// SPDX-License-Identifier: Apache-2.0
// From chunks to the published file: joins encoded chunks without re-encoding (Joiner), takes every
// other stream from the input packet for packet (Remuxer), and writes one file: MP4,
// MOV, Matroska, WebM, MPEG-TS or GIF.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "media/frame_writer.h"
#include "media/media_info.h"
#include "media/packet_scan.h"

namespace atelier::media {

// png and jpeg are sequences of files: see picture_files.h.
enum class Container { mp4, mov, matroska, webm, mpegts, gif, png, jpeg };

// By the extension: .mp4 .m4v, .mov, .mkv, .webm, .ts, .gif; .png and .jpg where the name has a
// place for the number, "%d" or "%06d". Errors: invalid_argument naming those.
Result<Container> container_of(const std::filesystem::path& output);
// ".mp4": the usual one.
const char* extension_of(Container container);

// What `container` cannot hold of this input (a stream's codec, attachments, ...), one sentence
// each with the nearest thing that keeps it, e.g. "Matroska (.mkv) keeps it.". Known before
// anything is scored.
struct ContainerFit {
  std::vector<int> dropped_streams;
  std::vector<int> converted_streams;  // text subtitles written in the container's own text codec
  std::vector<std::string> notes;
};
Result<ContainerFit> fit_container(ByteSource& source, const MediaInfo& info, Container container,
                                   const std::string& video_codec);

struct JoinChunk {
  int64_t first_pts = 0;  // of the chunk's first frame, in the input video stream's time base
  uint64_t frames = 0;
};

struct MuxRequest {
  ByteSource* input = nullptr;
  const MediaInfo* info = nullptr;
  TimeRange range;
  Rational video_time_base{1, 1};  // of the chunks' timestamps and of first_pts
  std::vector<JoinChunk> chunks;   // in display order
  std::function<Result<std::unique_ptr<ByteSource>>(size_t)> open_chunk;
  EncodeSettings encode;               // side data, aspect ratio and colour of the video track
  std::vector<CopiedStream> expected;  // from the scan; what is copied must hash to this
  Container container = Container::mp4;
  std::filesystem::path scratch;  // the file to write; created or replaced
};

struct MuxReport {
  uint64_t video_frames = 0;
  uint64_t copied_packets = 0;
  uint64_t bytes = 0;
  double shifted_seconds =
      0;  // added to every timestamp because the video started before zero or was cut
  std::vector<std::string> notes;
};

// One thread. Memory does not grow with the video's length beyond its packet index.
// Errors: corrupt (a chunk is damaged or has other than its frames), conflict (the input changed: a
// hash differs), no_space, cancelled, internal.
Result<MuxReport> mux(const MuxRequest& request, std::stop_token stop);

}  // namespace atelier::media
