// SPDX-License-Identifier: Apache-2.0
#include "media/hdr.h"

#include "media/av.h"

namespace atelier::media {
namespace {

// A first frame that has not come out after so many packets is not worth a longer look.
constexpr int kMostPackets = 64;

std::vector<std::byte> copy_bytes(const uint8_t* data, size_t size) {
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  return data ? std::vector<std::byte>(bytes, bytes + size) : std::vector<std::byte>();
}

std::vector<std::byte> from_stream(const AVStream& stream, AVPacketSideDataType type) {
  size_t size = 0;
  const uint8_t* data = av_stream_get_side_data(&stream, type, &size);
  return copy_bytes(data, size);
}

void complete_from(const AVFrame& frame, AVFrameSideDataType type, std::vector<std::byte>& bytes) {
  const AVFrameSideData* data = av_frame_get_side_data(&frame, type);
  if (bytes.empty() && data) bytes = copy_bytes(data->data, data->size);
}

CodecContextPtr open_decoder(const AVCodecParameters& parameters) {
  const AVCodec* codec = avcodec_find_decoder(parameters.codec_id);
  CodecContextPtr decoder(codec ? avcodec_alloc_context3(codec) : nullptr);
  if (!decoder || avcodec_parameters_to_context(decoder.get(), &parameters) < 0) return nullptr;
  decoder->thread_count = 1;
  return avcodec_open2(decoder.get(), codec, nullptr) < 0 ? nullptr : std::move(decoder);
}

}  // namespace

Result<HdrMetadata> read_hdr_metadata(ByteSource& source, const MediaInfo& info) {
  HdrMetadata hdr;
  if (info.video_stream < 0) return hdr;
  auto input = TRY(Input::open(source, "The input"));
  if (static_cast<unsigned>(info.video_stream) >= input->get()->nb_streams) return hdr;
  const AVStream& stream = *input->stream(info.video_stream);
  hdr.mastering_display = from_stream(stream, AV_PKT_DATA_MASTERING_DISPLAY_METADATA);
  hdr.content_light = from_stream(stream, AV_PKT_DATA_CONTENT_LIGHT_LEVEL);
  if (!hdr.mastering_display.empty() && !hdr.content_light.empty()) return hdr;

  const CodecContextPtr decoder = open_decoder(*stream.codecpar);
  if (!decoder) return hdr;
  const PacketPtr packet = make_packet();
  const FramePtr frame = make_frame();
  int got = AVERROR(EAGAIN);
  for (int sent = 0; got < 0 && sent < kMostPackets;) {
    const bool more = TRY(input->read(*packet));
    if (more && packet->stream_index != stream.index) continue;
    ++sent;
    (void)avcodec_send_packet(decoder.get(), more ? packet.get() : nullptr);
    got = avcodec_receive_frame(decoder.get(), frame.get());
    if (!more && got < 0) break;
  }
  if (got >= 0) {
    complete_from(*frame, AV_FRAME_DATA_MASTERING_DISPLAY_METADATA, hdr.mastering_display);
    complete_from(*frame, AV_FRAME_DATA_CONTENT_LIGHT_LEVEL, hdr.content_light);
  }
  return hdr;
}

}  // namespace atelier::media
