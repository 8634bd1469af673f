// SPDX-License-Identifier: Apache-2.0
// The output file. Two sources of packets are merged by decode time: the joined chunks and the rest
// of the input. Nothing is buffered but what dts_queue.h bounds, so memory does not depend on how
// the input is interleaved.
#include "media/muxer.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <new>
#include <numeric>
#include <system_error>

#include "base/file.h"
#include "media/av.h"
#include "media/joiner.h"
#include "media/matroska_rotation.h"
#include "media/remuxer.h"
#include "media/stream_labels.h"

extern "C" {
#include <libavutil/opt.h>
#include <libavutil/timecode.h>
}

namespace atelier::media {
namespace {

// Headers, tables and rounding on top of the packets themselves.
constexpr uint64_t kRoomForTables = 1 << 20;

// In a transport stream a packet arrives this long before its time (in microseconds, what libav's
// own program uses), and no time may be below zero.
constexpr int kTransportDelay = 1400000;

// The output file and its muxer. Unless keep() was called, the file goes with the object.
class OutputFile {
 public:
  explicit OutputFile(std::filesystem::path path) : path_(std::move(path)) {}
  ~OutputFile() {
    if (format_) {
      avio_closep(&format_->pb);
      avformat_free_context(format_);
    }
    std::error_code ignored;
    if (created_ && !kept_) std::filesystem::remove(path_, ignored);
  }
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  Result<void> open(Container container) {
    const std::string url = "file:" + path_.string();  // whatever the path looks like
    int done =
        avformat_alloc_output_context2(&format_, nullptr, muxer_name(container), url.c_str());
    if (done < 0) return failed(done);
    done = avio_open2(&format_->pb, url.c_str(), AVIO_FLAG_WRITE, nullptr, nullptr);
    if (done < 0) return failed(done);
    created_ = true;
    format_->flags |= AVFMT_FLAG_BITEXACT;
    format_->avoid_negative_ts = 0;  // sound may begin before the picture
    format_->strict_std_compliance = FF_COMPLIANCE_EXPERIMENTAL;  // FLAC, stereo and sphere in MP4
    return {};
  }
  AVFormatContext& get() { return *format_; }
  Error failed(int error) const {
    const int written = format_ && format_->pb ? format_->pb->error : 0;
    if (written < 0) error = written;
    return make_error(code_of_av(error, Code::internal), "Cannot write '{}': {}.", path_.string(),
                      describe_av(error));
  }
  // Checks the last bytes too, which leave the buffer only now.
  Result<uint64_t> keep(std::span<const double> rolls) {
    avio_flush(format_->pb);
    const int before = format_->pb->error;
    const int closed = avio_closep(&format_->pb);
    if (before < 0 || closed < 0) return failed(before < 0 ? before : closed);
    TRY(make_rotations_flat(path_, rolls));
    std::error_code error;
    const auto size = std::filesystem::file_size(path_, error);
    if (error) return failed(AVERROR(error.value()));
    kept_ = true;
    return static_cast<uint64_t>(size);
  }

 private:
  std::filesystem::path path_;
  AVFormatContext* format_ = nullptr;
  bool created_ = false;
  bool kept_ = false;
};

class Mux {
 public:
  Mux(const MuxRequest& request, std::stop_token stop)
      : request_(request), stop_(std::move(stop)), file_(request.scratch) {}
  Result<MuxReport> run();

 private:
  Result<void> check_room() const;
  void choose_shift();
  Result<void> describe_video(AVStream& stream) const;
  Result<void> write_header();
  Result<void> write_packets();
  Result<bool> next_video();
  Result<void> write(AVPacket& packet);
  void note_refused();
  void note_empty();
  void keep_times_legal(AVPacket& packet);
  void note_start(const AVPacket& packet);
  void set_movie_timescale();
  bool time_codes_work();
  void turn_in_matroska();
  void movie_options(AVDictionary** options);
  void keep_frames_apart();
  void fit_gif(AVPacket& packet);
  void end_gif();

