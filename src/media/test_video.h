// SPDX-License-Identifier: Apache-2.0
// For tests only: small videos made in memory with libav's encoders, and a slow, obvious decoder to
// compare the fast one with.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/frame.h"
#include "media/av.h"
#include "media/frame_reader.h"
#include "media/packet_scan.h"

namespace atelier::media::test {

struct TestVideo {
  std::string codec = "libx264";
  std::string container = "mp4";  // libav's muxer name
  std::string pixel_format = "yuv420p";
  int width = 96;
  int height = 64;
  int frames = 50;
  Rational time_base{1, 25};
  std::vector<int64_t> pts;  // of each frame in time_base; empty: 0, 1, 2, ...
  int gop = 12;
  int b_frames = 0;
  std::map<std::string, std::string> options;        // of the encoder
  std::map<std::string, std::string> muxer_options;  // of the container
  ColorSpec color;
  Rational sample_aspect_ratio{0, 1};
  int rotation = 0;         // degrees clockwise, in the display matrix
  bool audio = false;       // a second stream: AAC, mono, 48 kHz, as long as the video
  bool cover_art = false;   // a last stream: an attached PNG
  bool interlaced = false;  // encoded as top field first
};

// A moving texture, different in every frame and plane. Fails the running test and returns nothing
// if libav refuses.
std::vector<std::byte> make_video(const TestVideo& what);

// What identifies a decoded frame: its time and a hash of its visible samples.
struct FrameId {
  int64_t pts = 0;
  std::string hash;   // of the colours
  std::string alpha;  // empty without: libav's own VP8 and VP9 decoders leave it out
  bool operator==(const FrameId&) const = default;
};
std::ostream& operator<<(std::ostream& out, const FrameId& id);

// Whether two lists are equal, with the first difference and the number of them. A frame whose time
// libav does not know matches any time, one without alpha any alpha.
testing::AssertionResult same_frames(const std::vector<FrameId>& got,
                                     const std::vector<FrameId>& wanted);

FrameId identify(const DecodedFrame& frame);

// All frames of a stream from the first packet to the last with one thread and no seeking, by
// libav's calls alone. For formats that are planar as they come.
std::vector<FrameId> decode_plainly(ByteSource& source, int stream);

// Everything `request` gives.
struct ReadFrames {
  std::vector<FrameId> frames;
  ReadReport report;
};
ReadFrames read_frames(ByteSource& source, const MediaInfo& info, const ReadRequest& request);

// Requests that together cover the scanned stream, each of about `seconds`. One request for a
// stream whose times are not exact.
std::vector<ReadRequest> cut(const PacketScan& scan, int stream, double seconds, int threads);

// The frames of all those requests, one after another.
std::vector<FrameId> read_in_stretches(ByteSource& source, const MediaInfo& info, double seconds,
                                       int threads, uint64_t* errors = nullptr);

}  // namespace atelier::media::test
