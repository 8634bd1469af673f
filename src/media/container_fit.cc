// SPDX-License-Identifier: Apache-2.0
// libav's own table (avformat_query_codec) says yes to much that its muxers then refuse, so each
// stream is tried: a header with that stream alone is written into memory.
#include "media/container_fit.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "media/picture_files.h"
#include "media/text_subtitles.h"

namespace atelier::media {
namespace {

struct OutputDelete {
  void operator()(AVFormatContext* p) const {
    if (p->pb) {
      uint8_t* bytes = nullptr;
      avio_close_dyn_buf(p->pb, &bytes);
      av_free(bytes);
    }
    avformat_free_context(p);
  }
};

AVCodecID text_codec(Container container) {
  switch (container) {
    case Container::mp4:
    case Container::mov: return AV_CODEC_ID_MOV_TEXT;
    case Container::matroska: return AV_CODEC_ID_SUBRIP;
    case Container::webm: return AV_CODEC_ID_WEBVTT;
    default: return AV_CODEC_ID_NONE;
  }
}

// What players of a transport stream know; libav's muxer takes anything, as private data.
constexpr std::array kTransportCodecs = {AV_CODEC_ID_H264,         AV_CODEC_ID_HEVC,
                                         AV_CODEC_ID_MPEG2VIDEO,   AV_CODEC_ID_MPEG1VIDEO,
                                         AV_CODEC_ID_MPEG4,        AV_CODEC_ID_AAC,
                                         AV_CODEC_ID_MP2,          AV_CODEC_ID_MP3,
                                         AV_CODEC_ID_AC3,          AV_CODEC_ID_EAC3,
                                         AV_CODEC_ID_DTS,          AV_CODEC_ID_TRUEHD,
                                         AV_CODEC_ID_OPUS,         AV_CODEC_ID_DVB_SUBTITLE,
                                         AV_CODEC_ID_DVB_TELETEXT, AV_CODEC_ID_HDMV_PGS_SUBTITLE,
                                         AV_CODEC_ID_SMPTE_KLV,    AV_CODEC_ID_TIMED_ID3};

bool known_to_players(AVCodecID codec, Container container) {
  return container != Container::mpegts ||
         std::find(kTransportCodecs.begin(), kTransportCodecs.end(), codec) !=
             kTransportCodecs.end();
}

bool header_works(const AVStream& stream, Container container) {
  if (!known_to_players(stream.codecpar->codec_id, container)) return false;
  AVFormatContext* raw = nullptr;
  if (avformat_alloc_output_context2(&raw, nullptr, muxer_name(container), nullptr) < 0) {
    return false;
  }
  std::unique_ptr<AVFormatContext, OutputDelete> output(raw);
  AVStream* out = avformat_new_stream(raw, nullptr);
  if (!out || avcodec_parameters_copy(out->codecpar, stream.codecpar) < 0) return false;
  out->codecpar->codec_tag = tag_for(*raw->oformat, *stream.codecpar);
  out->time_base = stream.time_base;
  out->avg_frame_rate = stream.avg_frame_rate;
  raw->strict_std_compliance = FF_COMPLIANCE_EXPERIMENTAL;
  raw->flags |= AVFMT_FLAG_BITEXACT;
  if (avio_open_dyn_buf(&raw->pb) < 0) return false;
  return avformat_write_header(raw, nullptr) >= 0;
}

bool is_cover(const AVStream& stream) {
  return (stream.disposition & AV_DISPOSITION_ATTACHED_PIC) != 0;
}

// Chapter titles as a track of their own, which the muxer writes from the chapters.
bool is_chapter_text(const AVFormatContext& format, const AVStream& stream) {
  return stream.codecpar->codec_type == AVMEDIA_TYPE_DATA && format.nb_chapters > 0 &&
         stream.codecpar->codec_tag == MKTAG('t', 'e', 'x', 't');
}

// A time code track, which comes with the "timecode" tag of the stream it belongs to.
bool is_time_code(const AVStream& stream) {
  return stream.codecpar->codec_type == AVMEDIA_TYPE_DATA &&
         stream.codecpar->codec_tag == MKTAG('t', 'm', 'c', 'd') &&
         av_dict_get(stream.metadata, "timecode", nullptr, 0) != nullptr;
}

// Without the note.
StreamFate fate_in(const AVFormatContext& format, const AVStream& stream, Container container) {
  const AVCodecParameters& parameters = *stream.codecpar;
  if (is_bare(container)) return {Fate::dropped, {}, {}};
  // Chapter titles and time codes are written anew where the container has chapters and tags.
  if (is_chapter_text(format, stream) || is_time_code(stream)) {
    return {container == Container::mpegts ? Fate::dropped : Fate::remade, {}, {}};
  }
  if (is_cover(stream)) {
    const bool known = !picture_type(parameters.codec_id).empty() && stream.attached_pic.size > 0;
    if (known && container == Container::matroska) return {Fate::attached, {}, {}};
    return {known && container == Container::mp4 ? Fate::copied : Fate::dropped, {}, {}};
  }
  if (parameters.codec_type == AVMEDIA_TYPE_ATTACHMENT) {
    const bool held = container == Container::matroska && parameters.extradata_size > 0 &&
                      av_dict_get(stream.metadata, "filename", nullptr, 0) != nullptr;
    return {held ? Fate::copied : Fate::dropped, {}, {}};
  }
  const bool foreign_text = parameters.codec_type == AVMEDIA_TYPE_SUBTITLE && is_movie(container) &&
                            parameters.codec_id != AV_CODEC_ID_MOV_TEXT &&
                            parameters.codec_id != AV_CODEC_ID_TTML;
  if (!foreign_text || !can_convert_subtitles(parameters.codec_id, AV_CODEC_ID_MOV_TEXT)) {
    if (header_works(stream, container)) return {Fate::copied, {}, {}};
  }
  if (can_convert_subtitles(parameters.codec_id, text_codec(container))) {
    return {Fate::converted, text_codec(container), {}};
  }
  return {Fate::dropped, {}, {}};
}

std::string describe_stream(const AVStream& stream) {
  const AVCodecParameters& parameters = *stream.codecpar;
  if (is_cover(stream)) return fmt::format("the cover picture (stream {})", stream.index);
  if (parameters.codec_type == AVMEDIA_TYPE_ATTACHMENT) {
    const AVDictionaryEntry* name = av_dict_get(stream.metadata, "filename", nullptr, 0);
    return fmt::format("the attachment '{}' (stream {})", name ? name->value : "", stream.index);
  }
  const char* kind = av_get_media_type_string(parameters.codec_type);
  std::array<char, AV_FOURCC_MAX_STRING_SIZE> tag{};
  if (parameters.codec_id == AV_CODEC_ID_NONE) {
    av_fourcc_make_string(tag.data(), parameters.codec_tag);
    return fmt::format("stream {} ({}, '{}')", stream.index, kind ? kind : "unknown", tag.data());
  }
  return fmt::format("stream {} ({}, {})", stream.index, kind ? kind : "unknown",
                     avcodec_get_name(parameters.codec_id));
}

std::string note_for(const AVFormatContext& format, const AVStream& stream, Container container,
                     const StreamFate& fate) {
  if (fate.fate == Fate::converted) {
    // Timing and words cross; placement and fonts may not.
    return fmt::format(
        "{} holds no {} subtitles: stream {} is rewritten as {}, which may lose "
        "styling.",
        name_of(container), avcodec_get_name(stream.codecpar->codec_id), stream.index,
        avcodec_get_name(fate.codec));
  }
  if (fate.fate != Fate::dropped || is_bare(container)) return {};  // one line says it
  for (const Container other : {Container::matroska, Container::mov, Container::mp4}) {
    const Fate there = fate_in(format, stream, other).fate;
    if (other != container && there != Fate::dropped) {
      return fmt::format("{} cannot hold {}, which is left out: {} ({}) keeps it.",
                         name_of(container), describe_stream(stream), name_of(other),
                         extension_of(other));
    }
  }
  return fmt::format(
      "{} cannot hold {}, which is left out; neither can MP4, MOV or Matroska, so "
      "keep the input for it.",
      name_of(container), describe_stream(stream));
}

}  // namespace

const char* muxer_name(Container container) {
  switch (container) {
    case Container::mp4: return "mp4";
    case Container::mov: return "mov";
    case Container::matroska: return "matroska";
    case Container::webm: return "webm";
    case Container::mpegts: return "mpegts";
    case Container::gif: return "gif";
    case Container::png:
    case Container::jpeg: break;  // no muxer: see picture_files.h
  }
  return "";
}

const char* name_of(Container container) {
  switch (container) {
    case Container::mp4: return "MP4";
    case Container::mov: return "MOV";
    case Container::matroska: return "Matroska";
    case Container::webm: return "WebM";
    case Container::mpegts: return "MPEG-TS";
    case Container::gif: return "GIF";
    case Container::png: return "A sequence of PNG files";
    case Container::jpeg: return "A sequence of JPEG files";
  }
  return "";
}

const char* extension_of(Container container) {
  switch (container) {
    case Container::mp4: return ".mp4";
    case Container::mov: return ".mov";
    case Container::matroska: return ".mkv";
    case Container::webm: return ".webm";
    case Container::mpegts: return ".ts";
    case Container::gif: return ".gif";
    case Container::png: return "%06d.png";
    case Container::jpeg: return "%06d.jpg";
  }
  return "";
}

bool is_movie(Container container) {
  return container == Container::mp4 || container == Container::mov;
}

bool is_bare(Container container) { return container == Container::gif || is_pictures(container); }

bool is_matroska(Container container) {
  return container == Container::matroska || container == Container::webm;
}

std::span<const std::string_view> codecs_of(Container container) {
  static constexpr std::array<std::string_view, 6> kMp4 = {"libx264",    "libx265",    "libsvtav1",
                                                           "libaom-av1", "libvpx-vp9", "mjpeg"};
  static constexpr std::array<std::string_view, 5> kMov = {"libx264", "libx265", "prores_ks",
                                                           "ffv1", "mjpeg"};
  static constexpr std::array<std::string_view, 8> kMatroska = {
      "libx264", "libx265", "libsvtav1", "libaom-av1", "libvpx-vp9", "prores_ks", "ffv1", "mjpeg"};
  static constexpr std::array<std::string_view, 3> kWebm = {"libvpx-vp9", "libsvtav1",
                                                            "libaom-av1"};
  static constexpr std::array<std::string_view, 2> kTransport = {"libx264", "libx265"};
  static constexpr std::array<std::string_view, 1> kGif = {"gif"};
  static constexpr std::array<std::string_view, 1> kPng = {"png"};
  static constexpr std::array<std::string_view, 1> kJpeg = {"mjpeg"};
  switch (container) {
    case Container::mp4: return kMp4;
    case Container::mov: return kMov;
    case Container::matroska: return kMatroska;
    case Container::webm: return kWebm;
    case Container::mpegts: return kTransport;
    case Container::gif: return kGif;
    case Container::png: return kPng;
    case Container::jpeg: return kJpeg;
  }
  return {};
}

bool holds_codec(Container container, std::string_view encoder) {
  const auto codecs = codecs_of(container);
  return std::find(codecs.begin(), codecs.end(), encoder) != codecs.end();
}

uint32_t tag_for(const AVOutputFormat& muxer, const AVCodecParameters& parameters) {
  unsigned int own = 0;
  if (!muxer.codec_tag || parameters.codec_tag == 0) return parameters.codec_tag;
  const bool known = av_codec_get_id(muxer.codec_tag, parameters.codec_tag) == parameters.codec_id;
  if (known || !av_codec_get_tag2(muxer.codec_tag, parameters.codec_id, &own)) {
    return parameters.codec_tag;
  }
  return 0;
}

std::string picture_type(AVCodecID codec) {
  switch (codec) {
    case AV_CODEC_ID_MJPEG: return "image/jpeg";
    case AV_CODEC_ID_PNG: return "image/png";
    case AV_CODEC_ID_BMP: return "image/bmp";
    default: return {};
  }
}

std::vector<StreamFate> stream_fates(const Input& input, Container container, int scored) {
  const AVFormatContext& format = *input.get();
  std::vector<StreamFate> fates(format.nb_streams);
  for (unsigned i = 0; i < format.nb_streams; ++i) {
    const AVStream& stream = *format.streams[i];
    if (static_cast<int>(i) == scored) {
      fates[i].fate = Fate::scored;
      continue;
    }
    fates[i] = fate_in(format, stream, container);
    fates[i].note = note_for(format, stream, container, fates[i]);
  }
  return fates;
}

namespace {

// One "%d" or "%06d" and no other percent sign.
bool has_number(const std::string& name) {
  const size_t percent = name.find('%');
  if (percent == std::string::npos || name.find('%', percent + 1) != std::string::npos) {
    return false;
  }
  const size_t letter = name.find_first_not_of("0123456789", percent + 1);
  return letter != std::string::npos && name[letter] == 'd' && letter - percent <= 3;
}

}  // namespace

Result<Container> container_of(const std::filesystem::path& output) {
  std::string extension = output.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (extension == ".mp4" || extension == ".m4v") return Container::mp4;
  if (extension == ".mov") return Container::mov;
  if (extension == ".mkv") return Container::matroska;
  if (extension == ".webm") return Container::webm;
  if (extension == ".ts") return Container::mpegts;
  if (extension == ".gif") return Container::gif;
  const bool numbered = has_number(output.filename().string());
  if (extension == ".png" && numbered) return Container::png;
  if ((extension == ".jpg" || extension == ".jpeg") && numbered) return Container::jpeg;
  return make_error(Code::invalid_argument,
                    "Cannot write '{}': the output's name must end in .mp4 (or .m4v), .mov, .mkv, "
                    ".webm, .ts or .gif, or be like %06d.png or %06d.jpg.",
                    output.string());
}

namespace {

bool has_own_tags(const AVDictionary* tags) {
  const AVDictionaryEntry* entry = nullptr;
  while ((entry = av_dict_get(tags, "", entry, AV_DICT_IGNORE_SUFFIX))) {
    static constexpr std::array<std::string_view, 6> kNone = {
        "language", "encoder", "major_brand", "minor_version", "compatible_brands", "handler_name"};
    if (std::find(kNone.begin(), kNone.end(), entry->key) == kNone.end()) return true;
  }
  return false;
}

// A transport stream is for sending: it describes little besides the streams themselves.
std::string lost_in_transport(const AVFormatContext& format) {
  bool tags = has_own_tags(format.metadata);
  bool turned = false;
  for (unsigned i = 0; i < format.nb_streams; ++i) {
    const AVStream& stream = *format.streams[i];
    tags = tags || has_own_tags(stream.metadata);
    turned = turned || av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, nullptr);
  }
  std::vector<std::string_view> lost;
  if (turned) lost.emplace_back("the rotation");
  if (format.nb_chapters > 0) lost.emplace_back("chapters");
  if (tags) lost.emplace_back("titles and tags");
  if (lost.empty()) return {};
  return fmt::format("MPEG-TS has no place for {}, left out here: Matroska (.mkv) keeps them.",
                     fmt::join(lost, ", "));
}

// Everything else there is, in one line.
std::string lost_in_pictures(const AVFormatContext& format, Container container) {
  const unsigned others = format.nb_streams - 1;
  bool turned = false;
  for (unsigned i = 0; i < format.nb_streams; ++i) {
    turned =
        turned || av_stream_get_side_data(format.streams[i], AV_PKT_DATA_DISPLAYMATRIX, nullptr);
  }
  std::vector<std::string> lost;
  if (is_pictures(container)) lost.emplace_back("the frames' times");
  if (others > 0) lost.push_back(fmt::format("the other {}", others == 1 ? "stream" : "streams"));
  if (turned) lost.emplace_back("the rotation");
  if (lost.empty()) return {};
  return fmt::format("{} holds pictures alone; left out: {}; Matroska (.mkv) keeps all.",
                     name_of(container), fmt::join(lost, ", "));
}

}  // namespace

