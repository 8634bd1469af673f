// SPDX-License-Identifier: Apache-2.0
// Private to src/media: what is known of each encoder before libav is asked.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>

namespace atelier::media {

using OptionMap = std::map<std::string, std::string>;

struct EncoderTraits {
  std::string_view name;
  std::string_view family;  // "HEVC": for messages
  // --crf, as libav's encoder counts it; none where `crf_max` is 0.
  int crf_min = 0;
  int crf_max = 0;
  int crf_default = 0;
  // --preset, none where empty.
  std::span<const std::string_view> presets = {};
  std::string_view preset_default = {};
  std::span<const std::string_view> tunes = {};
  // The option that hands "a=1:b=2" to the library behind the encoder; empty without one.
  std::string_view library_key = {};
  int threads = 1;            // whatever the machine
  bool takes_gray = false;    // and players show it
  bool takes_rgb = false;     // likewise
  bool whole_chroma = false;  // crops by whole chroma samples
  bool keeps_captions = false;
  int smallest_side = 1;
};

// Null for an encoder that Atelier does not know.
const EncoderTraits* find_traits(std::string_view codec);
// "libx264, libx265, ...": for messages.
std::string encoder_names();

// What is fixed so that every machine gives the same bits and chunks can be joined: options of the
// encoder, recorded in the manifest.
OptionMap fixed_options(std::string_view codec);
// What the libraries read in a name: '_' is '-', and x265 takes off a leading "--".
std::string option_name(std::string_view key);
// x264 and x265 take a leading "no-" or "no" off any name and turn its value round: "noinfo=0" is
// "info=1".
std::string_view without_no(std::string_view name);
// Why a user cannot set `key`, an option of the encoder or of the library behind it, as the end of
// a sentence ("it is fixed so that ..."), however it is spelt; empty when it may be set.
std::string_view why_refused(std::string_view codec, std::string_view key);

}  // namespace atelier::media