  const MuxRequest& request_;
  std::stop_token stop_;
  OutputFile file_;
  std::unique_ptr<Joiner> joiner_;
  std::unique_ptr<Remuxer> remuxer_;
  AVStream* video_ = nullptr;             // in the output
  int64_t shift_ = 0;                     // in video_time_base
  std::vector<int64_t> container_times_;  // in display order, where the container is coarser
  PacketPtr video_packet_ = make_packet();
  PacketPtr other_packet_ = make_packet();
  std::vector<std::optional<int64_t>> last_dts_;   // by output stream
  std::vector<std::optional<int64_t>> first_pts_;  // by output stream
  std::map<size_t, uint64_t> refused_;             // packets, by output stream
  std::vector<double> rolls_;                      // see matroska_rotation.h
  uint64_t short_frames_ = 0;                      // GIF alone
  int64_t gif_last_ = 0;
  int64_t gif_end_ = 0;
  MuxReport report_;
};

Result<void> Mux::check_room() const {
  std::filesystem::path folder = request_.scratch.parent_path();
  if (folder.empty()) folder = ".";
  const uint64_t needed = request_.input->size() + joiner_->bytes() + kRoomForTables;
  const uint64_t room = TRY(free_space(folder));
  if (room < needed) {
    return make_error(Code::no_space,
                      "'{}' has room for {} MB, but the output may need {} MB: free some space or "
                      "write elsewhere.",
                      folder.string(), room / 1000000, needed / 1000000 + 1);
  }
  return {};
}

void Mux::choose_shift() {
  const int64_t first = joiner_->first_pts();
  const bool cut = request_.range.from.has_value() || is_bare(request_.container);
  const AVRational base = to_av(request_.video_time_base);
  // Half a second more for sound that begins before the picture.
  const int64_t earliest =
      request_.container == Container::mpegts
          ? av_rescale_q_rnd(kTransportDelay + 600000, AV_TIME_BASE_Q, base, AV_ROUND_UP)
          : 0;
  if (!cut && first >= earliest) return;
  shift_ = earliest - first;
  report_.shifted_seconds = MediaTime{shift_, request_.video_time_base}.seconds();
  if (shift_ == 0) return;
  if (earliest > 0) {
    report_.notes.push_back(fmt::format(
        "In MPEG-TS the clock must run before the first picture: all times are moved by {:+.6f} s.",
        report_.shifted_seconds));
    return;
  }
  if (is_bare(request_.container)) return;
  report_.notes.push_back(
      cut ? fmt::format("All times are moved by {:+.6f} s, so that the part begins at zero.",
                        report_.shifted_seconds)
          : fmt::format("The video began before zero, where players hide frames: all streams are "
                        "moved by {:+.6f} s.",
                        report_.shifted_seconds));
}

void add_side_data(AVStream& stream, AVPacketSideDataType type, std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  uint8_t* to = av_stream_new_side_data(&stream, type, bytes.size());
  if (!to) throw std::bad_alloc();
  std::memcpy(to, bytes.data(), bytes.size());
}

// Of the source's own side data: what describes the picture, not the bytes. (It is no longer Dolby
// Vision, whose enhancement is gone.)
bool describes_picture(AVPacketSideDataType type) {
  return type == AV_PKT_DATA_DISPLAYMATRIX || type == AV_PKT_DATA_STEREO3D ||
         type == AV_PKT_DATA_SPHERICAL || type == AV_PKT_DATA_ICC_PROFILE;
}

// Where the muxer's own choice among a codec's tags is not what QuickTime wants: HEVC with its
// parameter sets in the header, ProRes by its profile. 0: the muxer's own.
uint32_t movie_tag(const AVCodecParameters& parameters, const PixelFormat& format) {
  if (parameters.codec_id == AV_CODEC_ID_HEVC) return MKTAG('h', 'v', 'c', '1');
  if (parameters.codec_id != AV_CODEC_ID_PRORES) return 0;
  return format.chroma_shift_x == 0 ? MKTAG('a', 'p', '4', 'h') : MKTAG('a', 'p', 'c', 'h');
}

Result<void> Mux::describe_video(AVStream& stream) const {
  AVCodecParameters& parameters = *stream.codecpar;
  const int copied = avcodec_parameters_copy(&parameters, &joiner_->parameters());
  if (copied < 0) return file_.failed(copied);
  const EncodeSettings& encode = request_.encode;
  parameters.codec_tag = movie_tag(parameters, encode.format);
  if (!is_movie(request_.container)) parameters.codec_tag = 0;
  parameters.sample_aspect_ratio = to_av(encode.sample_aspect_ratio);
  parameters.field_order = AV_FIELD_PROGRESSIVE;
  parameters.video_delay = static_cast<int>(std::min<size_t>(joiner_->reorder(), 16));
  set_color(parameters, encode.color);
  stream.sample_aspect_ratio = parameters.sample_aspect_ratio;
  stream.time_base = to_av(request_.video_time_base);
  if (encode.frame_rate.num > 0 && encode.frame_rate.den > 0) {
    stream.avg_frame_rate = stream.r_frame_rate = to_av(encode.frame_rate);
  }
  const AVStream& from = remuxer_->scored();
  for (int i = 0; i < from.nb_side_data; ++i) {
    const AVPacketSideData& data = from.side_data[i];
    if (!describes_picture(data.type)) continue;
    add_side_data(stream, data.type, {reinterpret_cast<const std::byte*>(data.data), data.size});
  }
  add_side_data(stream, AV_PKT_DATA_MASTERING_DISPLAY_METADATA, encode.hdr.mastering_display);
  add_side_data(stream, AV_PKT_DATA_CONTENT_LIGHT_LEVEL, encode.hdr.content_light);
  return {};
}

// A time code track needs a rate that SMPTE ST 12 knows; without one the muxer would refuse all.
bool Mux::time_codes_work() {
  AVFormatContext& format = file_.get();
  for (unsigned i = 0; i < format.nb_streams; ++i) {
    const AVStream& stream = *format.streams[i];
    if (stream.codecpar->codec_type != AVMEDIA_TYPE_VIDEO) continue;
    const AVDictionaryEntry* entry = av_dict_get(stream.metadata, "timecode", nullptr, 0);
    if (!entry) entry = av_dict_get(format.metadata, "timecode", nullptr, 0);
    AVTimecode code{};
    if (entry &&
        av_timecode_init_from_string(&code, stream.avg_frame_rate, entry->value, nullptr) < 0) {
      return false;
    }
  }
  return true;
}

void Mux::turn_in_matroska() {
  AVFormatContext& format = file_.get();
  for (unsigned i = 0; i < format.nb_streams; ++i) {
    AVStream& stream = *format.streams[i];
    if (stream.codecpar->codec_type != AVMEDIA_TYPE_VIDEO) continue;
    if (add_rotation_stand_in(stream, rolls_) == Turn::not_possible) {
      report_.notes.push_back(
          "Matroska cannot say that the picture is mirrored: it is left as it is stored; MP4 "
          "(.mp4) "
          "keeps it.");
    }
  }
}

void Mux::movie_options(AVDictionary** options) {
  AVFormatContext& format = file_.get();
  std::string flags = "+faststart";
  // Without it colours are written only where all three of matrix, primaries and transfer are
  // known; with it a range that nobody named would become "limited".
  const ColorSpec& color = request_.encode.color;
  if (color != ColorSpec{.siting = color.siting}) flags += "+write_colr";
  bool plain = true;
  const AVDictionaryEntry* entry = nullptr;
  while ((entry = av_dict_get(format.metadata, "", entry, AV_DICT_IGNORE_SUFFIX))) {
    plain = plain && is_itunes_tag(entry->key);
  }
  // QuickTime's keys hold any tag, but then there is no place for a cover.
  bool cover = false;
  for (unsigned i = 0; i < format.nb_streams; ++i) {
    cover = cover || (format.streams[i]->disposition & AV_DISPOSITION_ATTACHED_PIC);
  }
  const bool keys = !plain || request_.container == Container::mov;
  if (keys && !cover) flags += "+use_metadata_tags";
  if (cover && !plain) {
    report_.notes.push_back(
        "MP4 holds either a cover picture or tags of one's own: the cover is kept and some tags "
        "are left out; Matroska (.mkv) keeps both.");
  }
  av_dict_set(options, "movflags", flags.c_str(), 0);
  av_dict_set(options, "use_editlist", "1", 0);
  if (time_codes_work()) return;
  av_dict_set(options, "write_tmcd", "0", 0);
  report_.notes.push_back(
      "The time code is left out: this frame rate has none; Matroska (.mkv) keeps it as a tag.");
}

Result<void> Mux::write_header() {
  AVFormatContext& format = file_.get();
  AVDictionary* options = nullptr;
  if (is_matroska(request_.container)) {
    turn_in_matroska();
    av_dict_set(&options, "default_mode", "passthrough", 0);
  } else if (is_movie(request_.container)) {
    movie_options(&options);
  } else if (request_.container == Container::mpegts) {
    // Times as they are; the clock runs kTransportDelay before the first picture.
    av_dict_set(&options, "mpegts_copyts", "1", 0);
    format.max_delay = kTransportDelay / 2;
  }
  const int written = avformat_write_header(&format, &options);
  av_dict_free(&options);
  if (written < 0) return file_.failed(written);
  last_dts_.resize(format.nb_streams);
  first_pts_.resize(format.nb_streams);
  return {};
}

// MP4 stores a late start in ticks of the movie's clock, by default milliseconds: too coarse for
// sound. The muxer reads the option when it writes its tables, after the last packet.
void Mux::set_movie_timescale() {
  constexpr int64_t kDefault = 1000;
  int64_t scale = kDefault;
  const AVFormatContext& format = file_.get();
  for (size_t i = 0; i < first_pts_.size(); ++i) {
    if (!first_pts_[i] || *first_pts_[i] <= 0) continue;
    const AVRational base = format.streams[i]->time_base;
    const int64_t den = base.den / std::gcd<int64_t>(*first_pts_[i] * base.num, base.den);
    const int64_t together = std::lcm(scale, den);
    if (together <= INT32_MAX) scale = together;
  }
  if (scale != kDefault) av_opt_set_int(format.priv_data, "movie_timescale", scale, 0);
}

void Mux::note_start(const AVPacket& packet) {
  auto& first = first_pts_[static_cast<size_t>(packet.stream_index)];
  if (!first && packet.pts != AV_NOPTS_VALUE) first = packet.pts;
}

// libav refuses a file in which decode times stand still; inputs with such times exist.
void Mux::keep_times_legal(AVPacket& packet) {
  auto& last = last_dts_[static_cast<size_t>(packet.stream_index)];
  const AVFormatContext& format = file_.get();
  const AVStream& stream = *format.streams[packet.stream_index];
  const AVMediaType type = stream.codecpar->codec_type;
  if (packet.dts == AV_NOPTS_VALUE) packet.dts = packet.pts;
  if (packet.dts == AV_NOPTS_VALUE) packet.dts = last ? *last + 1 : 0;
  if (packet.pts == AV_NOPTS_VALUE) packet.pts = packet.dts;
  if (type != AVMEDIA_TYPE_SUBTITLE && type != AVMEDIA_TYPE_DATA && last) {
    const int step = (format.oformat->flags & AVFMT_TS_NONSTRICT) ? 0 : 1;
    packet.dts = std::max(packet.dts, *last + step);
  }
  if (packet.pts < packet.dts) {
    // A time base too coarse for the delay: the shown time is what counts.
    if (!last || packet.pts > *last) {
      packet.dts = packet.pts;
    } else {
      packet.pts = packet.dts;
    }
  }
  last = packet.dts;
}

Result<void> Mux::write(AVPacket& packet) {
  keep_times_legal(packet);
  note_start(packet);
  const auto stream = static_cast<size_t>(packet.stream_index);
  const int written = av_write_frame(&file_.get(), &packet);
  // Damage in a copied stream (a broken ADTS header) costs its packet, not the job.
  // aac_adtstoasc calls a header with impossible fields "not yet implemented".
  const bool refused = written == AVERROR_INVALIDDATA || written == AVERROR_PATCHWELCOME;
  if (refused && packet.stream_index != video_->index && file_.get().pb->error >= 0) {
    ++refused_[stream];
    return {};
  }
  if (written < 0 || file_.get().pb->error < 0) return file_.failed(written);
  return {};
}

void Mux::note_refused() {
  for (const auto& [stream, packets] : refused_) {
    report_.copied_packets -= packets;
    report_.notes.push_back(
        fmt::format("{} damaged packet{} of the {} stream that became number {} {} left out: the "
                    "container cannot hold {}.",
                    packets, packets == 1 ? "" : "s",
                    av_get_media_type_string(file_.get().streams[stream]->codecpar->codec_type),
                    stream, packets == 1 ? "is" : "are", packets == 1 ? "it" : "them"));
  }
}

// MP4 and MOV describe a stream by its packets: without any, libav leaves the stream out.
void Mux::note_empty() {
  if (!is_movie(request_.container)) return;
  const AVFormatContext& format = file_.get();
  for (unsigned i = 0; i < format.nb_streams; ++i) {
    if (static_cast<int>(i) == video_->index || last_dts_[i]) continue;
    const char* kind = av_get_media_type_string(format.streams[i]->codecpar->codec_type);
    report_.notes.push_back(
        fmt::format("The {} stream that would become number {} has no packet here and is left out: "
                    "MP4 and MOV hold no empty stream.",
                    kind ? kind : "unknown", i));
  }
}

Result<bool> Mux::next_video() {
  if (!TRY(joiner_->next(*video_packet_))) return false;
  const AVRational base = to_av(request_.video_time_base);
  video_packet_->pts += shift_;
  video_packet_->dts += shift_;
  av_packet_rescale_ts(video_packet_.get(), base, video_->time_base);
  video_packet_->stream_index = video_->index;
  keep_frames_apart();
  if (request_.container == Container::gif) fit_gif(*video_packet_);
  return true;
}

// Two frames closer than a tick of the container would share a time, and players show one of them.
void Mux::keep_frames_apart() {
  const AVRational base = to_av(request_.video_time_base);
  if (av_cmp_q(video_->time_base, base) <= 0) return;
  if (container_times_.empty()) {
    for (const int64_t pts : joiner_->times()) {
      const int64_t time = av_rescale_q(pts + shift_, base, video_->time_base);
      container_times_.push_back(
          container_times_.empty() ? time : std::max(time, container_times_.back() + 1));
    }
  }
  video_packet_->pts = container_times_[joiner_->shown_at()];
  const size_t decoded = joiner_->decoded_at();
  if (decoded >= joiner_->reorder()) {
    video_packet_->dts = container_times_[decoded - joiner_->reorder()];
  }
}

// Every chunk's first packet begins with a header of its own (GIF89a 18, without a global colour
// table, see fixed_options): only the file's first may. Times are hundredths of a second here, each
// rounded for itself; no two frames may share one.
void Mux::fit_gif(AVPacket& packet) {
  constexpr int kHeader = 13;
  const bool first = !last_dts_[0];
  if (!first && packet.size > kHeader && std::memcmp(packet.data, "GIF8", 4) == 0) {
    packet.data += kHeader;
    packet.size -= kHeader;
  }
  if (!first) packet.pts = std::max(packet.pts, *last_dts_[0] + 1);
  packet.dts = packet.pts;
  // Browsers take less than 2 for "no time given", and show such a frame for 10.
  if (!first && packet.pts - *last_dts_[0] < 2) ++short_frames_;
  gif_end_ = packet.pts + packet.duration;
  gif_last_ = packet.pts;
}

// What is known of the last frame only now.
void Mux::end_gif() {
  const int64_t delay = std::clamp<int64_t>(gif_end_ - gif_last_, 1, UINT16_MAX);
  av_opt_set_int(file_.get().priv_data, "final_delay", delay, 0);
  if (short_frames_ == 0) return;
  report_.notes.push_back(fmt::format(
      "{} frame{} last{} a hundredth of a second, the least that GIF can say; browsers show such "
      "frames for a tenth.",
      short_frames_, short_frames_ == 1 ? "" : "s", short_frames_ == 1 ? "s" : ""));
}

Result<void> Mux::write_packets() {
  AVFormatContext& format = file_.get();
  bool video = TRY(next_video());
  bool other = TRY(remuxer_->next(*other_packet_, format));
  while (video || other) {
    if (stop_.stop_requested()) return make_error(Code::cancelled, "Joining was interrupted.");
    bool take_video = video;
    if (video && other) {
      const int64_t time =
          other_packet_->dts == AV_NOPTS_VALUE ? other_packet_->pts : other_packet_->dts;
      take_video = time != AV_NOPTS_VALUE &&
                   av_compare_ts(video_packet_->dts, video_->time_base, time,
                                 format.streams[other_packet_->stream_index]->time_base) <= 0;
    }
    TRY(write(take_video ? *video_packet_ : *other_packet_));
    if (take_video) {
      ++report_.video_frames;
      video = TRY(next_video());
    } else {
      other = TRY(remuxer_->next(*other_packet_, format));
    }
  }
  return {};
}

// The container's own end of the video, where it says and the end is not cut off; 0 otherwise.
int64_t last_frame_duration(const AVStream& scored, const MuxRequest& request, int64_t last_pts) {
  if (request.range.to || scored.duration == AV_NOPTS_VALUE || scored.duration <= 0 ||
      scored.start_time == AV_NOPTS_VALUE) {
    return 0;
  }
  const AVRational base = to_av(request.video_time_base);
  const int64_t end = av_rescale_q(scored.start_time + scored.duration, scored.time_base, base);
  const int64_t rest = end - last_pts;
  // A header can say anything; nobody shows one frame for a minute.
  constexpr int64_t kLongestSeconds = 60;
  const bool sane = rest > 0 && av_compare_ts(rest, base, kLongestSeconds, {1, 1}) < 0;
  return sane ? rest : 0;
}

Result<MuxReport> Mux::run() {
  joiner_ = TRY(Joiner::open(request_, stop_));
  remuxer_ = TRY(Remuxer::open(request_));
  TRY(check_room());
  joiner_->set_last_duration(
      last_frame_duration(remuxer_->scored(), request_, joiner_->last_pts()));
  choose_shift();
  for (const StreamFate& fate : remuxer_->fates()) {
    if (!fate.note.empty()) report_.notes.push_back(fate.note);
  }
  TRY(file_.open(request_.container));
  video_ = TRY(remuxer_->describe_to(file_.get(), shift_, to_av(request_.video_time_base)));
  TRY(describe_video(*video_));
  TRY(write_header());
  TRY(write_packets());
  TRY(remuxer_->check_hashes());
  if (is_movie(request_.container)) set_movie_timescale();
  if (request_.container == Container::gif) end_gif();
  const int ended = av_write_trailer(&file_.get());
  if (ended < 0) return file_.failed(ended);
  report_.copied_packets = remuxer_->packets();
  note_refused();
  note_empty();
  report_.bytes = TRY(file_.keep(rolls_));
  return std::move(report_);
}

}  // namespace

Result<MuxReport> mux(const MuxRequest& request, std::stop_token stop) {
  return Mux(request, std::move(stop)).run();
}

}  // namespace atelier::media
