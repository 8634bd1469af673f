// SPDX-License-Identifier: Apache-2.0
// Decoded frames of one stretch of a video, in display order.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>

#include "base/bytes.h"
#include "base/frame.h"
#include "base/result.h"
#include "base/time.h"
#include "media/media_info.h"

namespace atelier::media {

// What travels with a frame untouched from reader to writer (captions, dynamic HDR metadata).
// Opaque.
class FrameExtras;

// A decoded frame. Owns its samples; `view` stays valid as long as this object lives.
struct DecodedFrame {
  FrameView view;
  int64_t pts = 0;  // in the stream's time base, best effort; unique and increasing within a reader
  int64_t duration = 0;  // in the same; 0 when unknown
  std::shared_ptr<const FrameExtras> extras;
  std::shared_ptr<const void> keep_alive;  // what `view` points into
};

struct ReadRequest {
  int stream = -1;
  // Frames with first_pts <= pts < end_pts; unset means from the start / to the end.
  std::optional<int64_t> first_pts;
  std::optional<int64_t> end_pts;
  // Where the decoder starts: the dts of a key packet at or before first_pts in decode order.
  // Unset: the file's start. If the first frame wanted does not appear, the reader itself goes back
  // another key packet, then ten seconds (intra refresh).
  std::optional<int64_t> key_dts;
  // The pts of the stretch's packet that lies last in the file. Until the decoder has been fed it,
  // a frame of a later stretch is not the end: damage gives frames times far from their places.
  // Unset: the first such frame ends the stretch.
  std::optional<int64_t> last_packet_pts;
  // Make one whole picture of the two fields of each interlaced frame (bwdif); progressive frames
  // stay as they are. A picture then depends on the frames beside it too: `context_pts` is the time
  // of the frame shown before first_pts (unset when there is none), and key_dts must lie at or
  // before that one. The frame after end_pts the reader finds itself.
  bool deinterlace = false;
  std::optional<int64_t> context_pts;
  // Scale to this size on the way; 0x0 keeps the stream's own. Bicubic, siting respected.
  int width = 0;
  int height = 0;
  // For the decoder; 0: one per core. Never changes a picture: decoders that conceal damage in
  // other ways with other thread counts (H.264, HEVC, MPEG-4) run on one thread whatever is asked.
  int threads = 0;
};

struct ReadReport {
  uint64_t frames = 0;
  uint64_t decode_errors =
      0;  // packets or frames the decoder refused or flagged; those frames are lost or damaged
  uint64_t retimed =
      0;  // frames without a time of their own, or with another's: given the next free one
  uint64_t interlaced = 0;  // frames flagged interlaced, whatever became of them
  bool reread_single_threaded = false;
};

// One thread. Frames whose samples libav holds packed or semi-planar come out planar with nothing
// lost.
class FrameReader {
 public:
  // `source` must outlive the reader. Errors: invalid_input (no decoder, unsupported pixel format,
  // interlaced without request.deinterlace).
  static Result<std::unique_ptr<FrameReader>> open(ByteSource& source, const MediaInfo& info,
                                                   const ReadRequest& request);
  virtual ~FrameReader() = default;
  // The next frame, or nothing at the end of the stretch: the decoder has been drained.
  // A damaged packet is no error: it is counted and skipped. A frame whose size differs from the
  // first one's is scaled to it. Errors: conflict (source changed), unavailable, internal.
  virtual Result<std::optional<DecodedFrame>> next() = 0;
  virtual const ReadReport& report() const = 0;
  // After the end: reads on into the stretch that follows directly, with a report of its own,
  // instead of decoding once more from the key packet that both stretches start at. False, and
  // nothing has changed, where a new reader could give other frames; then open one.
  virtual bool go_on(const ReadRequest& next) = 0;
};

}  // namespace atelier::media
