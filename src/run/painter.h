// SPDX-License-Identifier: Apache-2.0
// The network's part of the scoring stage: pictures of frames, equal ones painted once, small ones
// several at once, each by the network of its shot. Internal to src/run; one thread.
#pragma once

#include <memory>
#include <span>

#include "media/frame_reader.h"
#include "run/scorer.h"

namespace atelier::run {

// A frame on its way from decoder to encoder.
struct FrameItem {
  explicit FrameItem(media::DecodedFrame frame) : decoded(std::move(frame)) {}
  media::DecodedFrame decoded;                 // its samples until it is painted
  std::shared_ptr<const FrameBuffer> painted;  // null until scored; equal frames share one
};

class Painter {
 public:
  // `job` must outlive this.
  explicit Painter(const ScoreJob& job) : job_(job) {}

  // Chunks begin anew, so that what is counted does not depend on who scored the one before.
  void begin_chunk() { last_ = {}; }
  // How many frames like this one are worth waiting for.
  Result<size_t> room(const FrameItem& frame);
  // Paints frames of a chunk, in order, and drops their samples. Errors: those of the runners.
  Result<void> paint(std::span<const std::unique_ptr<FrameItem>> frames);
  // Frames of this chunk that equal the one before them.
  uint64_t repeated() const { return last_.repeated; }

 private:
  // The frame scored last in this chunk; its samples stay alive for the comparison.
  struct Last {
    size_t shot = 0;
    FrameView view;
    std::shared_ptr<const void> keep_alive;  // of the view
    std::shared_ptr<const FrameBuffer> painted;
    uint64_t repeated = 0;
  };
  struct Pending {
    const media::DecodedFrame* frame;
    std::shared_ptr<FrameBuffer> made;
  };

  bool repeats_last(const FrameItem& frame, size_t shot) const;
  Result<model::Runner*> runner_for(const media::DecodedFrame& frame);
  Result<void> score(std::span<const Pending> frames);

  const ScoreJob& job_;
  Last last_;
};

}  // namespace atelier::run
