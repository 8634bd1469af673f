// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdarg>
#include <cstdio>

#include "media/av.h"
#include "media/media_info.h"

extern "C" {
#include <libavfilter/avfilter.h>
#include <libavutil/display.h>
#include <libswscale/swscale.h>
}

namespace atelier::media {
namespace {

StreamKind kind_of(AVMediaType type) {
  switch (type) {
    case AVMEDIA_TYPE_VIDEO: return StreamKind::video;
    case AVMEDIA_TYPE_AUDIO: return StreamKind::audio;
    case AVMEDIA_TYPE_SUBTITLE: return StreamKind::subtitle;
    case AVMEDIA_TYPE_DATA: return StreamKind::data;
    case AVMEDIA_TYPE_ATTACHMENT: return StreamKind::attachment;
    default: return StreamKind::unknown;
  }
}

std::string tag(const AVDictionary* metadata, const char* key) {
  const AVDictionaryEntry* entry = av_dict_get(metadata, key, nullptr, 0);
  return entry ? entry->value : "";
}

std::vector<std::string> dispositions_of(int disposition) {
  std::vector<std::string> names;
  for (unsigned bit = 0; bit < 31; ++bit) {
    const int flag = 1 << bit;
    const char* name = (disposition & flag) ? av_disposition_to_string(flag) : nullptr;
    if (name) names.emplace_back(name);
  }
  return names;
}

bool is_interlaced(AVFieldOrder order) {
  return order == AV_FIELD_TT || order == AV_FIELD_BB || order == AV_FIELD_TB ||
         order == AV_FIELD_BT;
}

void read_side_data(const AVStream& stream, VideoFacts& video) {
  size_t size = 0;
  const uint8_t* matrix = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
  if (matrix && size >= 9 * sizeof(int32_t)) {
    video.has_display_matrix = true;
    const double counterclockwise =
        av_display_rotation_get(reinterpret_cast<const int32_t*>(matrix));
    if (!std::isnan(counterclockwise)) {
      const double turn = std::fmod(360.0 - std::round(counterclockwise), 360.0);
      video.rotation_degrees = turn;
    }
  }
  video.has_mastering_display =
      av_stream_get_side_data(&stream, AV_PKT_DATA_MASTERING_DISPLAY_METADATA, nullptr);
  video.has_content_light =
      av_stream_get_side_data(&stream, AV_PKT_DATA_CONTENT_LIGHT_LEVEL, nullptr);
}

VideoFacts video_facts(AVFormatContext& format, AVStream& stream) {
  const AVCodecParameters& par = *stream.codecpar;
  VideoFacts video;
  video.width = par.width;
  video.height = par.height;
  video.sample_aspect_ratio = from_av(av_guess_sample_aspect_ratio(&format, &stream, nullptr));
  auto pixels = static_cast<AVPixelFormat>(par.format);
  if (announces_alpha(stream)) {
    const AVCodec* decoder = video_decoder(stream);
    const bool beside = decoder && std::string_view(decoder->name).starts_with("libvpx");
    video.alpha_beside = beside && pixels == AV_PIX_FMT_YUV420P;
    video.alpha_lost = !video.alpha_beside;
    if (video.alpha_beside) pixels = AV_PIX_FMT_YUVA420P;
  }
  if (const char* name = av_get_pix_fmt_name(pixels)) video.source_pixel_format = name;
  const AVPixelFormat planar = planar_equivalent(pixels);
  if (planar != AV_PIX_FMT_NONE) video.format = describe(planar);
  video.color = color_of(par);
  video.interlaced = is_interlaced(par.field_order);
  video.bottom_field_first = par.field_order == AV_FIELD_BB || par.field_order == AV_FIELD_TB;
  // The decoder gives each field as a picture, and says so by the field order alone.
  video.fields_are_pictures = video.interlaced && par.codec_id == AV_CODEC_ID_HEVC;
  video.attached_picture = stream.disposition & AV_DISPOSITION_ATTACHED_PIC;
  video.average_rate = from_av(stream.avg_frame_rate);
  read_side_data(stream, video);
  return video;
}

StreamInfo stream_info(AVFormatContext& format, AVStream& stream) {
  const AVCodecParameters& par = *stream.codecpar;
  StreamInfo info;
  info.index = stream.index;
  info.kind = kind_of(par.codec_type);
  info.codec = avcodec_get_name(par.codec_id);
  info.time_base = from_av(stream.time_base);
  if (stream.duration != AV_NOPTS_VALUE && stream.duration > 0) {
    info.duration_seconds = MediaTime{stream.duration, info.time_base}.seconds();
  }
  info.language = tag(stream.metadata, "language");
  info.title = tag(stream.metadata, "title");
  info.dispositions = dispositions_of(stream.disposition);
  if (info.kind == StreamKind::video) info.video = video_facts(format, stream);
  if (info.kind == StreamKind::audio) {
    info.sample_rate = par.sample_rate;
    info.channels = par.ch_layout.nb_channels;
  }
  return info;
}

// libav's rule with cover art hidden from it.
int best_video(AVFormatContext& format) {
  const int best = av_find_best_stream(&format, AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
  if (best < 0 || !(format.streams[best]->disposition & AV_DISPOSITION_ATTACHED_PIC)) {
    return std::max(best, -1);
  }
  // libav ranks pictures last, so a picture means that there is no film, unless a file of several
  // programs hides it.
  for (unsigned i = 0; i < format.nb_streams; ++i) {
    const AVStream& stream = *format.streams[i];
    if (stream.codecpar->codec_type == AVMEDIA_TYPE_VIDEO &&
        !(stream.disposition & AV_DISPOSITION_ATTACHED_PIC)) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

std::atomic<Log*> libav_log{nullptr};

void send_to_log(void* object, int level, const char* format, va_list args) {
  // libav's debug and trace lines run to thousands a second.
  if (level > AV_LOG_VERBOSE) return;
  Log* log = libav_log.load(std::memory_order_acquire);
  if (!log) return;
  std::array<char, 1024> text{};
  int prefix = 1;
  av_log_format_line2(object, level, format, args, text.data(), static_cast<int>(text.size()),
                      &prefix);
  std::string_view line(text.data());
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
  if (!line.empty()) log->line(LogLevel::debug, line);
}

std::string version_text(unsigned version) {
  return fmt::format("{}.{}.{}", AV_VERSION_MAJOR(version), AV_VERSION_MINOR(version),
                     AV_VERSION_MICRO(version));
}

}  // namespace

const char* to_string(StreamKind kind) {
  switch (kind) {
    case StreamKind::video: return "video";
    case StreamKind::audio: return "audio";
    case StreamKind::subtitle: return "subtitle";
    case StreamKind::data: return "data";
    case StreamKind::attachment: return "attachment";
    case StreamKind::unknown: break;
  }
  return "unknown";
}

Result<MediaInfo> probe(ByteSource& source, std::string_view name) {
  auto input = TRY(Input::open(source, name));
  AVFormatContext& format = *input->get();
  MediaInfo info;
  info.container = format.iformat->name;
  if (format.duration != AV_NOPTS_VALUE && format.duration > 0) {
    info.duration_seconds = static_cast<double>(format.duration) / AV_TIME_BASE;
  }
  for (unsigned i = 0; i < format.nb_streams; ++i) {
    info.streams.push_back(stream_info(format, *format.streams[i]));
  }
  info.chapters = format.nb_chapters;
  const AVDictionaryEntry* entry = nullptr;
  while ((entry = av_dict_get(format.metadata, "", entry, AV_DICT_IGNORE_SUFFIX))) {
    info.metadata[entry->key] = entry->value;
  }
  info.video_stream = best_video(format);
  return info;
}

void route_libav_log(Log& log) {
  libav_log.store(&log, std::memory_order_release);
  av_log_set_callback(&send_to_log);
}

std::map<std::string, std::string> library_versions() {
  return {{"libavcodec", version_text(avcodec_version())},
          {"libavfilter", version_text(avfilter_version())},
          {"libavformat", version_text(avformat_version())},
          {"libavutil", version_text(avutil_version())},
          {"libswscale", version_text(swscale_version())}};
}

}  // namespace atelier::media
