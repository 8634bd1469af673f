// SPDX-License-Identifier: Apache-2.0
#include "media/packet_scan.h"

#include <algorithm>
#include <array>

#include "base/hash.h"
#include "media/av.h"
#include "media/cut_off.h"
#include "media/range_select.h"

namespace atelier::media {
namespace {

void hash_packet(Sha256& hash, const AVPacket& packet) {
  std::array<std::byte, 8> size{};
  for (size_t i = 0; i < size.size(); ++i) {
    size[i] = static_cast<std::byte>(static_cast<uint64_t>(packet.size) >> (8 * i));
  }
  hash.update(size);
  hash.update({reinterpret_cast<const std::byte*>(packet.data), static_cast<size_t>(packet.size)});
}

// The pts of AVI and of raw streams are computed by libav from the order of the packets; with
// B-frames they are a guess.
bool times_are_guessed(const AVFormatContext& format, const AVStream& stream) {
  if (format.iformat->flags & AVFMT_NOTIMESTAMPS) return true;
  return std::string_view(format.iformat->name) == "avi" && stream.codecpar->video_delay > 0;
}

bool shown_times_repeat(const std::vector<VideoPacket>& packets) {
  std::vector<int64_t> times;
  times.reserve(packets.size());
  for (const VideoPacket& p : packets) {
    if (!p.discard) times.push_back(p.pts);
  }
  std::sort(times.begin(), times.end());
  return std::adjacent_find(times.begin(), times.end()) != times.end();
}

// MP4 and MOV can be read by their index alone, so what it promises must be there. (libav takes the
// end of the file for the end of the last packet, or of the whole stream, and says nothing.)
bool has_binding_index(const AVFormatContext& format) {
  return std::string_view(format.iformat->name).starts_with("mov,");
}

bool is_behind(const AVIndexEntry& entry, int64_t file_size) {
  return entry.pos > file_size || entry.size > file_size - entry.pos;
}

class Scanner {
 public:
  Scanner(ByteSource& source, Input& input, const MediaInfo& info, PacketWindow window)
      : source_(source), input_(input), window_(window), scored_(info.video_stream) {
    const AVStream& video = *input.stream(scored_);
    scan_.time_base = from_av(video.time_base);
    scan_.pts_exact = !times_are_guessed(*input.get(), video);
    slot_.assign(info.streams.size(), SIZE_MAX);
    for (size_t i = 0; i < info.streams.size(); ++i) {
      if (static_cast<int>(i) == scored_) continue;
      slot_[i] = scan_.copied.size();
      scan_.copied.push_back({static_cast<int>(i), {}, 0});
    }
    hashes_.resize(scan_.copied.size());
    last_dts_.resize(info.streams.size());
  }

  Result<PacketScan> run(const std::stop_token& stop) {
    const PacketPtr packet = make_packet();
    while (TRY(input_.read(*packet))) {
      if (stop.stop_requested()) {
        return make_error(Code::cancelled, "Reading the input's packets was interrupted.");
      }
      if (packet->flags & AV_PKT_FLAG_CORRUPT) ++scan_.damaged_packets;
      const auto index = static_cast<size_t>(packet->stream_index);
      if (index < last_dts_.size() && packet->dts != AV_NOPTS_VALUE) last_dts_[index] = packet->dts;
      if (packet->stream_index == scored_) {
        take_video(*packet);
      } else {
        take_other(*packet);
      }
    }
    scan_.truncated = input_.truncated() || index_goes_beyond_end();
    if (scan_.packets.empty()) {
      return make_error(Code::invalid_input, "Stream {} is a video without a single packet.",
                        scored_);
    }
    TRY(time_leading_packets());
    if (scan_.truncated) find_readable_end();
    for (size_t i = 0; i < hashes_.size(); ++i) scan_.copied[i].sha256 = hashes_[i].finish_hex();
    if (scan_.pts_exact && shown_times_repeat(scan_.packets)) scan_.pts_exact = false;
    return std::move(scan_);
  }

 private:
  bool index_goes_beyond_end() const {
    const AVFormatContext& format = *input_.get();
    if (!has_binding_index(format)) return false;
    const int64_t size = avio_size(format.pb);
    for (size_t s = 0; s < slot_.size(); ++s) {
      AVStream* stream = format.streams[s];
      for (int i = avformat_index_get_entries_count(stream) - 1; i >= 0; --i) {
        if (is_behind(*avformat_index_get_entry(stream, i), size)) return true;
      }
    }
    return false;
  }

