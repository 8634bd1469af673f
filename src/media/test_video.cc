// SPDX-License-Identifier: Apache-2.0
#include "media/test_video.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>

#include "base/hash.h"

extern "C" {
#include <libavutil/display.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
}

namespace atelier::media::test {
namespace {

// Smooth motion with a little noise: compressible, and no two frames alike.
unsigned texture(int x, int y, int plane, int n) {
  const int wave = (x + 3 * n) * (2 + plane) + (y + n) * 3 + ((x / 8 + y / 8 + n / 4) % 3) * 40;
  const unsigned noise =
      (static_cast<unsigned>(x) * 73856093U ^ static_cast<unsigned>(y) * 19349663U ^
       static_cast<unsigned>(n) * 83492791U) >>
      27;
  return (static_cast<unsigned>(wave) + noise) & 0xff;
}

void paint(AVFrame& frame, int n) {
  const auto format = static_cast<AVPixelFormat>(frame.format);
  const AVPixFmtDescriptor& d = *av_pix_fmt_desc_get(format);
  const bool wide = d.comp[0].depth > 8 && planar_equivalent(format) == format;
  if (d.flags & AV_PIX_FMT_FLAG_PAL) {
    auto* palette = reinterpret_cast<uint32_t*>(frame.data[1]);
    for (uint32_t i = 0; i < 256; ++i) {
      palette[i] = 0xff000000U | i << 16 | (i ^ 0x55U) << 8 | (255U - i);
    }
  }
  for (int p = 0; p < av_pix_fmt_count_planes(format); ++p) {
    const bool chroma = (p == 1 || p == 2) && !(d.flags & AV_PIX_FMT_FLAG_RGB);
    const int rows = chroma ? AV_CEIL_RSHIFT(frame.height, d.log2_chroma_h) : frame.height;
    const int bytes = av_image_get_linesize(format, frame.width, p);
    for (int y = 0; y < rows; ++y) {
      uint8_t* row = frame.data[p] + static_cast<ptrdiff_t>(y) * frame.linesize[p];
      for (int x = 0; x < (wide ? bytes / 2 : bytes); ++x) {
        const unsigned value = texture(x, y, p, n);
        if (wide) {
          const int shift = d.comp[0].depth - 8;
          reinterpret_cast<uint16_t*>(row)[x] =
              static_cast<uint16_t>(value << shift | (value & ((1U << shift) - 1)));
        } else {
          row[x] = static_cast<uint8_t>(value);
        }
      }
    }
  }
}

// A file in memory that can be written anywhere.
struct MemoryFile {
  std::vector<std::byte> bytes;
  size_t at = 0;

  static int write(void* opaque, uint8_t* data, int size) {
    auto& file = *static_cast<MemoryFile*>(opaque);
    const auto count = static_cast<size_t>(size);
    file.bytes.resize(std::max(file.bytes.size(), file.at + count));
    std::copy_n(reinterpret_cast<const std::byte*>(data), count,
                file.bytes.begin() + static_cast<ptrdiff_t>(file.at));
    file.at += count;
    return size;
  }
  static int64_t seek(void* opaque, int64_t offset, int whence) {
    auto& file = *static_cast<MemoryFile*>(opaque);
    const auto size = static_cast<int64_t>(file.bytes.size());
    if (whence & AVSEEK_SIZE) return size;
    const int64_t base = whence == SEEK_CUR ? static_cast<int64_t>(file.at) : size;
    file.at = static_cast<size_t>(whence == SEEK_SET ? offset : base + offset);
    return static_cast<int64_t>(file.at);
  }
};

struct MuxerDelete {
  void operator()(AVFormatContext* c) const {
    if (c->pb) {
      av_freep(&c->pb->buffer);
      avio_context_free(&c->pb);
    }
    avformat_free_context(c);
  }
};

class Maker {
 public:
  explicit Maker(const TestVideo& what) : what_(what) {}

  std::vector<std::byte> run() {
    if (!begin()) {
      ADD_FAILURE() << "libav refuses " << what_.codec << " in " << what_.container << ": "
                    << describe_av(error_);
      return {};
    }
    const FramePtr frame = make_frame();
    for (int n = 0; n < what_.frames; ++n) {
      frame->format = video_->pix_fmt;
      frame->width = what_.width;
      frame->height = what_.height;
      ok(av_frame_get_buffer(frame.get(), 0));
      paint(*frame, n);
      set_color(*frame, what_.color);
      frame->pts = pts_of(n);
      frame->sample_aspect_ratio = to_av(what_.sample_aspect_ratio);
      frame->interlaced_frame = what_.interlaced;
      frame->top_field_first = what_.interlaced;
      encode(video_.get(), frame.get(), 0);
      av_frame_unref(frame.get());
    }
    encode(video_.get(), nullptr, 0);
    if (audio_) write_audio();
    if (what_.cover_art) write_cover();
    ok(av_write_trailer(format_.get()));
    avio_flush(format_->pb);
    EXPECT_GE(error_, 0) << describe_av(error_) << " making " << what_.codec << " in "
                         << what_.container;
    return std::move(file_.bytes);
  }

