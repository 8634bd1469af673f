// SPDX-License-Identifier: Apache-2.0
// Which encoder, quality and preset a run uses: what was asked for, completed and checked.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "media/muxer.h"

namespace atelier::media {

struct EncoderWish {
  std::string codec;  // empty: the container's default
  std::optional<int> crf;
  std::optional<std::string> preset;
  std::map<std::string, std::string> options;
};

struct EncoderChoice {
  std::string codec;
  int crf = 0;                     // 0 where the encoder has none
  std::string preset;              // empty likewise
  std::vector<std::string> notes;  // what was asked for and means nothing to this encoder
};

// Nothing of the input is looked at. Defaults: libx264 in MP4, MOV, Matroska and MPEG-TS,
// libvpx-vp9 in WebM, gif, png and mjpeg in GIF and sequences of pictures. Errors:
// invalid_argument: an encoder that is unknown or does not go into the container (the sentence
// names what works), a quality, preset or option it does not take.
Result<EncoderChoice> choose_encoder(const EncoderWish& wish, Container container);

// What EncodeSettings::threads and ::fixed must be for this encoder, to be recorded.
struct EncoderConstants {
  int threads = 1;
  std::map<std::string, std::string> fixed;
};
EncoderConstants encoder_constants(const std::string& codec);

}  // namespace atelier::media