  Result<void> time_leading_packets() {
    if (timeless_.empty() || timeless_.front() != 0) return {};
    const auto leading = TRY(leading_times(source_, scored_));
    if (!leading) return {};
    int64_t time = leading->first;
    for (size_t i = 0; i < timeless_.size() && i < leading->count; ++i, time += leading->step) {
      VideoPacket& packet = scan_.packets[timeless_[i]];
      packet.pts = packet.dts = time;
    }
    return {};
  }

  // What comes before the decode time of a stream's first unread packet is shown before it too. The
  // last video packet may be cut off itself; whether it is the last says only an index.
  void find_readable_end() {
    const AVFormatContext& format = *input_.get();
    scan_.readable_until = scan_.packets.back().dts;
    if (!has_binding_index(format)) return;
    const int64_t size = avio_size(format.pb);
    for (size_t s = 0; s < slot_.size(); ++s) {
      AVStream* stream = format.streams[s];
      // The demuxer reads the text of chapters by itself.
      if (static_cast<int>(s) == scored_ || stream->discard >= AVDISCARD_ALL) continue;
      for (int i = 0; i < avformat_index_get_entries_count(stream); ++i) {
        const AVIndexEntry& entry = *avformat_index_get_entry(stream, i);
        const bool read = last_dts_[s] && entry.timestamp <= *last_dts_[s];
        if (read && !is_behind(entry, size)) continue;
        const int64_t at = av_rescale_q_rnd(entry.timestamp, stream->time_base,
                                            to_av(scan_.time_base), AV_ROUND_DOWN);
        scan_.readable_until = std::min(scan_.readable_until, at);
        break;
      }
    }
  }

  void take_video(const AVPacket& packet) {
    VideoPacket p;
    p.discard = packet.flags & AV_PKT_FLAG_DISCARD;
    p.key = packet.flags & AV_PKT_FLAG_KEY;
    p.duration = packet.duration;
    if (packet.pts == AV_NOPTS_VALUE && !p.discard) scan_.pts_exact = false;
    // A packet with no time at all goes right after the one before it.
    const int64_t last = scan_.packets.empty() ? -1 : scan_.packets.back().dts;
    const int64_t next = last == INT64_MAX ? last : last + 1;
    const int64_t either = packet.pts != AV_NOPTS_VALUE ? packet.pts : packet.dts;
    p.pts = either != AV_NOPTS_VALUE ? either : next;
    if (either == AV_NOPTS_VALUE && !p.discard) timeless_.push_back(scan_.packets.size());
    p.dts = packet.dts != AV_NOPTS_VALUE ? packet.dts : p.pts;
    scan_.packets.push_back(p);
  }

  void take_other(const AVPacket& packet) {
    const auto index = static_cast<size_t>(packet.stream_index);
    // A transport stream may begin new streams on the way; probe() did not see them, so nobody
    // copies them.
    if (index >= slot_.size()) return;
    if (!packet_in_range(packet, *input_.stream(packet.stream_index), window_)) return;
    hash_packet(hashes_[slot_[index]], packet);
    ++scan_.copied[slot_[index]].packets;
  }

  ByteSource& source_;
  Input& input_;
  PacketWindow window_;
  int scored_;
  PacketScan scan_;
  std::vector<size_t> slot_;  // stream index to its place in scan_.copied
  std::vector<Sha256> hashes_;
  std::vector<std::optional<int64_t>> last_dts_;  // by stream
  std::vector<size_t> timeless_;                  // shown packets of scan_ without any time
};

}  // namespace

Result<PacketScan> scan_packets(ByteSource& source, const MediaInfo& info, const TimeRange& range,
                                std::stop_token stop) {
  if (info.video_stream < 0) {
    return make_error(Code::invalid_input, "The input has no video stream.");
  }
  PacketWindow window = TRY(packet_window(source, info, range));
  auto input = TRY(Input::open(source, "The input"));
  if (input->get()->nb_streams < info.streams.size()) {
    return make_error(Code::conflict, "The input has fewer streams than when it was probed.");
  }
  PacketScan scan = TRY(Scanner(source, *input, info, window).run(stop));
  scan.cut_off = TRY(is_cut_off(source, info.container));
  return scan;
}

}  // namespace atelier::media