 private:
  bool ok(int code) {
    if (code < 0 && error_ >= 0) error_ = code;
    return code >= 0;
  }

  int64_t pts_of(int n) const { return what_.pts.empty() ? n : what_.pts[static_cast<size_t>(n)]; }

  bool begin() {
    AVFormatContext* format = nullptr;
    if (!ok(avformat_alloc_output_context2(&format, nullptr, what_.container.c_str(), nullptr))) {
      return false;
    }
    format_.reset(format);
    format->flags |= AVFMT_FLAG_BITEXACT;
    format->avoid_negative_ts = AVFMT_AVOID_NEG_TS_DISABLED;
    constexpr int kBuffer = 4096;
    format->pb = avio_alloc_context(static_cast<unsigned char*>(av_malloc(kBuffer)), kBuffer, 1,
                                    &file_, nullptr, &MemoryFile::write, &MemoryFile::seek);
    if (!add_video()) return false;
    if (what_.audio && !add_audio()) return false;
    if (what_.cover_art) add_cover();
    AVDictionary* options = nullptr;
    for (const auto& [key, value] : what_.muxer_options) {
      av_dict_set(&options, key.c_str(), value.c_str(), 0);
    }
    const bool written = ok(avformat_write_header(format, &options));
    av_dict_free(&options);
    return written;
  }

  bool add_video() {
    const AVCodec* codec = avcodec_find_encoder_by_name(what_.codec.c_str());
    if (!codec) return ok(AVERROR_ENCODER_NOT_FOUND);
    video_.reset(avcodec_alloc_context3(codec));
    AVCodecContext* c = video_.get();
    c->width = what_.width;
    c->height = what_.height;
    c->pix_fmt = av_get_pix_fmt(what_.pixel_format.c_str());
    c->time_base = to_av(what_.time_base);
    if (what_.pts.empty()) c->framerate = {what_.time_base.den, what_.time_base.num};
    c->gop_size = what_.gop;
    c->max_b_frames = what_.b_frames;
    c->sample_aspect_ratio = to_av(what_.sample_aspect_ratio);
    c->thread_count = 1;
    c->strict_std_compliance = FF_COMPLIANCE_EXPERIMENTAL;
    set_color(*c, what_.color);
    if (what_.interlaced) c->flags |= AV_CODEC_FLAG_INTERLACED_DCT | AV_CODEC_FLAG_INTERLACED_ME;
    if (format_->oformat->flags & AVFMT_GLOBALHEADER) c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    AVDictionary* options = nullptr;
    for (const auto& [key, value] : what_.options) {
      av_dict_set(&options, key.c_str(), value.c_str(), 0);
    }
    const bool opened = ok(avcodec_open2(c, codec, &options));
    av_dict_free(&options);
    AVStream* stream = opened ? avformat_new_stream(format_.get(), nullptr) : nullptr;
    if (!stream) return false;
    stream->time_base = c->time_base;
    stream->avg_frame_rate = c->framerate;
    stream->sample_aspect_ratio = c->sample_aspect_ratio;
    if (what_.rotation != 0) {
      uint8_t* matrix =
          av_stream_new_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, 9 * sizeof(int32_t));
      av_display_rotation_set(reinterpret_cast<int32_t*>(matrix), what_.rotation);
    }
    return ok(avcodec_parameters_from_context(stream->codecpar, c));
  }

  bool add_audio() {
    const AVCodec* codec = avcodec_find_encoder_by_name("aac");
    audio_.reset(avcodec_alloc_context3(codec));
    AVCodecContext* c = audio_.get();
    c->sample_rate = 48000;
    c->sample_fmt = AV_SAMPLE_FMT_FLTP;
    av_channel_layout_default(&c->ch_layout, 1);
    c->time_base = {1, 48000};
    c->flags |= AV_CODEC_FLAG_BITEXACT;
    if (format_->oformat->flags & AVFMT_GLOBALHEADER) c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    if (!ok(avcodec_open2(c, codec, nullptr))) return false;
    AVStream* stream = avformat_new_stream(format_.get(), nullptr);
    stream->time_base = c->time_base;
    av_dict_set(&stream->metadata, "language", "deu", 0);
    return ok(avcodec_parameters_from_context(stream->codecpar, c));
  }

