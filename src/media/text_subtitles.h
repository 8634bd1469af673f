// SPDX-License-Identifier: Apache-2.0
// Private to src/media: text subtitles of one kind rewritten as another, one packet for one packet.
#pragma once

#include "media/av.h"

namespace atelier::media {

// Whether libav can turn `from` into `to`; both must be text.
bool can_convert_subtitles(AVCodecID from, AVCodecID to);

class SubtitleConverter {
 public:
  // `input` is the stream the packets come from. Errors: internal.
  static Result<std::unique_ptr<SubtitleConverter>> create(const AVStream& input, AVCodecID to);
  // For the output stream. Errors: internal.
  Result<void> describe_to(AVCodecParameters& parameters) const;
  // Replaces the packet's bytes, keeping its times; false when it holds no text (an end mark, or
  // what cannot be decoded) and nothing is to be written.
  Result<bool> convert(AVPacket& packet);

 private:
  CodecContextPtr decoder_;
  CodecContextPtr encoder_;
};

}  // namespace atelier::media
