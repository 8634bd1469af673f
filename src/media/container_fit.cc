// SPDX-License-Identifier: Apache-2.0
// libav's own table (avformat_query_codec) says yes to much that its muxers then refuse, so each
// stream is tried: a header with that stream alone is written into memory.
#include "media/container_fit.h"

#include <algorithm>
#include <array>
#include <cctype>

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

const char* name_of(Container container) {
  switch (container) {
    case Container::mp4: return "MP4";
    case Container::mov: return "MOV";
    case Container::matroska: return "Matroska";
  }
  return "";
}

const char* extension_of(Container container) {
  switch (container) {
    case Container::mp4: return ".mp4";
    case Container::mov: return ".mov";
    case Container::matroska: return ".mkv";
  }
  return "";
}

AVCodecID text_codec(Container container) {
  return container == Container::matroska ? AV_CODEC_ID_SUBRIP : AV_CODEC_ID_MOV_TEXT;
}

bool header_works(const AVStream& stream, Container container) {
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
  if (is_chapter_text(format, stream) || is_time_code(stream)) return {Fate::remade, {}, {}};
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
  const bool quicktime = container != Container::matroska;
  const bool foreign_text = parameters.codec_type == AVMEDIA_TYPE_SUBTITLE && quicktime &&
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
  if (fate.fate != Fate::dropped) return {};
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
  }
  return "";
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

Result<Container> container_of(const std::filesystem::path& output) {
  std::string extension = output.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (extension == ".mp4" || extension == ".m4v") return Container::mp4;
  if (extension == ".mov") return Container::mov;
  if (extension == ".mkv") return Container::matroska;
  return make_error(Code::invalid_argument,
                    "Cannot write '{}': the output's name must end in .mp4 (or .m4v), .mov or "
                    ".mkv.",
                    output.string());
}

Result<ContainerFit> fit_container(ByteSource& source, const MediaInfo& info, Container container,
                                   const std::string& video_codec) {
  if (video_codec == "ffv1" && container == Container::mp4) {
    return make_error(Code::invalid_argument,
                      "MP4 cannot hold ffv1 video: write to a .mkv file, or use libx264.");
  }
  std::unique_ptr<Input> input = TRY(Input::open(source, "The input"));
  ContainerFit fit;
  const std::vector<StreamFate> fates = stream_fates(*input, container, info.video_stream);
  for (size_t i = 0; i < fates.size(); ++i) {
    if (fates[i].fate == Fate::dropped) fit.dropped_streams.push_back(static_cast<int>(i));
    if (fates[i].fate == Fate::converted) fit.converted_streams.push_back(static_cast<int>(i));
    if (!fates[i].note.empty()) fit.notes.push_back(fates[i].note);
  }
  return fit;
}

}  // namespace atelier::media
