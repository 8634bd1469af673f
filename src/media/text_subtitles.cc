// SPDX-License-Identifier: Apache-2.0
#include "media/text_subtitles.h"

#include <cstring>
#include <new>
#include <vector>

namespace atelier::media {
namespace {

// A subtitle is a few lines; an event longer than this is not text.
constexpr int kMaxBytes = 1 << 20;

bool is_text(AVCodecID id) {
  const AVCodecDescriptor* descriptor = avcodec_descriptor_get(id);
  return descriptor && descriptor->type == AVMEDIA_TYPE_SUBTITLE &&
         (descriptor->props & AV_CODEC_PROP_TEXT_SUB);
}

struct Events {
  AVSubtitle subtitle{};
  ~Events() { avsubtitle_free(&subtitle); }
};

}  // namespace

bool can_convert_subtitles(AVCodecID from, AVCodecID to) {
  return is_text(from) && is_text(to) && avcodec_find_decoder(from) && avcodec_find_encoder(to);
}

Result<std::unique_ptr<SubtitleConverter>> SubtitleConverter::create(const AVStream& input,
                                                                     AVCodecID to) {
  const AVCodec* decoder = avcodec_find_decoder(input.codecpar->codec_id);
  const AVCodec* encoder = avcodec_find_encoder(to);
  auto converter = std::make_unique<SubtitleConverter>();
  converter->decoder_.reset(avcodec_alloc_context3(decoder));
  converter->encoder_.reset(avcodec_alloc_context3(encoder));
  if (!converter->decoder_ || !converter->encoder_) throw std::bad_alloc();
  AVCodecContext& in = *converter->decoder_;
  AVCodecContext& out = *converter->encoder_;
  int done = avcodec_parameters_to_context(&in, input.codecpar);
  in.pkt_timebase = input.time_base;
  if (done >= 0) done = avcodec_open2(&in, decoder, nullptr);
  if (done >= 0 && in.subtitle_header && in.subtitle_header_size > 0) {
    const auto size = static_cast<size_t>(in.subtitle_header_size);
    out.subtitle_header = static_cast<uint8_t*>(av_mallocz(size + 1));
    if (!out.subtitle_header) throw std::bad_alloc();
    std::memcpy(out.subtitle_header, in.subtitle_header, size);
    out.subtitle_header_size = in.subtitle_header_size;
  }
  out.time_base = AV_TIME_BASE_Q;
  out.flags |= AV_CODEC_FLAG_BITEXACT;
  if (done >= 0) done = avcodec_open2(&out, encoder, nullptr);
  if (done < 0) {
    return make_error(Code::internal, "The subtitles of stream {} cannot be rewritten as {}: {}.",
                      input.index, encoder->name, describe_av(done));
  }
  return converter;
}

Result<void> SubtitleConverter::describe_to(AVCodecParameters& parameters) const {
  const int done = avcodec_parameters_from_context(&parameters, encoder_.get());
  if (done < 0) {
    return make_error(Code::internal, "Subtitles cannot be described: {}.", describe_av(done));
  }
  return {};
}

Result<bool> SubtitleConverter::convert(AVPacket& packet) {
  Events events;
  int got = 0;
  PacketPtr copy = make_packet();
  if (av_packet_ref(copy.get(), &packet) < 0) throw std::bad_alloc();
  const int decoded = avcodec_decode_subtitle2(decoder_.get(), &events.subtitle, &got, copy.get());
  if (decoded < 0 || !got || events.subtitle.num_rects == 0) return false;
  events.subtitle.pts = packet.pts == AV_NOPTS_VALUE
                            ? 0
                            : av_rescale_q(packet.pts, decoder_->pkt_timebase, AV_TIME_BASE_Q);
  std::vector<uint8_t> text(kMaxBytes);
  const int size =
      avcodec_encode_subtitle(encoder_.get(), text.data(), kMaxBytes, &events.subtitle);
  if (size <= 0) return false;
  PacketPtr made = make_packet();
  if (av_new_packet(made.get(), size) < 0) throw std::bad_alloc();
  std::memcpy(made->data, text.data(), static_cast<size_t>(size));
  made->pts = packet.pts;
  made->dts = packet.dts;
  made->duration = packet.duration;
  made->flags = AV_PKT_FLAG_KEY;
  made->stream_index = packet.stream_index;
  av_packet_unref(&packet);
  av_packet_move_ref(&packet, made.get());
  return true;
}

}  // namespace atelier::media
