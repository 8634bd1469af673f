// SPDX-License-Identifier: Apache-2.0
// Private to src/media: one whole picture of the two fields of each interlaced frame, by
// libavfilter's bwdif. A picture depends on its own frame and on the one before and the one after
// it, on nothing else; so a stretch that is given one frame more on both sides gets the bits of a
// straight run.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "base/result.h"
#include "media/av.h"

struct AVFilterContext;
struct AVFilterGraph;

namespace atelier::media {

// Frames come out in the order in which they went in, one for one, with the times, side data and
// duration of their own. Frames that are not flagged interlaced come out as they are. Where size or
// pixel format change, nothing is taken from the other side of the change. One thread.
class Deinterlacer {
 public:
  Deinterlacer();
  ~Deinterlacer();
  // `frame` must be planar (planar_frame() in frame_convert.h); it is referenced, not copied.
  // Errors: invalid_input (libavfilter cannot deinterlace this size or pixel format), internal.
  Result<void> push(AVFrame& frame);
  // No frame will follow: the last one comes out without a look at a next one.
  Result<void> finish();
  // The next frame into `out` (unreferenced first); false when another must be pushed first.
  Result<bool> pull(AVFrame& out);

 private:
  struct Free {
    void operator()(AVFilterGraph* graph) const;
  };
  Result<void> start(const AVFrame& like);
  Result<void> send(AVFrame& frame);
  Result<void> drain();

  std::unique_ptr<AVFilterGraph, Free> graph_;
  AVFilterContext* source_ = nullptr;  // owned by graph_
  AVFilterContext* sink_ = nullptr;
  int width_ = 0;
  int height_ = 0;
  int format_ = -1;
  int64_t number_ = 0;               // of the next frame sent
  int to_drop_ = 0;                  // outputs that are no frame of ours
  std::deque<int64_t> waiting_pts_;  // of frames inside the filter
  std::deque<FramePtr> ready_;
};

}  // namespace atelier::media