  void add_cover() {
    AVStream* stream = avformat_new_stream(format_.get(), nullptr);
    stream->codecpar->codec_type = AVMEDIA_TYPE_VIDEO;
    stream->codecpar->codec_id = AV_CODEC_ID_PNG;
    stream->codecpar->width = stream->codecpar->height = 200;  // larger than the film
    stream->disposition = AV_DISPOSITION_ATTACHED_PIC;
  }

  void write_audio() {
    const double seconds = what_.frames * what_.time_base.value();
    const FramePtr frame = make_frame();
    const auto total = static_cast<int64_t>(seconds * 48000);
    for (int64_t at = 0; at < total; at += 1024) {
      frame->format = AV_SAMPLE_FMT_FLTP;
      frame->sample_rate = 48000;
      frame->nb_samples = 1024;
      av_channel_layout_default(&frame->ch_layout, 1);
      ok(av_frame_get_buffer(frame.get(), 0));
      auto* samples = reinterpret_cast<float*>(frame->data[0]);
      for (int i = 0; i < 1024; ++i) {
        samples[i] = static_cast<float>((at + i) % 109) / 200.0F - 0.25F;
      }
      frame->pts = at;
      encode(audio_.get(), frame.get(), 1);
      av_frame_unref(frame.get());
    }
    encode(audio_.get(), nullptr, 1);
  }

  void write_cover() {
    const AVCodec* codec = avcodec_find_encoder_by_name("png");
    CodecContextPtr png(avcodec_alloc_context3(codec));
    png->width = png->height = 200;
    png->pix_fmt = AV_PIX_FMT_RGB24;
    png->time_base = {1, 25};
    ok(avcodec_open2(png.get(), codec, nullptr));
    const FramePtr frame = make_frame();
    frame->format = AV_PIX_FMT_RGB24;
    frame->width = frame->height = 200;
    ok(av_frame_get_buffer(frame.get(), 0));
    paint(*frame, 0);
    frame->pts = 0;
    encode(png.get(), frame.get(), audio_ ? 2 : 1);
  }

  void encode(AVCodecContext* encoder, const AVFrame* frame, int stream) {
    ok(avcodec_send_frame(encoder, frame));
    const PacketPtr packet = make_packet();
    while (avcodec_receive_packet(encoder, packet.get()) >= 0) {
      packet->stream_index = stream;
      const AVStream& to = *format_->streams[stream];
      av_packet_rescale_ts(packet.get(), encoder->time_base, to.time_base);
      ok(av_interleaved_write_frame(format_.get(), packet.get()));
    }
  }

  const TestVideo& what_;
  MemoryFile file_;
  std::unique_ptr<AVFormatContext, MuxerDelete> format_;
  CodecContextPtr video_;
  CodecContextPtr audio_;
  int error_ = 0;
};

std::string hash_planes(const FrameView& view, int first, int end) {
  Sha256 hash;
  for (int p = first; p < end; ++p) {
    const FrameView::Plane& plane = view.plane[static_cast<size_t>(p)];
    const auto bytes = static_cast<size_t>(view.plane_width(p)) *
                       static_cast<size_t>(view.format.bytes_per_sample());
    for (int y = 0; y < view.plane_height(p); ++y) {
      hash.update({plane.data + y * plane.stride, bytes});
    }
  }
  return hash.finish_hex().substr(0, 16);
}

FrameId identify_view(int64_t pts, const FrameView& view) {
  const int planes = view.format.planes();
  const int colours = planes - (view.format.alpha ? 1 : 0);
  return {pts, hash_planes(view, 0, colours),
          view.format.alpha ? hash_planes(view, colours, planes) : std::string()};
}

FrameId identify_plainly(const AVFrame& frame) {
  const PixelFormat format = describe(planar_equivalent(static_cast<AVPixelFormat>(frame.format)));
  FrameView view{frame.width, frame.height, format, {}, {}};
  constexpr std::array<size_t, 4> kRgb = {2, 0, 1, 3};
  for (size_t p = 0; p < static_cast<size_t>(format.planes()); ++p) {
    const size_t from = format.family == PixelFormat::Family::rgb ? kRgb[p] : p;
    view.plane[p] = {reinterpret_cast<std::byte*>(frame.data[from]), frame.linesize[from]};
  }
  return identify_view(frame.pts != AV_NOPTS_VALUE ? frame.pts : frame.best_effort_timestamp, view);
}

}  // namespace

std::vector<std::byte> make_video(const TestVideo& what) { return Maker(what).run(); }

std::ostream& operator<<(std::ostream& out, const FrameId& id) {
  return out << id.pts << ":" << id.hash;
}

