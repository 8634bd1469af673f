// SPDX-License-Identifier: Apache-2.0
// One chunk: an encoder that starts afresh (closed GOPs, the first frame IDR) and a NUT file. Two
// chunks of the same settings have the same codec parameters, so that they can be joined without
// encoding again. Nothing that reaches the encoder depends on the machine: see fixed_options().
#include "media/frame_writer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "media/av.h"
#include "media/av_sink.h"
#include "media/encoder_format.h"
#include "media/encoder_options.h"
#include "media/frame_extras.h"
#include "media/gif_palette.h"

extern "C" {
#include <libavcodec/bsf.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
}

namespace atelier::media {
namespace {

struct OutputDelete {
  void operator()(AVFormatContext* p) const { avformat_free_context(p); }
};

class Options {
 public:
  ~Options() { av_dict_free(&dict_); }
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;
  explicit Options(const OptionMap& options) {
    for (const auto& [key, value] : options) set(key.c_str(), value);
  }
  void set(const char* key, const std::string& value) {
    av_dict_set(&dict_, key, value.c_str(), 0);
  }
  AVDictionary** get() { return &dict_; }
  // What an encoder did not take.
  std::string left() const {
    const AVDictionaryEntry* entry = av_dict_get(dict_, "", nullptr, AV_DICT_IGNORE_SUFFIX);
    return entry ? entry->key : "";
  }

 private:
  AVDictionary* dict_ = nullptr;
};

CodecContextPtr make_context(const AVCodec& codec, const EncodeSettings& settings,
                             AVPixelFormat format) {
  CodecContextPtr context(avcodec_alloc_context3(&codec));
  if (!context) throw std::bad_alloc();
  context->width = settings.width;
  context->height = settings.height;
  context->pix_fmt = format;
  context->bits_per_raw_sample = settings.format.depth;
  context->time_base = to_av(settings.time_base);
  // x264 derives the level from the rate; a variable one leaves it open, and taking the time base
  // for it would demand a level that no player has.
  context->framerate = settings.frame_rate.num > 0 && settings.frame_rate.den > 0
                           ? to_av(settings.frame_rate)
                           : AVRational{30, 1};
  context->sample_aspect_ratio = to_av(settings.sample_aspect_ratio);
  context->thread_count = settings.threads;
  context->thread_type = codec.id == AV_CODEC_ID_FFV1 ? FF_THREAD_SLICE : FF_THREAD_FRAME;
  context->err_recognition = AV_EF_EXPLODE;  // SVT-AV1's wrapper would only warn
  context->flags |= AV_CODEC_FLAG_BITEXACT | AV_CODEC_FLAG_GLOBAL_HEADER;
  // JPEG has no GOPs, and libav's encoder refuses the flag.
  if (codec.id != AV_CODEC_ID_MJPEG) context->flags |= AV_CODEC_FLAG_CLOSED_GOP;
  context->field_order = AV_FIELD_PROGRESSIVE;
  set_color(*context, settings.color);
  return context;
}

// FFV1 takes only some numbers of slices for a size (its slices must hold whole chroma samples and
// must not be too large); the first of these that it takes is the same on every machine.
constexpr std::array kFfv1Slices = {4, 1, 6, 9, 12, 16, 24, 30};

Result<CodecContextPtr> open_encoder(const EncodeSettings& settings, const AVCodec& codec,
                                     AVPixelFormat format) {
  TRY(check_options(settings));
  const bool ffv1 = codec.id == AV_CODEC_ID_FFV1;
  int opened = 0;
  for (const int slices : kFfv1Slices) {
    CodecContextPtr context = make_context(codec, settings, format);
    Options options(encoder_options(settings));
    if (ffv1 && settings.width > 1 && settings.height > 1 && !settings.options.contains("slices")) {
      // libav 5.1 writes slices one sample wide or high wrong: they decode as zeros.
      const bool narrow = settings.width < 3 || settings.height < 3;
      options.set("slices", std::to_string(narrow ? 1 : slices));
    }
    opened = avcodec_open2(context.get(), &codec, options.get());
    if (opened >= 0) {
      if (!options.left().empty()) {
        close_encoder(std::move(context), false);
        return make_error(Code::invalid_argument,
                          "The encoder {} has no option '{}': leave it out of --encoder-opts.",
                          settings.codec, options.left());
      }
      return context;
    }
    if (!ffv1) break;
  }
  return make_error(
      code_of_av(opened, Code::invalid_argument),
      "The encoder {} refuses its settings ({}x{}, preset '{}', crf {} and {} further "
      "options): {}.",
      settings.codec, settings.width, settings.height, settings.preset, settings.crf,
      settings.options.size(), describe_av(opened));
}

struct FilterDelete {
  void operator()(AVBSFContext* p) const { av_bsf_free(&p); }
};

// x264 and x265 write the range only beside other colours or when it is full, so a limited one that
// the source names would become "unknown" where the container has no place for it (MOV). Only the
// parameter sets change, which stand in `parameters` alone.
int write_limited_range(AVCodecParameters& parameters) {
  AVBSFContext* raw = nullptr;
  const AVBitStreamFilter* filter = av_bsf_get_by_name(
      parameters.codec_id == AV_CODEC_ID_H264 ? "h264_metadata" : "hevc_metadata");
  int done = filter ? av_bsf_alloc(filter, &raw) : AVERROR_BSF_NOT_FOUND;
  const std::unique_ptr<AVBSFContext, FilterDelete> owner(raw);
  if (done >= 0) done = avcodec_parameters_copy(raw->par_in, &parameters);
  if (done >= 0) done = av_opt_set_int(raw->priv_data, "video_full_range_flag", 0, 0);
  if (done >= 0) done = av_bsf_init(raw);
  if (done >= 0) done = avcodec_parameters_copy(&parameters, raw->par_out);
  return done;
}

Result<void> check_settings(const EncodeSettings& settings) {
  if (settings.width <= 0 || settings.height <= 0 || settings.time_base.num <= 0 ||
      settings.time_base.den <= 0 || settings.threads <= 0) {
    return make_error(Code::internal,
                      "A video of {}x{} with the time base {}/{} and {} threads "
                      "cannot be encoded.",
                      settings.width, settings.height, settings.time_base.num,
                      settings.time_base.den, settings.threads);
  }
  return {};
}

class EncodingWriter final : public FrameWriter {
 public:
  EncodingWriter(const EncodeSettings& settings, ByteSink& sink, CodecContextPtr encoder)
      : settings_(settings), io_(sink), encoder_(std::move(encoder)) {}
  ~EncodingWriter() override { close_encoder(std::move(encoder_), report_.frames > 0); }
  EncodingWriter(const EncodingWriter&) = delete;
  EncodingWriter& operator=(const EncodingWriter&) = delete;

