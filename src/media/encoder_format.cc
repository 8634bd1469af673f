// SPDX-License-Identifier: Apache-2.0
// Which pixel format an encoder gets. The formats an encoder has are asked of libav at run time: a
// libx264 can be built for 8 bits alone.
#include "media/encoder_format.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <tuple>

#include "media/av.h"
#include "media/encoder_table.h"
#include "media/frame_writer.h"

namespace atelier::media {
namespace {

using Family = PixelFormat::Family;

// What changing `wanted` into `have` costs, worst first; less is better.
using Cost = std::tuple<bool, int, int, int, bool, int, int>;

int family_cost(Family wanted, Family have) {
  if (wanted == have) return 0;
  if (wanted == Family::gray) return have == Family::yuv ? 1 : 2;
  if (have == Family::gray) return 100;
  return 10;  // a matrix, rounded
}

Cost cost_of(const PixelFormat& wanted, const PixelFormat& have) {
  // Of gray, no chroma can be lost, and 4:2:0 is what every player shows.
  const bool gray = wanted.family == Family::gray;
  const int want_x = gray ? 1 : wanted.chroma_shift_x;
  const int want_y = gray ? 1 : wanted.chroma_shift_y;
  const int have_x = have.chroma_shift_x;
  const int have_y = have.chroma_shift_y;
  return {wanted.alpha && !have.alpha,
          family_cost(wanted.family, have.family),
          std::max(0, wanted.depth - have.depth),
          std::max(0, have_x - want_x) + std::max(0, have_y - want_y),
          have.alpha && !wanted.alpha,
          std::max(0, have.depth - wanted.depth),
          std::max(0, want_x - have_x) + std::max(0, want_y - have_y)};
}

bool holds_size(const PixelFormat& format, int width, int height) {
  return (width % (1 << format.chroma_shift_x)) == 0 &&
         (height % (1 << format.chroma_shift_y)) == 0;
}

const char* subsampling_name(const PixelFormat& format) {
  if (format.chroma_shift_x == 0) return format.chroma_shift_y == 0 ? "4:4:4" : "4:4:0";
  if (format.chroma_shift_x == 1) return format.chroma_shift_y == 0 ? "4:2:2" : "4:2:0";
  return "4:1:1";
}

std::string what_is_lost(const EncoderTraits& encoder, const PixelFormat& wanted,
                         const PixelFormat& got, bool odd) {
  const std::string_view codec = encoder.name;
  std::string note;
  const auto add = [&](std::string text) { note += (note.empty() ? "" : " ") + std::move(text); };
  if (wanted.alpha && !got.alpha) {
    add(
        fmt::format("{} has no transparency: the alpha channel is dropped; '--codec ffv1' keeps it "
                    "in Matroska.",
                    codec));
  }
  const bool from_rgb = wanted.family == Family::rgb && got.family == Family::yuv;
  if (from_rgb) {
    add(fmt::format("{} stores RGB as Y'CbCr {}; '--codec ffv1' keeps RGB.", codec,
                    subsampling_name(got)));
  }
  if (got.depth < wanted.depth) {
    add(fmt::format("{} holds {} of the video's {} bits a sample.", codec, got.depth,
                    wanted.depth));
  }
  if (odd && wanted.family == Family::yuv && got.family == Family::yuv) {
    add(
        fmt::format("{} has no {} with an odd size: it is written as {}, which some players "
                    "cannot show; an even '--size' avoids that.",
                    encoder.family, subsampling_name(wanted), subsampling_name(got)));
  }
  if (wanted.family == Family::yuv && got.family == Family::yuv &&
      (got.chroma_shift_x > wanted.chroma_shift_x || got.chroma_shift_y > wanted.chroma_shift_y)) {
    add(
        fmt::format("{} holds no {} of this depth: the colours are written as {}; '--codec ffv1' "
                    "keeps them in Matroska.",
                    codec, subsampling_name(wanted), subsampling_name(got)));
  }
  return note;
}

// Planar, what FrameView can show; the packed formats only where the writer packs.
std::optional<PixelFormat> view_format(AVPixelFormat format) {
  if (format == AV_PIX_FMT_BGR0) return PixelFormat{Family::rgb, 8, 0, 0, false};
  if (format == AV_PIX_FMT_BGRA) return PixelFormat{Family::rgb, 8, 0, 0, true};
  if (format == AV_PIX_FMT_RGB24) return PixelFormat{Family::rgb, 8, 0, 0, false};
  if (format == AV_PIX_FMT_RGBA) return PixelFormat{Family::rgb, 8, 0, 0, true};
  if (format == AV_PIX_FMT_RGB48BE) return PixelFormat{Family::rgb, 16, 0, 0, false};
  if (format == AV_PIX_FMT_RGBA64BE) return PixelFormat{Family::rgb, 16, 0, 0, true};
  const PixelFormat described = describe(format);
  if (to_av(described) != format) return std::nullopt;
  return described;
}

}  // namespace

Result<const AVCodec*> find_encoder(const std::string& name) {
  if (!find_traits(name)) {
    return make_error(Code::invalid_argument, "There is no encoder '{}': use one of {}.", name,
                      encoder_names());
  }
  const AVCodec* codec = avcodec_find_encoder_by_name(name.c_str());
  if (!codec || !codec->pix_fmts) {
    return make_error(Code::invalid_argument,
                      "This libav was built without the encoder '{}': use another --codec.", name);
  }
  return codec;
}

AVPixelFormat encoder_pixel_format(const AVCodec& codec, const PixelFormat& format) {
  if (codec.id == AV_CODEC_ID_GIF) {
    const bool whole = format.family == Family::rgb && format.depth == 8;
    return whole ? AV_PIX_FMT_PAL8 : AV_PIX_FMT_NONE;
  }
  for (const AVPixelFormat* p = codec.pix_fmts; *p != AV_PIX_FMT_NONE; ++p) {
    if (view_format(*p) == format) return *p;
  }
  return AV_PIX_FMT_NONE;
}

namespace {

// Whether the encoder can be given pictures of this format and size, and players show the result.
bool usable(const EncoderTraits& encoder, const PixelFormat& format, int width, int height) {
  if (format.family == Family::gray && !encoder.takes_gray) return false;
  if (format.family == Family::rgb && !encoder.takes_rgb) return false;
  // libav packs VP9's transparency beside the packets, where chunks cannot keep it.
  if (format.alpha && encoder.name == "libvpx-vp9") return false;
  // FFV1 loses a column of 4:1:1 whose width is no multiple of 4 (seen in libav 5.1).
  const bool whole_chroma = encoder.whole_chroma || format.chroma_shift_x > 1;
  return !whole_chroma || holds_size(format, width, height);
}

Result<void> check_size(const EncoderTraits& encoder, int width, int height) {
  // x265 3.5 writes beyond its buffers where a row has less than 64 luma samples (seen by glibc's
  // malloc checks at 32x32, 34x64 and 48x34; not at 64x18).
  const int narrowest = encoder.name == "libx265" ? 64 : encoder.smallest_side;
  const bool small =
      width > 0 && height > 0 && (width < narrowest || height < encoder.smallest_side);
  const bool odd = encoder.name == "libsvtav1" && (width % 2 != 0 || height % 2 != 0);
  if (!small && !odd) return {};
  return make_error(Code::invalid_argument,
                    "{} takes {}pictures of {}x{} and more, and these have {}x{}: use another "
                    "--size, or --codec {}.",
                    encoder.name, odd ? "even " : "", narrowest, encoder.smallest_side, width,
                    height, encoder.name == "libsvtav1" ? "libaom-av1" : "libx264");
}

}  // namespace

void close_encoder(CodecContextPtr encoder, bool fed) {
  if (!encoder || std::string_view(encoder->codec->name) != "libsvtav1") return;
  if (!fed) {
    const FramePtr frame = make_frame();
    frame->format = encoder->pix_fmt;
    frame->width = encoder->width;
    frame->height = encoder->height;
    frame->pts = 0;
    if (av_frame_get_buffer(frame.get(), 0) < 0) throw std::bad_alloc();
    for (const AVBufferRef* buffer : frame->buf) {
      if (buffer) std::memset(buffer->data, 0, buffer->size);
    }
    (void)avcodec_send_frame(encoder.get(), frame.get());
  }
  (void)avcodec_send_frame(encoder.get(), nullptr);
  const PacketPtr packet = make_packet();
  while (avcodec_receive_packet(encoder.get(), packet.get()) >= 0) av_packet_unref(packet.get());
}

Result<FormatChoice> choose_format(const std::string& codec, const PixelFormat& wanted, int width,
                                   int height) {
  const AVCodec* encoder = TRY(find_encoder(codec));
  const EncoderTraits& traits = *find_traits(codec);
  TRY(check_size(traits, width, height));
  if (encoder->id == AV_CODEC_ID_GIF) {
    return FormatChoice{{Family::rgb, 8, 0, 0, wanted.alpha},
                        "GIF holds 256 colours a picture: each frame gets those that fit it best."};
  }
  std::optional<PixelFormat> best;
  for (const AVPixelFormat* p = encoder->pix_fmts; *p != AV_PIX_FMT_NONE; ++p) {
    const std::optional<PixelFormat> have = view_format(*p);
    if (!have || !usable(traits, *have, width, height)) continue;
    if (!best || cost_of(wanted, *have) < cost_of(wanted, *best)) best = have;
  }
  if (!best) {
    return make_error(Code::internal, "The encoder '{}' of this libav has no usable pixel format.",
                      codec);
  }
  const bool odd = traits.whole_chroma && !holds_size(wanted, width, height);
  return FormatChoice{*best, what_is_lost(traits, wanted, *best, odd)};
}

}  // namespace atelier::media
