// SPDX-License-Identifier: Apache-2.0
// Private to src/media: what becomes of each stream of the input in the output container.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "media/av.h"
#include "media/muxer.h"

namespace atelier::media {

enum class Fate {
  scored,     // replaced by the joined chunks
  copied,     // packet for packet
  attached,   // cover art as a Matroska attachment
  converted,  // text subtitles in the container's own text codec
  remade,     // the muxer writes it anew from metadata: chapter text, time code
  dropped,    // cannot be held
};

struct StreamFate {
  Fate fate = Fate::copied;
  AVCodecID codec = AV_CODEC_ID_NONE;  // with converted
  std::string note;                    // one sentence, or empty
};

const char* muxer_name(Container container);
// "Matroska", for messages.
const char* name_of(Container container);
// QuickTime's family.
bool is_movie(Container container);
// Matroska's.
bool is_matroska(Container container);
// Takes one video and nothing else.
bool is_bare(Container container);
// The encoders whose video the container takes and people can play, its default first.
std::span<const std::string_view> codecs_of(Container container);
bool holds_codec(Container container, std::string_view encoder);
// One for each stream of `input`, in its order.
std::vector<StreamFate> stream_fates(const Input& input, Container container, int scored);
// A muxer's own tag for the codec where the input's means nothing to it, as libav wants it.
uint32_t tag_for(const AVOutputFormat& muxer, const AVCodecParameters& parameters);
// The attached picture's type ("image/png"), empty when it is none that a Matroska attachment or
// an MP4 cover can be.
std::string picture_type(AVCodecID codec);

}  // namespace atelier::media
