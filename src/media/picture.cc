// SPDX-License-Identifier: Apache-2.0
#include "media/picture.h"

extern "C" {
#include <libavutil/opt.h>
}

#include <algorithm>
#include <cmath>
#include <new>

#include "media/av.h"
#include "media/to_rgb.h"

namespace atelier::media {
namespace {

Error refused(const char* what, int error) {
  return Error{code_of_av(error, Code::internal),
               fmt::format("A picture cannot be encoded as {}: {}.", what, describe_av(error))};
}

Result<FramePtr> make_picture(AVPixelFormat format, int width, int height) {
  FramePtr picture = make_frame();
  picture->format = format;
  picture->width = width;
  picture->height = height;
  const int error = av_frame_get_buffer(picture.get(), 0);
  if (error == AVERROR(ENOMEM)) throw std::bad_alloc();
  if (error < 0) return refused("such a size", error);
  return picture;
}

// `quantiser` 1 to 31, or 0 for a codec without one.
Result<std::vector<std::byte>> encode(AVCodecID id, AVFrame& picture, int quantiser) {
  const AVCodec* codec = avcodec_find_encoder(id);
  if (!codec) {
    return make_error(Code::internal, "This build of libavcodec has no {} encoder.",
                      avcodec_get_name(id));
  }
  CodecContextPtr context(avcodec_alloc_context3(codec));
  if (!context) throw std::bad_alloc();
  context->width = picture.width;
  context->height = picture.height;
  context->pix_fmt = static_cast<AVPixelFormat>(picture.format);
  context->time_base = {1, 1};
  context->thread_count = 1;
  context->flags |= AV_CODEC_FLAG_BITEXACT;
  if (quantiser > 0) {
    context->color_range = AVCOL_RANGE_JPEG;
    context->flags |= AV_CODEC_FLAG_QSCALE;
    context->qmin = 1;
    context->global_quality = FF_QP2LAMBDA * quantiser;
    picture.quality = context->global_quality;
  } else {
    // Painted frames hardly get smaller above this, only slower.
    context->compression_level = 3;
    av_opt_set(context->priv_data, "pred", "up", 0);
  }
  int error = avcodec_open2(context.get(), codec, nullptr);
  if (error < 0) return refused(codec->name, error);
  picture.pts = 0;
  const PacketPtr packet = make_packet();
  error = avcodec_send_frame(context.get(), &picture);
  if (error >= 0) error = avcodec_send_frame(context.get(), nullptr);
  if (error >= 0) error = avcodec_receive_packet(context.get(), packet.get());
  if (error < 0) return refused(codec->name, error);
  const auto* bytes = reinterpret_cast<const std::byte*>(packet->data);
  return std::vector<std::byte>(bytes, bytes + packet->size);
}

template <class T>
const T* row_of(const FrameView& frame, size_t p, int y) {
  return reinterpret_cast<const T*>(frame.plane[p].data + frame.plane[p].stride * y);
}

uint8_t* row_of(AVFrame& picture, int p, int y) {
  return picture.data[p] + static_cast<ptrdiff_t>(picture.linesize[p]) * y;
}

// PNG's samples: R, G, B in turn, the high byte first.
void interleave(const FrameView& rgb, AVFrame& picture) {
  for (int y = 0; y < rgb.height; ++y) {
    uint8_t* out = row_of(picture, 0, y);
    for (int x = 0; x < rgb.width; ++x) {
      for (size_t p = 0; p < 3; ++p) {
        if (rgb.format.depth == 8) {
          *out++ = row_of<uint8_t>(rgb, p, y)[x];
        } else {
          const uint16_t v = row_of<uint16_t>(rgb, p, y)[x];
          *out++ = static_cast<uint8_t>(v >> 8);
          *out++ = static_cast<uint8_t>(v & 255);
        }
      }
    }
  }
}

// JFIF 1.02: BT.601, all 256 levels.
void to_jfif(const FrameView& rgb, AVFrame& picture) {
  const auto code = [](double v) { return static_cast<uint8_t>(std::clamp(v + 0.5, 0.0, 255.0)); };
  for (int y = 0; y < rgb.height; ++y) {
    for (int x = 0; x < rgb.width; ++x) {
      const double r = row_of<uint8_t>(rgb, 0, y)[x];
      const double g = row_of<uint8_t>(rgb, 1, y)[x];
      const double b = row_of<uint8_t>(rgb, 2, y)[x];
      const double luma = 0.299 * r + 0.587 * g + 0.114 * b;
      row_of(picture, 0, y)[x] = code(luma);
      row_of(picture, 1, y)[x] = code(128 + (b - luma) / 1.772);
      row_of(picture, 2, y)[x] = code(128 + (r - luma) / 1.402);
    }
  }
}

// libjpeg scales its tables by (200 - 2Q)% from quality 50 up and by 5000/Q% below; libav's
// quantiser 8 is about the unscaled table.
int quantiser_of(int quality) {
  const double q = std::clamp(quality, 1, 100);
  const double scaled = q >= 50 ? (200 - 2 * q) / 100 : 50 / q;
  return std::clamp(static_cast<int>(std::lround(8 * scaled)), 1, 31);
}

}  // namespace

Result<std::vector<std::byte>> encode_png(const FrameView& frame) {
  const int depth = frame.format.depth > 8 ? 16 : 8;
  const FrameBuffer rgb = TRY(to_rgb(frame, frame.width, frame.height, depth));
  const FramePtr picture = TRY(
      make_picture(depth > 8 ? AV_PIX_FMT_RGB48BE : AV_PIX_FMT_RGB24, frame.width, frame.height));
  interleave(rgb.view(), *picture);
  return encode(AV_CODEC_ID_PNG, *picture, 0);
}

Result<std::vector<std::byte>> encode_jpeg(const FrameView& frame, int quality) {
  const FrameBuffer rgb = TRY(to_rgb(frame, frame.width, frame.height, 8));
  const FramePtr picture = TRY(make_picture(AV_PIX_FMT_YUVJ444P, frame.width, frame.height));
  to_jfif(rgb.view(), *picture);
  return encode(AV_CODEC_ID_MJPEG, *picture, quantiser_of(quality));
}

}  // namespace atelier::media
