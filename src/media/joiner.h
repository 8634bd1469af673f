// SPDX-License-Identifier: Apache-2.0
// Private to src/media: the packets of all chunks as one video stream.
//
// A chunk's timestamps count from its first frame and its encoder's dts are worthless outside it:
// chunks of one or two frames would make them run backwards at a join. So dts are made anew from
// the pts of all packets: with S = all pts sorted and D = the deepest reorder of any packet,
// dts[i] = S[i-D], and S[0]-(D-i) ticks for the first D. That is the smallest constant delay, hence
// strictly increasing and never above the pts. Cost: two passes over the chunks, 8 bytes a frame.
// Tested by joiner_test.cc.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "media/av.h"
#include "media/muxer.h"

namespace atelier::media {

// The largest number of places that a packet stands behind its place in display order: 0 without
// B-frames. `pts` in decode order, all different.
size_t deepest_reorder(std::span<const int64_t> pts);
// The rule above. `pts` in decode order, all different.
std::vector<int64_t> join_dts(std::span<const int64_t> pts);

class Joiner {
 public:
  ~Joiner();
  // The first pass: reads every chunk, counts its frames, compares codec parameters. `request` must
  // outlive the joiner. Errors: corrupt (names the chunk), cancelled, what open_chunk returns.
  static Result<std::unique_ptr<Joiner>> open(const MuxRequest& request, std::stop_token stop);
  // Of the first chunk.
  const AVCodecParameters& parameters() const { return *parameters_; }
  size_t reorder() const { return reorder_; }
  uint64_t frames() const { return times_.size(); }
  int64_t first_pts() const { return times_.front(); }
  int64_t last_pts() const { return times_.back(); }
  // All pts in display order, strictly increasing.
  std::span<const int64_t> times() const { return times_; }
  // Of the last packet of next(): its places in display order and in decode order, from 0.
  size_t shown_at() const { return shown_at_; }
  size_t decoded_at() const { return written_ - 1; }
  // Bytes of all chunks.
  uint64_t bytes() const { return bytes_; }
  // Of the last frame, in video_time_base; before the first next(). Unset: like the frame before.
  void set_last_duration(int64_t ticks) { last_duration_ = ticks; }
  // The next packet in decode order with pts, dts and duration in video_time_base, stream index 0;
  // false at the end. Errors as open.
  Result<bool> next(AVPacket& packet);

 private:
  struct Chunk;
  explicit Joiner(const MuxRequest& request);
  Result<void> index(size_t number, std::stop_token stop);
  Result<std::unique_ptr<Chunk>> open_chunk(size_t number) const;
  Result<bool> read(Chunk& chunk, AVPacket& packet) const;
  Result<void> append(size_t number, const std::vector<int64_t>& sorted);
  std::optional<size_t> place_of(int64_t pts) const;
  Result<void> check_same_parameters(const AVCodecParameters& parameters, size_t number) const;

  const MuxRequest& request_;
  CodecParametersPtr parameters_;
  std::vector<int64_t> times_;  // S
  size_t reorder_ = 0;          // D
  uint64_t bytes_ = 0;
  int64_t last_duration_ = 0;
  std::unique_ptr<Chunk> current_;
  size_t next_chunk_ = 0;
  size_t written_ = 0;
  size_t shown_at_ = 0;
  // Chunks whose frames moved on: the times in the chunk, and the place of its first in times_.
  struct Moved {
    size_t begin = 0;
    std::vector<int64_t> times;
  };
  std::map<size_t, Moved> moved_;
};

}  // namespace atelier::media