testing::AssertionResult same_frames(const std::vector<FrameId>& got,
                                     const std::vector<FrameId>& wanted) {
  size_t differences = 0;
  size_t first = 0;
  const size_t common = std::min(got.size(), wanted.size());
  for (size_t i = 0; i < common; ++i) {
    const bool same_time = wanted[i].pts == AV_NOPTS_VALUE || got[i].pts == wanted[i].pts;
    const bool same_alpha =
        got[i].alpha.empty() || wanted[i].alpha.empty() || got[i].alpha == wanted[i].alpha;
    if (same_time && same_alpha && got[i].hash == wanted[i].hash) continue;
    if (differences++ == 0) first = i;
  }
  if (differences == 0 && got.size() == wanted.size()) return testing::AssertionSuccess();
  auto failure = testing::AssertionFailure();
  failure << got.size() << " frames instead of " << wanted.size() << ", " << differences
          << " differ";
  if (differences > 0) {
    failure << ", the first at " << first << ": " << got[first] << " instead of " << wanted[first];
  }
  return failure;
}

FrameId identify(const DecodedFrame& frame) { return identify_view(frame.pts, frame.view); }

std::vector<FrameId> decode_plainly(ByteSource& source, int stream) {
  std::vector<FrameId> frames;
  auto input = Input::open(source, "test");
  if (!input.ok()) {
    ADD_FAILURE() << input.error().message;
    return frames;
  }
  if (stream < 0) {
    ADD_FAILURE() << "no video stream";
    return frames;
  }
  const AVCodecParameters& parameters = *(*input)->stream(stream)->codecpar;
  const AVCodec* codec = avcodec_find_decoder(parameters.codec_id);
  CodecContextPtr decoder(avcodec_alloc_context3(codec));
  avcodec_parameters_to_context(decoder.get(), &parameters);
  decoder->thread_count = 1;
  decoder->pkt_timebase = (*input)->stream(stream)->time_base;
  EXPECT_GE(avcodec_open2(decoder.get(), codec, nullptr), 0);
  const PacketPtr packet = make_packet();
  const FramePtr frame = make_frame();
  for (bool more = true; more;) {
    auto read = (*input)->read(*packet);
    more = read.ok() && *read;
    if (more && packet->stream_index != stream) continue;
    (void)avcodec_send_packet(decoder.get(), more ? packet.get() : nullptr);
    while (avcodec_receive_frame(decoder.get(), frame.get()) >= 0) {
      frames.push_back(identify_plainly(*frame));
    }
  }
  return frames;
}

ReadFrames read_frames(ByteSource& source, const MediaInfo& info, const ReadRequest& request) {
  ReadFrames read;
  auto reader = FrameReader::open(source, info, request);
  if (!reader.ok()) {
    ADD_FAILURE() << reader.error().message;
    return read;
  }
  for (;;) {
    auto frame = (*reader)->next();
    if (!frame.ok()) {
      ADD_FAILURE() << frame.error().message;
      break;
    }
    if (!frame->has_value()) break;
    read.frames.push_back(identify(**frame));
  }
  read.report = (*reader)->report();
  return read;
}

std::vector<ReadRequest> cut(const PacketScan& scan, int stream, double seconds, int threads) {
  ReadRequest whole;
  whole.stream = stream;
  whole.threads = threads;
  std::vector<int64_t> shown;
  for (const VideoPacket& p : scan.packets) {
    if (!p.discard) shown.push_back(p.pts);
  }
  std::sort(shown.begin(), shown.end());
  if (!scan.pts_exact || shown.empty()) return {whole};
  const auto step = std::max<int64_t>(ticks_at_or_after(seconds, scan.time_base), 1);
  std::vector<ReadRequest> requests;
  for (auto first = shown.begin(); first != shown.end();) {
    ReadRequest request = whole;
    request.first_pts = *first;
    for (const VideoPacket& p : scan.packets) {
      if (p.key && p.pts <= *first) request.key_dts = p.dts;
      if (p.pts == *first) break;
    }
    const int64_t begun = *first;
    first = std::find_if(first, shown.end(), [&](int64_t pts) { return pts >= begun + step; });
    if (first != shown.end()) request.end_pts = *first;
    for (const VideoPacket& p : scan.packets) {
      if (p.pts >= begun && (!request.end_pts || p.pts < *request.end_pts)) {
        request.last_packet_pts = p.pts;
      }
    }
    requests.push_back(request);
  }
  return requests;
}

std::vector<FrameId> read_in_stretches(ByteSource& source, const MediaInfo& info, double seconds,
                                       int threads, uint64_t* errors) {
  std::vector<FrameId> frames;
  auto scan = scan_packets(source, info, {}, {});
  if (!scan.ok()) {
    ADD_FAILURE() << scan.error().message;
    return frames;
  }
  for (const ReadRequest& request : cut(*scan, info.video_stream, seconds, threads)) {
    const ReadFrames read = read_frames(source, info, request);
    frames.insert(frames.end(), read.frames.begin(), read.frames.end());
    if (errors) *errors += read.report.decode_errors;
  }
  return frames;
}

}  // namespace atelier::media::test