Result<ContainerFit> fit_container(ByteSource& source, const MediaInfo& info, Container container,
                                   const std::string& video_codec) {
  std::unique_ptr<Input> input = TRY(Input::open(source, "The input"));
  ContainerFit fit;
  const std::vector<StreamFate> fates = stream_fates(*input, container, info.video_stream);
  for (size_t i = 0; i < fates.size(); ++i) {
    if (fates[i].fate == Fate::dropped) fit.dropped_streams.push_back(static_cast<int>(i));
    if (fates[i].fate == Fate::converted) fit.converted_streams.push_back(static_cast<int>(i));
    if (!fates[i].note.empty()) fit.notes.push_back(fates[i].note);
  }
  const StreamInfo& scored = info.streams.at(static_cast<size_t>(info.video_stream));
  if (container == Container::mov && video_codec == "ffv1" &&
      scored.video.color.range == ColorSpec::Range::full) {
    fit.notes.push_back(
        "MOV cannot say that ffv1 video has the full range, and players will take it for limited: "
        "Matroska (.mkv) keeps it.");
  }
  if (is_bare(container)) {
    const std::string lost = lost_in_pictures(*input->get(), container);
    if (!lost.empty()) fit.notes.push_back(lost);
  }
  if (container == Container::mpegts) {
    const std::string lost = lost_in_transport(*input->get());
    if (!lost.empty()) fit.notes.push_back(lost);
  }
  return fit;
}

}  // namespace atelier::media
