// SPDX-License-Identifier: Apache-2.0
// For the tests of the writing half: an input decoded, encoded in chunks and joined, in memory.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "media/frame_reader.h"
#include "media/frame_writer.h"
#include "media/hdr.h"
#include "media/muxer.h"
#include "media/packet_scan.h"

namespace atelier::media::mux_test {

// Repeats chroma samples: exact enough where only sizes and times are looked at.
inline FrameBuffer with_format(const FrameView& from, const PixelFormat& format) {
  FrameBuffer buffer(from.width, from.height, format, from.color);
  const FrameView& to = buffer.view();
  const int bytes = format.bytes_per_sample();
  for (int p = 0; p < format.planes(); ++p) {
    const auto& source = from.plane[static_cast<size_t>(p)];
    const auto& target = to.plane[static_cast<size_t>(p)];
    for (int y = 0; y < to.plane_height(p); ++y) {
      const int sy = y * from.plane_height(p) / to.plane_height(p);
      for (int x = 0; x < to.plane_width(p); ++x) {
        const int sx = x * from.plane_width(p) / to.plane_width(p);
        std::copy_n(source.data + sy * source.stride + sx * bytes, bytes,
                    target.data + y * target.stride + x * bytes);
      }
    }
  }
  return buffer;
}

inline bool constant_rate(const PacketScan& scan) {
  std::set<int64_t> times;
  for (const VideoPacket& p : scan.packets) times.insert(p.pts);
  std::set<int64_t> deltas;
  for (auto i = times.begin(); i != times.end() && std::next(i) != times.end(); ++i) {
    deltas.insert(*std::next(i) - *i);
  }
  return deltas.size() <= 1 || *deltas.rbegin() - *deltas.begin() <= 1;
}

// Everything mux() needs, its owner.
struct Job {
  ByteSource* source = nullptr;
  MediaInfo info;
  PacketScan scan;
  EncodeSettings encode;
  TimeRange range;
  std::vector<JoinChunk> chunks;
  std::vector<std::vector<std::byte>> bytes;
  std::vector<int64_t> pts;  // of the frames, absolute

  MuxRequest request(Container container, const std::filesystem::path& scratch) {
    MuxRequest request;
    request.input = source;
    request.info = &info;
    request.range = range;
    request.video_time_base = encode.time_base;
    request.chunks = chunks;
    request.open_chunk = [this](size_t i) -> Result<std::unique_ptr<ByteSource>> {
      return std::unique_ptr<ByteSource>(std::make_unique<MemorySource>(bytes[i]));
    };
    request.encode = encode;
    request.expected = scan.copied;
    request.container = container;
    request.scratch = scratch;
    return request;
  }
};

struct JobOptions {
  std::string codec = "libx264";
  std::string preset = "ultrafast";
  double chunk_seconds = 0.5;
  TimeRange range;
  int max_frames_per_chunk = 1 << 30;
  std::map<std::string, std::string> encoder;
};

inline Result<EncodeSettings> settings_for(ByteSource& source, const MediaInfo& info,
                                           const PacketScan& scan, const JobOptions& options) {
  const StreamInfo& video = info.streams[static_cast<size_t>(info.video_stream)];
  EncodeSettings settings;
  settings.codec = options.codec;
  settings.preset = options.preset;
  settings.options = options.encoder;
  settings.width = video.video.width;
  settings.height = video.video.height;
  settings.format =
      TRY(choose_format(options.codec, video.video.format, settings.width, settings.height)).format;
  settings.color = video.video.color;
  settings.sample_aspect_ratio = video.video.sample_aspect_ratio;
  settings.time_base = video.time_base;
  if (constant_rate(scan)) settings.frame_rate = video.video.average_rate;
  settings.hdr = TRY(read_hdr_metadata(source, info));
  return settings;
}

// Decodes with FrameReader and encodes unchanged.
inline Result<Job> make_job(ByteSource& source, const JobOptions& options = {}) {
  Job job;
  job.source = &source;
  job.range = options.range;
  job.info = TRY(probe(source, "input"));
  job.scan = TRY(scan_packets(source, job.info, options.range, {}));
  job.encode = TRY(settings_for(source, job.info, job.scan, options));
  ReadRequest read;
  read.stream = job.info.video_stream;
  std::unique_ptr<FrameReader> reader = TRY(FrameReader::open(source, job.info, read));
  std::unique_ptr<FrameWriter> writer;
  MemorySink sink;
  std::optional<int64_t> origin;
  int64_t chunk_end = 0;
  const auto finish = [&]() -> Result<void> {
    if (!writer) return {};
    TRY(writer->finish());
    writer.reset();
    job.bytes.push_back(sink.take());
    return {};
  };
  const int64_t chunk_ticks =
      std::max<int64_t>(1, ticks_at_or_after(options.chunk_seconds, job.encode.time_base));
  while (auto frame = TRY(reader->next())) {
    if (!origin) origin = frame->pts;
    const MediaTime time{frame->pts - *origin, job.encode.time_base};
    if (options.range.from && time.seconds() < *options.range.from - 1e-9) continue;
    if (options.range.to && time.seconds() >= *options.range.to - 1e-9) continue;
    if (!writer || frame->pts >= chunk_end ||
        job.chunks.back().frames >= static_cast<uint64_t>(options.max_frames_per_chunk)) {
      TRY(finish());
      sink = MemorySink();
      writer = TRY(FrameWriter::create(job.encode, sink));
      job.chunks.push_back({frame->pts, 0});
      chunk_end = frame->pts + chunk_ticks;
    }
    const int64_t pts = frame->pts - job.chunks.back().first_pts;
    if (frame->view.format == job.encode.format) {
      TRY(writer->write(frame->view, pts, frame->duration, frame->extras));
    } else {
      const FrameBuffer converted = with_format(frame->view, job.encode.format);
      TRY(writer->write(converted.view(), pts, frame->duration, frame->extras));
    }
    ++job.chunks.back().frames;
    job.pts.push_back(frame->pts);
  }
  TRY(finish());
  return job;
}

// A folder that goes with the test.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "atelier-mux-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace atelier::media::mux_test
