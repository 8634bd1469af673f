// SPDX-License-Identifier: Apache-2.0
// A demuxer over a ByteSource. The file may come from anybody, so only demuxers that read nothing
// but the bytes they are given are let in, and the ways to open anything else are closed as well.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <new>

#include "media/av.h"

namespace atelier::media {
namespace {

constexpr int kBufferBytes = 64 * 1024;
// Demuxers that say "again" without an end would hang the program.
constexpr int kMaxAgain = 1000;

// By the first of libav's names. Left out on purpose: playlists, manifests and sequences (hls,
// dash, concat, imf, image2, vobsub, sdp, ...), which open other files, and tty, which takes any
// text for a film.
constexpr std::array kSelfContained = {
    "3dostr", "aac",         "ac3",       "aiff",      "amr",      "apng",  "asf",  "au",
    "av1",    "avi",         "caf",       "cavsvideo", "dirac",    "dnxhd", "dts",  "dv",
    "eac3",   "flac",        "flv",       "gif",       "gxf",      "h261",  "h263", "h264",
    "hevc",   "ivf",         "live_flv",  "m4v",       "matroska", "mjpeg", "mov",  "mp3",
    "mpeg",   "mpegts",      "mpegvideo", "mxf",       "nsv",      "nut",   "obu",  "ogg",
    "rm",     "swf",         "tta",       "vc1",       "vc1test",  "w64",   "wav",  "wtv",
    "wv",     "yuv4mpegpipe"};

bool is_self_contained(const AVInputFormat& format) {
  const std::string_view names = format.name;
  const std::string_view first = names.substr(0, names.find(','));
  return std::find(kSelfContained.begin(), kSelfContained.end(), first) != kSelfContained.end();
}

int refuse_to_open(AVFormatContext*, AVIOContext** pb, const char*, int, AVDictionary**) {
  *pb = nullptr;
  return AVERROR(EACCES);
}

}  // namespace

struct Input::Io {
  ByteSource* source = nullptr;
  std::string name;
  uint64_t position = 0;
  std::optional<Error> error;
  AVIOContext* context = nullptr;

  ~Io() {
    if (context) av_freep(&context->buffer);
    avio_context_free(&context);
  }

  static int read(void* opaque, uint8_t* into, int size) {
    auto& io = *static_cast<Io*>(opaque);
    if (io.error) return AVERROR(EIO);
    if (size <= 0) return AVERROR_EOF;
    auto got = io.source->read_at(io.position,
                                  {reinterpret_cast<std::byte*>(into), static_cast<size_t>(size)});
    if (!got.ok()) {
      io.error = got.error();
      return AVERROR(EIO);
    }
    if (*got == 0) return AVERROR_EOF;
    io.position += *got;
    return static_cast<int>(*got);
  }

  static int64_t seek(void* opaque, int64_t offset, int whence) {
    auto& io = *static_cast<Io*>(opaque);
    const auto size = static_cast<int64_t>(io.source->size());
    int64_t target = 0;
    switch (whence & ~AVSEEK_FORCE) {
      case AVSEEK_SIZE: return size;
      case SEEK_SET: target = offset; break;
      case SEEK_CUR:
        if (__builtin_add_overflow(static_cast<int64_t>(io.position), offset, &target)) {
          return AVERROR(EINVAL);
        }
        break;
      case SEEK_END:
        if (__builtin_add_overflow(size, offset, &target)) return AVERROR(EINVAL);
        break;
      default: return AVERROR(EINVAL);
    }
    if (target < 0) return AVERROR(EINVAL);
    io.position = static_cast<uint64_t>(target);
    return target;
  }
};

Input::Input() : io_(std::make_unique<Io>()) {}

Input::~Input() { avformat_close_input(&format_); }

const std::optional<Error>& Input::source_error() const { return io_->error; }

Result<std::unique_ptr<Input>> Input::open(ByteSource& source, std::string_view name) {
  if (source.size() == 0) {
    return make_error(Code::invalid_input, "{} is empty: there is nothing to read.", name);
  }
  std::unique_ptr<Input> input(new Input());
  Io& io = *input->io_;
  io.source = &source;
  io.name = name;
  auto* buffer = static_cast<unsigned char*>(av_malloc(kBufferBytes));
  if (!buffer) throw std::bad_alloc();
  io.context = avio_alloc_context(buffer, kBufferBytes, 0, &io, &Io::read, nullptr, &Io::seek);
  if (!io.context) {
    av_free(buffer);
    throw std::bad_alloc();
  }

  const AVInputFormat* demuxer = nullptr;
  const int probed = av_probe_input_buffer2(io.context, &demuxer, "", nullptr, 0, 0);
  if (io.error) return *io.error;
  if (probed < 0 || !demuxer) {
    return make_error(Code::invalid_input,
                      "{} is not a video: its bytes match no container that Atelier reads.", name);
  }
  if (!is_self_contained(*demuxer)) {
    return make_error(Code::invalid_input,
                      "{} is not a video: it looks like '{}', which Atelier does not read.", name,
                      demuxer->name);
  }

  AVFormatContext* format = avformat_alloc_context();
  if (!format) throw std::bad_alloc();
  format->pb = io.context;
  format->io_open = &refuse_to_open;
  format->protocol_whitelist = av_strdup("none");
  format->format_whitelist = av_strdup(demuxer->name);
  const int opened = avformat_open_input(&format, "", demuxer, nullptr);  // frees it on failure
  if (io.error) {
    if (opened >= 0) avformat_close_input(&format);
    return *io.error;
  }
  if (opened < 0) {
    return make_error(
        Code::invalid_input,
        "{} cannot be read: it looks like '{}', but its header is missing, damaged or "
        "cut off ({}).",
        name, demuxer->name, describe_av(opened));
  }
  input->format_ = format;
  const int found = avformat_find_stream_info(format, nullptr);
  if (io.error) return *io.error;
  if (format->nb_streams == 0) {
    return make_error(Code::invalid_input, "{} holds no stream that could be found ({}).", name,
                      found < 0 ? describe_av(found) : demuxer->name);
  }
  return input;
}

Result<bool> Input::read(AVPacket& packet) {
  av_packet_unref(&packet);
  int again = 0;
  for (;;) {
    const int got = av_read_frame(format_, &packet);
    if (io_->error) return *io_->error;
    if (got >= 0) return true;
    if (got == AVERROR(EAGAIN) && ++again < kMaxAgain) continue;
    if (got != AVERROR_EOF) truncated_ = true;
    return false;
  }
}

}  // namespace atelier::media
