// SPDX-License-Identifier: Apache-2.0
// Seeking is a hint, never trusted: demuxers land elsewhere, and some compute other timestamps
// after a seek than in a straight reading. A pass starts at a packet that it has looked at, or at
// the file's first packet.
#include "media/decode_pass.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>
#include <thread>

extern "C" {
#include <libavutil/mathematics.h>
}

namespace atelier::media {
namespace {

constexpr int kMostThreads = 16;

// Intra refresh and open GOPs are over sooner; from the file's start each stretch would be decoded
// in a time that grows with the film.
constexpr int64_t kFarSeconds = 10;

// How far timestamps can be trusted after a seek.
enum class Seeking {
  by_dts,  // the container stores each packet's dts
  by_pts,  // it stores the pts, and dts are computed on the way
  never,   // timestamps are computed from what came before
};

Seeking seeking_of(const AVFormatContext& format, int stream) {
  const std::string_view name = format.iformat->name;
  // Demuxers attach a palette to the first packet only, and not again after a seek.
  if (format.streams[stream]->codecpar->format == AV_PIX_FMT_PAL8) return Seeking::never;
  if (name.starts_with("mov,") || name == "avi" || name == "flv" || name == "mpegts") {
    return Seeking::by_dts;
  }
  if (name.starts_with("matroska")) return Seeking::by_pts;
  return Seeking::never;
}

int thread_count(int wanted) {
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  return std::clamp(wanted > 0 ? wanted : cores, 1, kMostThreads);
}

bool is_flagged(const AVFrame& frame) {
  return frame.decode_error_flags != 0 || (frame.flags & AV_FRAME_FLAG_CORRUPT);
}

int64_t time_of(const AVPacket& packet) {
  return packet.pts != AV_NOPTS_VALUE ? packet.pts : packet.dts;
}

// A palette or a new header comes with one packet and holds for all that follow.
constexpr std::array kHoldsOn = {AV_PKT_DATA_PALETTE, AV_PKT_DATA_NEW_EXTRADATA};

void copy_side_data(const AVPacket& from, AVPacket& to, bool replace) {
  for (const AVPacketSideDataType type : kHoldsOn) {
    size_t size = 0;
    const uint8_t* data = av_packet_get_side_data(&from, type, &size);
    if (!data || (!replace && av_packet_get_side_data(&to, type, nullptr))) continue;
    uint8_t* copy = av_packet_new_side_data(&to, type, size);
    if (!copy) throw std::bad_alloc();
    std::copy_n(data, size, copy);
  }
}

}  // namespace

Result<std::unique_ptr<DecodePass>> DecodePass::open(ByteSource& source,
                                                     const PassRequest& request) {
  std::unique_ptr<DecodePass> pass(new DecodePass(source, request));
  TRY(pass->reopen_input());
  TRY(pass->open_decoder());
  TRY(pass->position());
  return pass;
}

Result<void> DecodePass::reopen_input() {
  input_.reset();
  input_ = TRY(Input::open(source_, "The input"));
  AVFormatContext& format = *input_->get();
  if (request_.stream < 0 || static_cast<unsigned>(request_.stream) >= format.nb_streams) {
    return make_error(Code::invalid_input, "The input has no stream {}.", request_.stream);
  }
  for (unsigned i = 0; i < format.nb_streams; ++i) {
    if (static_cast<int>(i) != request_.stream) format.streams[i]->discard = AVDISCARD_ALL;
  }
  return {};
}

Result<void> DecodePass::open_decoder() {
  const AVStream& stream = *input_->stream(request_.stream);
  const AVCodec* codec =
      request_.alpha ? video_decoder(stream) : avcodec_find_decoder(stream.codecpar->codec_id);
  if (stream.codecpar->codec_type != AVMEDIA_TYPE_VIDEO || !codec) {
    return make_error(Code::invalid_input, "Stream {} ({}) cannot be decoded as video here.",
                      request_.stream, avcodec_get_name(stream.codecpar->codec_id));
  }
  decoder_.reset(avcodec_alloc_context3(codec));
  if (!decoder_) throw std::bad_alloc();
  if (const int set = avcodec_parameters_to_context(decoder_.get(), stream.codecpar); set < 0) {
    return make_error(Code::invalid_input, "Stream {}'s header makes no sense to the decoder ({}).",
                      request_.stream, describe_av(set));
  }
  decoder_->pkt_timebase = stream.time_base;
  if (request_.mode == PassMode::careful) {
    decoder_->thread_count = 1;
  } else {
    decoder_->thread_count = thread_count(request_.threads);
    // Without this several decoders conceal damage silently, each in its own way per thread count.
    decoder_->err_recognition |= AV_EF_EXPLODE;
  }
  if (const int opened = avcodec_open2(decoder_.get(), codec, nullptr); opened < 0) {
    return make_error(Code::invalid_input, "The decoder '{}' does not open for stream {} ({}).",
                      codec->name, request_.stream, describe_av(opened));
  }
  return {};
}

// Leaves the first packet to decode in packet_, or the input at its beginning.
Result<void> DecodePass::position() {
  const bool wants_key = request_.key_dts && request_.first_pts;
  if (!wants_key) return {};
  if (request_.start != PassStart::key) {
    if (!TRY(seek_to_earlier_key())) return rewind();
    return {};
  }
  if (TRY(seek_to_key())) return {};
  // A straight reading meets the timestamps that the plan was made from.
  TRY(rewind());
  if (TRY(read_on_to_key())) return {};
  return rewind();
}

Result<void> DecodePass::rewind() {
  packet_is_held_ = false;
  av_packet_unref(passed_over_.get());
  return reopen_input();
}

Result<bool> DecodePass::seek_to(int64_t time) {
  const int sought = av_seek_frame(input_->get(), request_.stream, time, AVSEEK_FLAG_BACKWARD);
  if (input_->source_error()) return *input_->source_error();
  return sought >= 0;
}

// The next packet of the stream into packet_; false at the end.
Result<bool> DecodePass::next_packet() {
  if (packet_is_held_) {
    packet_is_held_ = false;
    return true;
  }
  while (TRY(input_->read(*packet_))) {
    if (packet_->stream_index == request_.stream) return true;
  }
  return false;
}

// Skips to the packet of key_dts, whose pts must not be after the first frame wanted: frames shown
// before the key packet they follow (open GOP) cannot be decoded from it.
Result<bool> DecodePass::read_on_to_key() {
  while (TRY(next_packet())) {
    if (packet_->dts != AV_NOPTS_VALUE && packet_->dts > *request_.key_dts) return false;
    if (packet_->dts != *request_.key_dts || !(packet_->flags & AV_PKT_FLAG_KEY)) {
      keep_side_data();
      continue;
    }
    packet_is_held_ = time_of(*packet_) <= *request_.first_pts;
    if (packet_is_held_) attach_side_data();
    return packet_is_held_;
  }
  return false;
}

void DecodePass::keep_side_data() { copy_side_data(*packet_, *passed_over_, true); }

void DecodePass::attach_side_data() { copy_side_data(*passed_over_, *packet_, false); }

Result<bool> DecodePass::seek_to_key() {
  switch (seeking_of(*input_->get(), request_.stream)) {
    case Seeking::never: return false;
    case Seeking::by_dts:
      if (!TRY(seek_to(*request_.key_dts))) return false;
      return read_on_to_key();
    case Seeking::by_pts: break;
  }
  if (!TRY(seek_to(*request_.first_pts)) || !TRY(next_packet())) return false;
  packet_is_held_ = (packet_->flags & AV_PKT_FLAG_KEY) && packet_->pts != AV_NOPTS_VALUE &&
                    packet_->pts <= *request_.first_pts;
  return packet_is_held_;
}

Result<bool> DecodePass::seek_to_earlier_key() {
  const Seeking seeking = seeking_of(*input_->get(), request_.stream);
  const std::optional<int64_t> before =
      seeking == Seeking::by_pts ? request_.before_pts : request_.before_dts;
  if (seeking == Seeking::never || !before) return false;
  int64_t distance = 1;
  if (request_.start == PassStart::far_key) {
    const AVRational base = input_->get()->streams[request_.stream]->time_base;
    distance = std::max<int64_t>(av_rescale_q(kFarSeconds, {1, 1}, base), 1);
  }
  int64_t latest = 0;
  if (__builtin_sub_overflow(*before, distance, &latest)) return false;
  if (!TRY(seek_to(latest)) || !TRY(next_packet())) return false;
  const int64_t landed = seeking == Seeking::by_pts ? packet_->pts : packet_->dts;
  packet_is_held_ = (packet_->flags & AV_PKT_FLAG_KEY) && landed != AV_NOPTS_VALUE &&
                    landed < *before && time_of(*packet_) <= *request_.first_pts;
  return packet_is_held_;
}

void DecodePass::count_error(int64_t pts) {
  if (pts == AV_NOPTS_VALUE) {
    ++errors_without_time_;
  } else {
    error_times_.insert(pts);
  }
}

uint64_t DecodePass::errors() const {
  const std::optional<int64_t> from =
      request_.count_from ? request_.count_from : request_.first_pts;
  const auto begin = from ? error_times_.lower_bound(*from) : error_times_.begin();
  const auto end =
      request_.end_pts ? error_times_.lower_bound(*request_.end_pts) : error_times_.end();
  if (from && request_.end_pts && *from >= *request_.end_pts) return errors_without_time_;
  return static_cast<uint64_t>(std::distance(begin, end)) + errors_without_time_;
}

void DecodePass::go_on(const ReadRequest& next) {
  request_.first_pts = next.first_pts;
  request_.count_from.reset();
  request_.end_pts = next.end_pts;
  request_.last_packet_pts = next.last_packet_pts;
  fed_last_ = next.last_packet_pts && fed_beyond_.contains(*next.last_packet_pts);
  if (next.end_pts) fed_beyond_.erase(fed_beyond_.begin(), fed_beyond_.lower_bound(*next.end_pts));
  if (!next.first_pts) return;
  expected_.erase(expected_.begin(), expected_.lower_bound(*next.first_pts));
  error_times_.erase(error_times_.begin(), error_times_.lower_bound(*next.first_pts));
}

bool DecodePass::reorders() const {
  const AVCodecDescriptor* codec = avcodec_descriptor_get(decoder_->codec_id);
  return codec && (codec->props & AV_CODEC_PROP_REORDER);
}

Result<bool> DecodePass::feed() {
  const bool more = TRY(next_packet());
  const bool careful = request_.mode == PassMode::careful;
  if (more) {
    const int64_t pts = time_of(*packet_);
    if (!start_pts_) {
      start_pts_ = pts;
      start_dts_ = packet_->dts;
    }
    if (request_.last_packet_pts == packet_->pts) fed_last_ = true;
    if (request_.end_pts && pts >= *request_.end_pts) fed_beyond_.insert(pts);
    if (packet_->flags & AV_PKT_FLAG_CORRUPT) {
      if (!careful) return false;
      count_error(pts);
    }
    if (packet_->flags & AV_PKT_FLAG_DISCARD) {
      discarded_.insert(packet_->pts);
    } else {
      discarded_.erase(packet_->pts);
      if (!request_.first_pts || pts >= *request_.first_pts) {
        expected_.insert(pts);
      }
    }
  }
  const int sent = avcodec_send_packet(decoder_.get(), more ? packet_.get() : nullptr);
  draining_ = !more;
  if (sent >= 0) return true;
  if (sent == AVERROR(ENOMEM)) throw std::bad_alloc();
  if (!careful) return false;
  if (more && !(packet_->flags & AV_PKT_FLAG_CORRUPT)) count_error(time_of(*packet_));
  return true;
}

// libav hides such frames itself for most decoders, but not for all.
bool DecodePass::is_hidden(const AVFrame& frame) {
  return frame.pts != AV_NOPTS_VALUE && discarded_.contains(frame.pts);
}

Result<DecodePass::Step> DecodePass::step(AVFrame& frame) {
  const bool careful = request_.mode == PassMode::careful;
  for (;;) {
    const int got = avcodec_receive_frame(decoder_.get(), &frame);
    if (got == AVERROR_EOF) return Step::end;
    if (got == AVERROR(ENOMEM)) throw std::bad_alloc();
    if (got == AVERROR(EAGAIN)) {
      if (draining_) return Step::end;  // a decoder that does not keep to the interface
      if (!TRY(feed())) return Step::damage;
      continue;
    }
    if (got < 0) {
      if (!careful) return Step::damage;
      count_error(draining_ ? AV_NOPTS_VALUE : time_of(*packet_));
      continue;
    }
    if (is_flagged(frame)) {
      if (!careful) return Step::damage;
      count_error(frame.pts);
    }
    expected_.erase(frame.pts);
    if (!is_hidden(frame)) return Step::frame;
  }
}

}  // namespace atelier::media
