// SPDX-License-Identifier: Apache-2.0
// Private to src/media: tags that stay true in the output.
#pragma once

#include "media/av.h"

namespace atelier::media {

// All of a stream's tags but those that speak of its old container and, with `reencoded`, of its
// old bytes (encoder, statistics).
void copy_stream_tags(const AVStream& from, bool reencoded, AVStream& to);
// MP4 and MOV show a track's title where its handler is named: puts it there unless a real handler
// name is in the way.
void name_in_movie(AVStream& stream);

// MOV's table of languages has one of the two codes that ISO 639-2 gives some of them ("deu",
// "ger"): a language tag is spelled as MOV can say it.
void spell_language_for_mov(AVStream& stream);
// The file's tags but those that speak of the old file itself.
void copy_file_tags(const AVFormatContext& from, AVFormatContext& to);
// Whether a plain MP4 or MOV keeps this tag of a file; the others need the "mdta" form.
bool is_itunes_tag(std::string_view key);

}  // namespace atelier::media
