// SPDX-License-Identifier: Apache-2.0
#include "media/remuxer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>

#include "media/stream_labels.h"

namespace atelier::media {
namespace {

// The same bytes as packet_scan.h describes.
void hash_packet(Sha256& hash, const AVPacket& packet) {
  std::array<std::byte, 8> size{};
  auto left = static_cast<uint64_t>(packet.size);
  for (std::byte& byte : size) {
    byte = static_cast<std::byte>(left & 0xFF);
    left >>= 8;
  }
  hash.update(size);
  hash.update({reinterpret_cast<const std::byte*>(packet.data), static_cast<size_t>(packet.size)});
}

void copy_stream_side_data(const AVStream& from, AVStream& to) {
  for (int i = 0; i < from.nb_side_data; ++i) {
    const AVPacketSideData& data = from.side_data[i];
    uint8_t* bytes = av_stream_new_side_data(&to, data.type, data.size);
    if (!bytes) throw std::bad_alloc();
    std::memcpy(bytes, data.data, data.size);
  }
}

// Cover art becomes a file inside Matroska.
void make_attachment(const AVStream& from, AVStream& to) {
  AVCodecParameters& parameters = *to.codecpar;
  parameters.codec_type = AVMEDIA_TYPE_ATTACHMENT;
  parameters.codec_tag = 0;
  const auto size = static_cast<size_t>(from.attached_pic.size);
  av_freep(&parameters.extradata);
  parameters.extradata = static_cast<uint8_t*>(av_mallocz(size + AV_INPUT_BUFFER_PADDING_SIZE));
  if (!parameters.extradata) throw std::bad_alloc();
  std::memcpy(parameters.extradata, from.attached_pic.data, size);
  parameters.extradata_size = static_cast<int>(size);
  const std::string type = picture_type(from.codecpar->codec_id);
  av_dict_set(&to.metadata, "mimetype", type.c_str(), AV_DICT_DONT_OVERWRITE);
  const std::string name = "cover." + (type == "image/jpeg" ? "jpg" : type.substr(6));
  av_dict_set(&to.metadata, "filename", name.c_str(), AV_DICT_DONT_OVERWRITE);
}

bool may_reorder(const AVStream& stream) {
  const AVCodecDescriptor* codec = avcodec_descriptor_get(stream.codecpar->codec_id);
  return codec && (codec->props & AV_CODEC_PROP_REORDER) &&
         !(stream.disposition & AV_DISPOSITION_ATTACHED_PIC);
}

int64_t plus(int64_t time, int64_t add) { return time == AV_NOPTS_VALUE ? time : time + add; }

}  // namespace

Result<std::unique_ptr<Remuxer>> Remuxer::open(const MuxRequest& request) {
  std::unique_ptr<Remuxer> remuxer(new Remuxer(request));
  remuxer->window_ = TRY(packet_window(*request.input, *request.info, request.range));
  remuxer->input_ = TRY(Input::open(*request.input, "The input"));
  AVFormatContext& format = *remuxer->input_->get();
  const int scored = request.info->video_stream;
  if (scored < 0 || static_cast<unsigned>(scored) >= format.nb_streams ||
      format.nb_streams != request.info->streams.size()) {
    return make_error(Code::conflict, "The input has other streams than before: run again.");
  }
  remuxer->fates_ = stream_fates(*remuxer->input_, request.container, scored);
  remuxer->routes_.resize(format.nb_streams);
  for (const CopiedStream& copied : request.expected) {
    if (copied.index < 0 || static_cast<unsigned>(copied.index) >= format.nb_streams) {
      return make_error(Code::conflict, "The input has other streams than before: run again.");
    }
  }
  // The scored stream's packets are read and dropped rather than discarded in the demuxer: a
  // damaged one may end the file, and must end it where the scan saw it end.
  return remuxer;
}

Result<AVStream*> Remuxer::add_stream(AVFormatContext& output, int index) {
  const AVStream& from = *input_->stream(index);
  const StreamFate& fate = fates_[static_cast<size_t>(index)];
  Route& route = routes_[static_cast<size_t>(index)];
  AVStream* to = avformat_new_stream(&output, nullptr);
  if (!to) throw std::bad_alloc();
  route.output = to->index;
  if (fate.fate == Fate::copied && may_reorder(from)) queue_.reorders(to->index);
  to->time_base = from.time_base;
  to->disposition = from.disposition;
  to->sample_aspect_ratio = from.sample_aspect_ratio;
  to->id = from.id;
  copy_stream_tags(from, fate.fate == Fate::scored, *to);
  if (is_movie(request_.container)) name_in_movie(*to);
  if (request_.container == Container::mov) spell_language_for_mov(*to);
  if (fate.fate == Fate::scored) return to;
  copy_stream_side_data(from, *to);
  to->avg_frame_rate = from.avg_frame_rate;
  to->r_frame_rate = from.r_frame_rate;
  if (avcodec_parameters_copy(to->codecpar, from.codecpar) < 0) throw std::bad_alloc();
  to->codecpar->codec_tag = tag_for(*output.oformat, *from.codecpar);
  if (fate.fate == Fate::converted) {
    route.converter = TRY(SubtitleConverter::create(from, fate.codec));
    TRY(route.converter->describe_to(*to->codecpar));
    to->codecpar->codec_tag = 0;
  }
  if (fate.fate == Fate::attached) make_attachment(from, *to);
  return to;
}

Result<AVStream*> Remuxer::describe_to(AVFormatContext& output, int64_t shift,
                                       AVRational shift_base) {
  shift_ = shift;
  shift_base_ = shift_base;
  AVStream* scored = nullptr;
  for (size_t i = 0; i < fates_.size(); ++i) {
    const int index = static_cast<int>(i);
    if (fates_[i].fate == Fate::dropped || fates_[i].fate == Fate::remade) {
      continue;  // still read, and hashed: whether the input changed is not the container's matter
    }
    AVStream* to = TRY(add_stream(output, index));
    if (fates_[i].fate == Fate::scored) scored = to;
  }
  copy_file_tags(*input_->get(), output);
  add_chapters(output);
  return scored;
}

void Remuxer::add_chapters(AVFormatContext& output) const {
  const AVFormatContext& format = *input_->get();
  for (unsigned i = 0; i < format.nb_chapters; ++i) {
    const AVChapter& from = *format.chapters[i];
    const auto cut = [&](int64_t time, int64_t fallback) {
      return time == AV_NOPTS_VALUE ? fallback : time;
    };
    int64_t start = from.start;
    int64_t end = cut(from.end, from.start);
    if (window_.from) {
      start = std::max(
          start, av_rescale_q(window_.from->ticks, to_av(window_.from->base), from.time_base));
    }
    if (window_.to) {
      end = std::min(end, av_rescale_q(window_.to->ticks, to_av(window_.to->base), from.time_base));
    }
    if ((window_.from || window_.to) && start >= end) continue;
    const int64_t shift = av_rescale_q(shift_, shift_base_, from.time_base);
    if (__builtin_add_overflow(start, shift, &start) || __builtin_add_overflow(end, shift, &end)) {
      continue;
    }
    // A range begins between two frames and the file with the second of them; and a damaged file
    // may name an end before the start. Muxers refuse the whole file for either.
    start = std::max<int64_t>(start, 0);
    end = std::max(end, start);
    auto* chapter = static_cast<AVChapter*>(av_mallocz(sizeof(AVChapter)));
    if (!chapter) throw std::bad_alloc();
    chapter->id = from.id;
    chapter->time_base = from.time_base;
    chapter->start = start;
    chapter->end = end;
    av_dict_copy(&chapter->metadata, from.metadata, 0);
    int count = static_cast<int>(output.nb_chapters);
    av_dynarray_add(&output.chapters, &count, chapter);
    output.nb_chapters = static_cast<unsigned>(count);
  }
}

Result<bool> Remuxer::next(AVPacket& packet, const AVFormatContext& output) {
  for (;;) {
    if (const PacketPtr ready = queue_.pop()) {
      av_packet_unref(&packet);
      av_packet_move_ref(&packet, ready.get());
      return true;
    }
    if (queue_.finished()) return false;
    PacketPtr read_now = make_packet();
    if (TRY(read(*read_now, output))) {
      queue_.push(std::move(read_now));
    } else {
      queue_.finish();
    }
  }
}

Result<bool> Remuxer::read(AVPacket& packet, const AVFormatContext& output) {
  for (;;) {
    if (!TRY(input_->read(packet))) return false;
    const auto index = static_cast<size_t>(packet.stream_index);
    // A stream that appeared late has no route: it was not there when the header was planned.
    if (index >= routes_.size() || fates_[index].fate == Fate::scored) continue;
    const AVStream& from = *input_->stream(packet.stream_index);
    if (!packet_in_range(packet, from, window_)) continue;
    Route& route = routes_[index];
    hash_packet(route.hash, packet);
    ++route.packets;
    if (route.output < 0) continue;
    const Fate fate = fates_[index].fate;
    if (fate == Fate::attached) {
      ++packets_;
      continue;  // went into the header
    }
    if (route.converter && !TRY(route.converter->convert(packet))) continue;
    ++packets_;
    const AVStream& to = *output.streams[route.output];
    av_packet_rescale_ts(&packet, from.time_base, to.time_base);
    const int64_t shift = av_rescale_q(shift_, shift_base_, to.time_base);
    packet.pts = plus(packet.pts, shift);
    packet.dts = plus(packet.dts, shift);
    if (is_matroska(request_.container) && to.codecpar->codec_id == AV_CODEC_ID_OPUS) {
      // The demuxer takes the codec's delay off (RFC 9559, CodecDelay); libav 5.1's muxer names the
      // delay but does not add it.
      const int64_t delay = av_rescale_q(to.codecpar->initial_padding, {1, 48000}, to.time_base);
      packet.pts = plus(packet.pts, delay);
      packet.dts = plus(packet.dts, delay);
    }
    if (from.disposition & AV_DISPOSITION_ATTACHED_PIC) packet.pts = packet.dts = 0;
    packet.stream_index = route.output;
    packet.pos = -1;
    return true;
  }
}

Result<void> Remuxer::check_hashes() {
  for (const CopiedStream& copied : request_.expected) {
    Route& route = routes_[static_cast<size_t>(copied.index)];
    if (route.packets != copied.packets || route.hash.finish_hex() != copied.sha256) {
      return make_error(Code::conflict,
                        "Stream {} of the input is not what it was when the run began: the file "
                        "changed; run again.",
                        copied.index);
    }
  }
  return {};
}

}  // namespace atelier::media
