// SPDX-License-Identifier: Apache-2.0
// Private to src/media: the only place where libav's objects get owners, its codes become ours, and
// its reads go through a ByteSource.
#pragma once

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/avutil.h>
#include <libavutil/pixdesc.h>
}

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/frame.h"
#include "base/result.h"
#include "base/time.h"

namespace atelier::media {

struct AvDelete {
  void operator()(AVPacket* p) const { av_packet_free(&p); }
  void operator()(AVFrame* p) const { av_frame_free(&p); }
  void operator()(AVCodecContext* p) const { avcodec_free_context(&p); }
  void operator()(AVCodecParameters* p) const { avcodec_parameters_free(&p); }
};
using PacketPtr = std::unique_ptr<AVPacket, AvDelete>;
using FramePtr = std::unique_ptr<AVFrame, AvDelete>;
using CodecContextPtr = std::unique_ptr<AVCodecContext, AvDelete>;
using CodecParametersPtr = std::unique_ptr<AVCodecParameters, AvDelete>;

PacketPtr make_packet();  // never null: throws bad_alloc
FramePtr make_frame();

// "Invalid data found when processing input" for AVERROR_INVALIDDATA.
std::string describe_av(int error);
// Maps AVERROR(ENOSPC) to no_space, AVERROR_EXIT to cancelled, otherwise `otherwise`.
Code code_of_av(int error, Code otherwise);

// An opened demuxer over a ByteSource. An error of the source (conflict, unavailable) is kept and
// returned by source_error() instead of libav's generic EIO.
class Input {
 public:
  // `source` must outlive it; `name` is for messages only: the demuxer follows from the bytes, so
  // that every opening of the same bytes sees the same streams. Runs avformat_find_stream_info.
  // Only local, self-contained reading: protocols are off and demuxers that open other files
  // (playlists, manifests, image sequences) are refused.
  // Errors: invalid_input (empty, not media, no usable header), the source's own.
  static Result<std::unique_ptr<Input>> open(ByteSource& source, std::string_view name);
  ~Input();
  Input(const Input&) = delete;
  AVFormatContext* get() const { return format_; }
  AVStream* stream(int index) const { return format_->streams[index]; }
  // The next packet into `packet` (unreferenced first): true, or false at the end of the file.
  // A demuxer error other than the source's own ends the file: false, and truncated() says so.
  Result<bool> read(AVPacket& packet);
  bool truncated() const { return truncated_; }
  // What the source said last, if it failed; for callers that seek by themselves.
  const std::optional<Error>& source_error() const;

 private:
  struct Io;
  Input();
  std::unique_ptr<Io> io_;
  AVFormatContext* format_ = nullptr;
  bool truncated_ = false;
};

// The decoder for a video stream; null when there is none. Alpha of VP8 and VP9 in WebM lies beside
// the picture, and only libvpx looks there, so streams that announce it go to libvpx.
const AVCodec* video_decoder(const AVStream& stream);
// Whether a VP8 or VP9 stream announces alpha beside its pictures.
bool announces_alpha(const AVStream& stream);

inline Rational from_av(AVRational r) { return {r.num, r.den}; }
inline AVRational to_av(Rational r) { return {r.num, r.den}; }

ColorSpec color_of(const AVFrame& frame);
ColorSpec color_of(const AVCodecParameters& parameters);
// Sets colorspace, primaries, transfer, range and siting of anything that has libav's five fields.
template <class T>
void set_color(T& object, const ColorSpec& color) {
  object.color_primaries = static_cast<AVColorPrimaries>(color.primaries);
  object.color_trc = static_cast<AVColorTransferCharacteristic>(color.transfer);
  object.color_range = static_cast<AVColorRange>(color.range);
  if constexpr (requires { object.chroma_location; }) {
    object.chroma_location = static_cast<AVChromaLocation>(color.siting);
  } else {
    object.chroma_sample_location = static_cast<AVChromaLocation>(color.siting);
  }
  if constexpr (requires { object.colorspace; }) {
    object.colorspace = static_cast<AVColorSpace>(color.matrix);
  } else {
    object.color_space = static_cast<AVColorSpace>(color.matrix);
  }
}

// The planar format that holds every sample of `format` unchanged: itself, or e.g. yuv420p for
// nv12, gbrp for rgb24. Samples of fewer than 8 bits are widened to 8, a palette becomes RGB with
// alpha, gray with alpha gets neutral chroma. AV_PIX_FMT_NONE when there is none (float, Bayer,
// XYZ, hardware).
AVPixelFormat planar_equivalent(AVPixelFormat format);
PixelFormat describe(AVPixelFormat planar);
// libav's planar format (native endian) for ours; AV_PIX_FMT_NONE when it has none.
AVPixelFormat to_av(const PixelFormat& format);

}  // namespace atelier::media
