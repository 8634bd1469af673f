// SPDX-License-Identifier: Apache-2.0
// Encodes frames into one chunk: a NUT file of one video stream whose timestamps count from the
// chunk's first frame.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/frame.h"
#include "base/result.h"
#include "base/time.h"
#include "media/frame_reader.h"

namespace atelier::media {

// HDR10 static metadata as bytes of libav's side data structures, so that values cross unchanged;
// empty when absent.
struct HdrMetadata {
  std::vector<std::byte> mastering_display;
  std::vector<std::byte> content_light;
};

// Everything that can change the encoder's bits; recorded in the manifest.
struct EncodeSettings {
  std::string codec = "libx264";  // see encoder_choice.h
  int crf = 18;
  std::string preset = "veryfast";
  // What must be the same wherever a chunk is encoded; empty: this version's own.
  std::map<std::string, std::string> fixed;
  std::map<std::string, std::string> options;  // extra encoder options, applied last
  int threads = 4;                             // fixed, never the machine's size
  int width = 0;
  int height = 0;
  PixelFormat format;
  ColorSpec color;
  Rational sample_aspect_ratio{0, 1};
  Rational time_base{1, 25};
  Rational frame_rate{0, 1};  // a hint for rate control and VUI; 0/1 when variable
  HdrMetadata hdr;
};

// The nearest format that `codec` can hold, and a line that says what is lost, or an empty line
// (alpha dropped, fewer bits a sample, coarser chroma; gray in libx264 becomes 4:2:0, which loses
// nothing). `width` and `height` matter because H.264 and HEVC crop 4:2:0 by whole chroma samples
// (H.264 7.4.2.1.1): an odd size needs chroma that is not subsampled in that direction. 0 stands
// for an even number. Errors: invalid_argument (unknown codec, a size it does not take).
struct FormatChoice {
  PixelFormat format;
  std::string note;
};
Result<FormatChoice> choose_format(const std::string& codec, const PixelFormat& wanted,
                                   int width = 0, int height = 0);

struct EncodeReport {
  uint64_t frames = 0;
  uint64_t packets = 0;
  uint64_t bytes = 0;
  uint64_t captions_lost = 0;  // frames with captions (CTA-708) that the codec here cannot carry
};

// One thread. After an error only destruction is allowed.
class FrameWriter {
 public:
  // `sink` must outlive the writer. Errors: invalid_argument (unknown codec, an option it refuses),
  // internal.
  static Result<std::unique_ptr<FrameWriter>> create(const EncodeSettings& settings,
                                                     ByteSink& sink);
  virtual ~FrameWriter() = default;
  // `pts` in settings.time_base, the first one 0, strictly increasing. `frame` has the settings'
  // size and format; it is copied or consumed before the call returns. `extras` may be null.
  virtual Result<void> write(const FrameView& frame, int64_t pts, int64_t duration,
                             const std::shared_ptr<const FrameExtras>& extras) = 0;
  // Drains the encoder, ends the file. Call once.
  virtual Result<EncodeReport> finish() = 0;
};

}  // namespace atelier::media
