// SPDX-License-Identifier: Apache-2.0
#include "media/av.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>

extern "C" {
#include <libavutil/error.h>
}

namespace atelier::media {

PacketPtr make_packet() {
  PacketPtr packet(av_packet_alloc());
  if (!packet) throw std::bad_alloc();
  return packet;
}

FramePtr make_frame() {
  FramePtr frame(av_frame_alloc());
  if (!frame) throw std::bad_alloc();
  return frame;
}

std::string describe_av(int error) {
  std::array<char, AV_ERROR_MAX_STRING_SIZE> text{};
  av_strerror(error, text.data(), text.size());
  return text.data();
}

Code code_of_av(int error, Code otherwise) {
  if (error == AVERROR(ENOSPC) || error == AVERROR(EDQUOT) || error == AVERROR(EFBIG)) {
    return Code::no_space;
  }
  if (error == AVERROR_EXIT) return Code::cancelled;
  return otherwise;
}

bool announces_alpha(const AVStream& stream) {
  const AVCodecID codec = stream.codecpar->codec_id;
  const AVDictionaryEntry* mode = av_dict_get(stream.metadata, "alpha_mode", nullptr, 0);
  return (codec == AV_CODEC_ID_VP8 || codec == AV_CODEC_ID_VP9) && mode &&
         std::string_view(mode->value) == "1";
}

const AVCodec* video_decoder(const AVStream& stream) {
  const AVCodecID id = stream.codecpar->codec_id;
  const AVCodec* codec = nullptr;
  if (announces_alpha(stream)) {
    codec = avcodec_find_decoder_by_name(id == AV_CODEC_ID_VP8 ? "libvpx" : "libvpx-vp9");
  }
  return codec ? codec : avcodec_find_decoder(id);
}

namespace {

// Decoders put numbers of a damaged file into libav's enums, where C++ may not even look at them.
template <class Enum>
int number_of(const Enum& value) {
  static_assert(sizeof(Enum) == sizeof(int));
  int number = 0;
  std::memcpy(&number, &value, sizeof number);
  return number;
}

// What H.273 and libav know; anything else is as good as nothing (2, or 0 where 0 says so).
template <class Enum>
int known(const Enum& value, Enum end, int unknown = 2) {
  const int number = number_of(value);
  return number >= 0 && number < number_of(end) ? number : unknown;
}

template <class T>
ColorSpec color_from(const T& object, const AVColorSpace& matrix, const AVChromaLocation& siting) {
  ColorSpec color;
  color.matrix = static_cast<uint8_t>(known(matrix, AVCOL_SPC_NB));
  color.primaries = static_cast<uint8_t>(known(object.color_primaries, AVCOL_PRI_NB));
  color.transfer = static_cast<uint8_t>(known(object.color_trc, AVCOL_TRC_NB));
  color.range = static_cast<ColorSpec::Range>(known(object.color_range, AVCOL_RANGE_NB, 0));
  color.siting = static_cast<ColorSpec::Siting>(known(siting, AVCHROMA_LOC_NB, 0));
  return color;
}

// libav's old way to say "full range" was the pixel format.
bool is_full_range_alias(int format) {
  return format == AV_PIX_FMT_YUVJ420P || format == AV_PIX_FMT_YUVJ422P ||
         format == AV_PIX_FMT_YUVJ444P || format == AV_PIX_FMT_YUVJ440P ||
         format == AV_PIX_FMT_YUVJ411P;
}

// One component a plane, in the low bits of native 8- or 16-bit units: what FrameView can show.
bool is_plain_planar(AVPixelFormat format) {
  const AVPixFmtDescriptor* d = av_pix_fmt_desc_get(format);
  constexpr uint64_t kNever = AV_PIX_FMT_FLAG_BITSTREAM | AV_PIX_FMT_FLAG_PAL |
                              AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_FLOAT |
                              AV_PIX_FMT_FLAG_BAYER;
  if (!d || (d->flags & kNever) || is_full_range_alias(format) || d->nb_components == 2) {
    return false;
  }
  if (std::string_view(d->name).starts_with("xyz")) return false;
  const int depth = d->comp[0].depth;
  if (depth < 8 || depth > 16) return false;
  // Every host Atelier is built for is little endian.
  if (depth > 8 && (d->flags & AV_PIX_FMT_FLAG_BE)) return false;
  unsigned planes = 0;
  for (int c = 0; c < d->nb_components; ++c) {
    const AVComponentDescriptor& comp = d->comp[c];
    if (comp.depth != depth || comp.shift != 0 || comp.offset != 0 ||
        comp.step != (depth > 8 ? 2 : 1) || (planes & (1U << comp.plane))) {
      return false;
    }
    planes |= 1U << comp.plane;
  }
  return true;
}

PixelFormat describe_any(const AVPixFmtDescriptor& d) {
  PixelFormat format;
  const bool palette = d.flags & AV_PIX_FMT_FLAG_PAL;
  if (palette || (d.flags & AV_PIX_FMT_FLAG_RGB)) {
    format.family = PixelFormat::Family::rgb;
  } else {
    format.family = d.nb_components <= 2 ? PixelFormat::Family::gray : PixelFormat::Family::yuv;
  }
  int depth = 8;
  for (int c = 0; c < d.nb_components; ++c) depth = std::max(depth, d.comp[c].depth);
  format.depth = static_cast<uint8_t>(depth);
  const bool yuv = format.family == PixelFormat::Family::yuv;
  format.chroma_shift_x = yuv ? d.log2_chroma_w : 0;
  format.chroma_shift_y = yuv ? d.log2_chroma_h : 0;
  format.alpha = palette || (d.flags & AV_PIX_FMT_FLAG_ALPHA);
  return format;
}

}  // namespace

ColorSpec color_of(const AVFrame& frame) {
  ColorSpec color = color_from(frame, frame.colorspace, frame.chroma_location);
  if (is_full_range_alias(frame.format)) color.range = ColorSpec::Range::full;
  return color;
}

ColorSpec color_of(const AVCodecParameters& parameters) {
  ColorSpec color = color_from(parameters, parameters.color_space, parameters.chroma_location);
  if (is_full_range_alias(parameters.format)) color.range = ColorSpec::Range::full;
  return color;
}

PixelFormat describe(AVPixelFormat planar) {
  const AVPixFmtDescriptor* d = av_pix_fmt_desc_get(planar);
  return d ? describe_any(*d) : PixelFormat{};
}

AVPixelFormat to_av(const PixelFormat& format) {
  for (const AVPixFmtDescriptor* d = av_pix_fmt_desc_next(nullptr); d;
       d = av_pix_fmt_desc_next(d)) {
    const AVPixelFormat id = av_pix_fmt_desc_get_id(d);
    if (is_plain_planar(id) && describe_any(*d) == format) return id;
  }
  return AV_PIX_FMT_NONE;
}

AVPixelFormat planar_equivalent(AVPixelFormat format) {
  if (is_plain_planar(format)) return format;
  const AVPixFmtDescriptor* d = av_pix_fmt_desc_get(format);
  constexpr uint64_t kNever =
      AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_FLOAT | AV_PIX_FMT_FLAG_BAYER;
  if (!d || (d->flags & kNever) || std::string_view(d->name).starts_with("xyz")) {
    return AV_PIX_FMT_NONE;
  }
  PixelFormat wanted = describe_any(*d);
  if (wanted.family == PixelFormat::Family::gray && wanted.alpha) {
    // libav has no planar gray with alpha.
    wanted.family = PixelFormat::Family::yuv;
    wanted.chroma_shift_x = wanted.chroma_shift_y = 0;
  }
  return to_av(wanted);
}

}  // namespace atelier::media
