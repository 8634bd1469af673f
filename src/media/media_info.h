// SPDX-License-Identifier: Apache-2.0
// What Atelier sees in a media file, before anything is decoded.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/frame.h"
#include "base/log.h"
#include "base/result.h"
#include "base/time.h"

namespace atelier::media {

enum class StreamKind { video, audio, subtitle, data, attachment, unknown };
const char* to_string(StreamKind kind);

struct VideoFacts {
  int width = 0;
  int height = 0;
  Rational sample_aspect_ratio{0, 1};  // 0/1 when the file does not say
  PixelFormat format;                  // of the decoded frames as FrameReader gives them
  std::string source_pixel_format;     // libav's name, e.g. "yuv420p10le"
  ColorSpec color;
  double rotation_degrees = 0;  // from the display matrix, clockwise, as a player must turn it
  bool has_display_matrix = false;
  bool interlaced = false;           // as the container or the codec says of the whole stream
  bool bottom_field_first = false;   // with interlaced: in which order the fields are shown
  bool fields_are_pictures = false;  // HEVC: fields come as pictures, which cannot be joined
  bool alpha_beside = false;         // VP8 and VP9: alpha beside the picture; `format` includes it
  bool alpha_lost = false;           // announced, but no decoder here gives it
  bool attached_picture = false;     // cover art
  bool has_mastering_display = false;
  bool has_content_light = false;
  Rational average_rate{0, 1};
};

struct StreamInfo {
  int index = 0;
  StreamKind kind = StreamKind::unknown;
  std::string codec;  // libav's name, e.g. "h264"
  Rational time_base{1, 1};
  std::optional<double> duration_seconds;
  std::string language;
  std::string title;
  std::vector<std::string> dispositions;  // "default", "forced", ...
  VideoFacts video;                       // with kind video
  int sample_rate = 0;                    // with kind audio
  int channels = 0;
};

struct MediaInfo {
  std::string container;  // libav's demuxer name, e.g. "mov,mp4,m4a,3gp,3g2,mj2"
  std::optional<double> duration_seconds;
  std::vector<StreamInfo> streams;
  size_t chapters = 0;
  std::map<std::string, std::string> metadata;
  int video_stream = -1;  // the stream to score: the best video stream by libav's rule, cover art
                          // excluded; -1: none
};

// Reads headers and as many packets as libav needs to know the streams. One thread.
// Errors: invalid_input: not media, empty, truncated beyond use. A file without video is no error
// here.
Result<MediaInfo> probe(ByteSource& source, std::string_view name);

// Sends libav's own messages (process-wide) to `log` as debug lines; call once at start-up, `log`
// outlives the program's use of this folder.
void route_libav_log(Log& log);

// Names and versions of the libraries used, for the manifest: {"libavcodec":"59.37.100",...}.
std::map<std::string, std::string> library_versions();

}  // namespace atelier::media