  Result<void> start();
  Result<void> write(const FrameView& frame, int64_t pts, int64_t duration,
                     const std::shared_ptr<const FrameExtras>& extras) override;
  Result<EncodeReport> finish() override;

 private:
  Result<void> prepare_frame();
  void copy(const FrameView& from);
  void pack(const FrameView& from);
  void paint_by_numbers(const FrameView& from);
  Result<void> drain();
  Error failed(const char* what, int error) const;

  EncodeSettings settings_;
  SinkIo io_;
  CodecContextPtr encoder_;
  std::unique_ptr<AVFormatContext, OutputDelete> output_;
  AVStream* stream_ = nullptr;
  FramePtr frame_ = make_frame();
  PacketPtr packet_ = make_packet();
  std::optional<int64_t> last_pts_;
  EncodeReport report_;
};

Error EncodingWriter::failed(const char* what, int error) const {
  if (io_.error()) return *io_.error();
  return make_error(code_of_av(error, Code::internal), "{} failed in libav ({}): {}.", what,
                    settings_.codec, describe_av(error));
}

Result<void> EncodingWriter::start() {
  AVFormatContext* output = nullptr;
  const int made = avformat_alloc_output_context2(&output, nullptr, "nut", nullptr);
  output_.reset(output);
  if (made < 0) return failed("Starting a chunk", made);
  output->pb = io_.get();
  output->flags |= AVFMT_FLAG_BITEXACT | AVFMT_FLAG_CUSTOM_IO;
  // NUT stores no dts; shifting them to zero would move every pts.
  output->avoid_negative_ts = 0;
  stream_ = avformat_new_stream(output, nullptr);
  if (!stream_) return failed("Starting a chunk", AVERROR(ENOMEM));
  int copied = avcodec_parameters_from_context(stream_->codecpar, encoder_.get());
  if (copied >= 0 &&
      (encoder_->codec_id == AV_CODEC_ID_H264 || encoder_->codec_id == AV_CODEC_ID_HEVC) &&
      settings_.color.range == ColorSpec::Range::limited) {
    copied = write_limited_range(*stream_->codecpar);
  }
  if (copied < 0) return failed("Starting a chunk", copied);
  stream_->time_base = encoder_->time_base;
  stream_->sample_aspect_ratio = encoder_->sample_aspect_ratio;
  const int written = avformat_write_header(output, nullptr);
  if (written < 0 || io_.error()) return failed("Starting a chunk", written);
  return {};
}

Result<void> EncodingWriter::prepare_frame() {
  if (!frame_->buf[0] || !av_frame_is_writable(frame_.get())) {
    av_frame_unref(frame_.get());
    frame_->width = settings_.width;
    frame_->height = settings_.height;
    frame_->format = encoder_->pix_fmt;
    const int got = av_frame_get_buffer(frame_.get(), 0);
    if (got < 0) return failed("Encoding a frame", got);
    set_color(*frame_, settings_.color);
    frame_->sample_aspect_ratio = encoder_->sample_aspect_ratio;
  }
  while (frame_->nb_side_data > 0) {
    av_frame_remove_side_data(frame_.get(), frame_->side_data[0]->type);
  }
  return {};
}

void EncodingWriter::copy(const FrameView& from) {
  const bool rgb = from.format.family == PixelFormat::Family::rgb;
  for (int p = 0; p < from.format.planes(); ++p) {
    // libav keeps RGB planes in the order G, B, R.
    const int to = rgb && p < 3 ? (p + 2) % 3 : p;
    const auto& plane = from.plane[static_cast<size_t>(p)];
    const int row = from.plane_width(p) * from.format.bytes_per_sample();
    av_image_copy_plane(frame_->data[to], frame_->linesize[to],
                        reinterpret_cast<const uint8_t*>(plane.data),
                        static_cast<int>(plane.stride), row, from.plane_height(p));
  }
}

// Whether the encoder wants RGB in one plane.
bool is_packed(AVPixelFormat format) {
  return format == AV_PIX_FMT_BGR0 || format == AV_PIX_FMT_BGRA || format == AV_PIX_FMT_RGB24 ||
         format == AV_PIX_FMT_RGBA || format == AV_PIX_FMT_RGB48BE || format == AV_PIX_FMT_RGBA64BE;
}

// RGB into one plane: blue first for FFV1, red first and 16-bit samples in network order for PNG.
void EncodingWriter::pack(const FrameView& from) {
  const bool blue_first =
      encoder_->pix_fmt == AV_PIX_FMT_BGR0 || encoder_->pix_fmt == AV_PIX_FMT_BGRA;
  const bool three =
      encoder_->pix_fmt == AV_PIX_FMT_RGB24 || encoder_->pix_fmt == AV_PIX_FMT_RGB48BE;
  const size_t bytes = from.format.depth > 8 ? 2 : 1;
  const size_t step = (three ? 3 : 4) * bytes;
  for (int y = 0; y < from.height; ++y) {
    uint8_t* to = frame_->data[0] + static_cast<ptrdiff_t>(y) * frame_->linesize[0];
    for (size_t c = 0; c < (three ? 3 : 4); ++c) {
      const size_t p = c < 3 && blue_first ? 2 - c : c;
      const bool there = p < static_cast<size_t>(from.format.planes());
      const std::byte* row = there ? from.plane[p].data + y * from.plane[p].stride : nullptr;
      for (size_t x = 0; x < static_cast<size_t>(from.width); ++x) {
        uint8_t* sample = to + x * step + c * bytes;
        for (size_t b = 0; b < bytes; ++b) {
          sample[b] = row ? static_cast<uint8_t>(row[x * bytes + (bytes - 1 - b)]) : uint8_t{0};
        }
      }
    }
  }
}

// The best 256 colours of this frame alone.
void EncodingWriter::paint_by_numbers(const FrameView& from) {
  const GifPalette palette = quantise(from, frame_->data[0], frame_->linesize[0]);
  std::memcpy(frame_->data[1], palette.data(), sizeof palette);
}

Result<void> EncodingWriter::write(const FrameView& frame, int64_t pts, int64_t duration,
                                   const std::shared_ptr<const FrameExtras>& extras) {
  if (frame.width != settings_.width || frame.height != settings_.height ||
      frame.format != settings_.format) {
    return make_error(Code::internal,
                      "Frame {} of a chunk has another size or format than the {}x{} "
                      "the encoder was made for.",
                      report_.frames, settings_.width, settings_.height);
  }
  if (last_pts_ ? pts <= *last_pts_ : pts != 0) {
    return make_error(Code::internal,
                      "Frame {} of a chunk has the timestamp {}, which does not follow "
                      "the one before it.",
                      report_.frames, pts);
  }
  last_pts_ = pts;
  TRY(prepare_frame());
  if (encoder_->pix_fmt == AV_PIX_FMT_PAL8) {
    paint_by_numbers(frame);
  } else if (is_packed(encoder_->pix_fmt)) {
    pack(frame);
  } else {
    copy(frame);
  }
  frame_->pts = pts;
  frame_->pkt_duration = duration;
  frame_->quality = encoder_->global_quality;
  frame_->pict_type = report_.frames == 0 ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
  if (extras) TRY(extras->attach_to(*frame_));
  if (av_frame_get_side_data(frame_.get(), AV_FRAME_DATA_A53_CC) &&
      !find_traits(settings_.codec)->keeps_captions) {
    ++report_.captions_lost;
  }
  const int sent = avcodec_send_frame(encoder_.get(), frame_.get());
  if (sent < 0) return failed("Encoding a frame", sent);
  ++report_.frames;
  return drain();
}

Result<void> EncodingWriter::drain() {
  for (;;) {
    const int got = avcodec_receive_packet(encoder_.get(), packet_.get());
    if (got == AVERROR(EAGAIN) || got == AVERROR_EOF) return {};
    if (got < 0) return failed("Encoding a frame", got);
    packet_->stream_index = 0;
    av_packet_rescale_ts(packet_.get(), encoder_->time_base, stream_->time_base);
    ++report_.packets;
    const int written = av_write_frame(output_.get(), packet_.get());
    av_packet_unref(packet_.get());
    if (written < 0 || io_.error()) return failed("Writing a chunk", written);
  }
}

Result<EncodeReport> EncodingWriter::finish() {
  const int sent = avcodec_send_frame(encoder_.get(), nullptr);
  if (sent < 0 && sent != AVERROR_EOF) return failed("Ending a chunk", sent);
  TRY(drain());
  const int ended = av_write_trailer(output_.get());
  avio_flush(io_.get());
  if (ended < 0 || io_.error()) return failed("Ending a chunk", ended);
  if (report_.packets != report_.frames) {
    return make_error(Code::internal, "The encoder {} made {} packets of {} frames.",
                      settings_.codec, report_.packets, report_.frames);
  }
  report_.bytes = io_.bytes();
  return report_;
}

}  // namespace

Result<std::unique_ptr<FrameWriter>> FrameWriter::create(const EncodeSettings& settings,
                                                         ByteSink& sink) {
  const AVCodec* codec = TRY(find_encoder(settings.codec));
  TRY(check_settings(settings));
  const AVPixelFormat format = encoder_pixel_format(*codec, settings.format);
  if (format == AV_PIX_FMT_NONE) {
    return make_error(Code::invalid_argument,
                      "The encoder {} cannot hold {} bits a sample of this kind of picture.",
                      settings.codec, settings.format.depth);
  }
  CodecContextPtr encoder = TRY(open_encoder(settings, *codec, format));
  auto writer = std::make_unique<EncodingWriter>(settings, sink, std::move(encoder));
  TRY(writer->start());
  return std::unique_ptr<FrameWriter>(std::move(writer));
}

}  // namespace atelier::media
