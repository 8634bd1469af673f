// SPDX-License-Identifier: Apache-2.0
#include "media/stream_labels.h"

#include <strings.h>

#include <algorithm>
#include <array>
#include <string>

namespace atelier::media {
namespace {

// mkvmerge's statistics, which may end in a language ("BPS-eng").
constexpr std::array kStatistics = {"BPS",
                                    "NUMBER_OF_FRAMES",
                                    "NUMBER_OF_BYTES",
                                    "_STATISTICS_WRITING_APP",
                                    "_STATISTICS_WRITING_DATE_UTC",
                                    "_STATISTICS_TAGS",
                                    "SOURCE_ID"};
constexpr std::array kOldFile = {"major_brand", "minor_version", "compatible_brands",
                                 "encoder",     "duration",      "encoding_tool"};
// libav's movenc.c writes these without the use_metadata_tags flag, in MP4.
constexpr std::array kItunes = {
    "title",         "artist",        "album_artist", "composer",   "album",
    "date",          "comment",       "genre",        "copyright",  "grouping",
    "lyrics",        "description",   "synopsis",     "show",       "episode_id",
    "network",       "keywords",      "track",        "disc",       "compilation",
    "episode_sort",  "season_number", "media_type",   "hd_video",   "gapless_playback",
    "creation_time", "location",      "encoder",      "language",   "year",
    "tmpo",          "sort_name",     "sort_artist",  "sort_album", "sort_album_artist",
    "sort_composer", "sort_show"};

// Pairs of ISO 639-2 codes for one language; the second is the one that libav writes into MOV.
constexpr std::array<std::array<const char*, 2>, 19> kMovLanguages = {{{"sqi", "alb"},
                                                                       {"hye", "arm"},
                                                                       {"eus", "baq"},
                                                                       {"mya", "bur"},
                                                                       {"zho", "chi"},
                                                                       {"cze", "ces"},
                                                                       {"nld", "dut"},
                                                                       {"fre", "fra"},
                                                                       {"kat", "geo"},
                                                                       {"deu", "ger"},
                                                                       {"ell", "gre"},
                                                                       {"isl", "ice"},
                                                                       {"mkd", "mac"},
                                                                       {"msa", "may"},
                                                                       {"fas", "per"},
                                                                       {"rum", "ron"},
                                                                       {"slo", "slk"},
                                                                       {"bod", "tib"},
                                                                       {"cym", "wel"}}};

bool same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

bool is_statistic(std::string_view key) {
  return std::any_of(kStatistics.begin(), kStatistics.end(), [&](std::string_view name) {
    return same(key, name) || (key.size() > name.size() && key[name.size()] == '-' &&
                               same(key.substr(0, name.size()), name));
  });
}

template <class Keep>
void copy_if(const AVDictionary* from, AVDictionary*& to, Keep keep) {
  const AVDictionaryEntry* entry = nullptr;
  while ((entry = av_dict_get(from, "", entry, AV_DICT_IGNORE_SUFFIX))) {
    if (keep(entry->key)) av_dict_set(&to, entry->key, entry->value, 0);
  }
}

}  // namespace

void copy_stream_tags(const AVStream& from, bool reencoded, AVStream& to) {
  copy_if(from.metadata, to.metadata, [&](std::string_view key) {
    if (same(key, "duration")) return false;
    if (!reencoded) return true;
    return !same(key, "encoder") && !same(key, "alpha_mode") && !is_statistic(key);
  });
}

void name_in_movie(AVStream& stream) {
  const AVDictionaryEntry* title = av_dict_get(stream.metadata, "title", nullptr, 0);
  const AVDictionaryEntry* handler = av_dict_get(stream.metadata, "handler_name", nullptr, 0);
  const bool generic =
      !handler || std::string_view(handler->value).find("Handler") != std::string_view::npos;
  if (title && generic) av_dict_set(&stream.metadata, "handler_name", title->value, 0);
}

void spell_language_for_mov(AVStream& stream) {
  const AVDictionaryEntry* language = av_dict_get(stream.metadata, "language", nullptr, 0);
  if (!language) return;
  for (const auto& [other, mov] : kMovLanguages) {
    if (same(language->value, other)) {
      av_dict_set(&stream.metadata, "language", mov, 0);
      return;
    }
  }
}

void copy_file_tags(const AVFormatContext& from, AVFormatContext& to) {
  copy_if(from.metadata, to.metadata, [](std::string_view key) {
    return std::none_of(kOldFile.begin(), kOldFile.end(),
                        [&](std::string_view old) { return same(key, old); });
  });
}

bool is_itunes_tag(std::string_view key) {
  const std::string_view plain = key.substr(0, key.find('-'));  // "title-eng" is a translation
  return std::any_of(kItunes.begin(), kItunes.end(),
                     [&](std::string_view name) { return name == plain || name == key; });
}

}  // namespace atelier::media
