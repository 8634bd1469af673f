// SPDX-License-Identifier: Apache-2.0
// Private to src/media: one decoder running once over a video stream from one starting packet.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>

#include "base/bytes.h"
#include "base/result.h"
#include "media/av.h"
#include "media/frame_reader.h"
#include "media/media_info.h"

namespace atelier::media {

// Where a pass starts, from near to far.
enum class PassStart {
  key,          // the key packet that the request names
  earlier_key,  // a key packet before that
  far_key,      // the last key packet ten seconds or more before that, or else the first packet
};

// fast: any number of threads; the first sign of damage ends the pass. careful: one thread, damage
// is counted and decoding goes on as well as the decoder can.
enum class PassMode { fast, careful };

struct PassRequest {
  int stream = -1;
  std::optional<int64_t> first_pts;
  std::optional<int64_t> end_pts;
  std::optional<int64_t> key_dts;
  PassStart start = PassStart::key;
  PassMode mode = PassMode::fast;
  int threads = 0;
  // With earlier_key and far_key: the time of the key packet that was not early enough.
  std::optional<int64_t> before_dts;
  std::optional<int64_t> before_pts;
  // Damage is counted from this time on; unset: from first_pts.
  std::optional<int64_t> count_from;
  std::optional<int64_t> last_packet_pts;  // see ReadRequest
  // Alpha that lies beside the pictures (VP8, VP9) is decoded; false: frames come without it.
  bool alpha = true;
};

class DecodePass {
 public:
  enum class Step { frame, end, damage };

  // Errors: invalid_input (no decoder, the stream is gone), the source's own.
  static Result<std::unique_ptr<DecodePass>> open(ByteSource& source, const PassRequest& request);

  // The next frame in display order into `frame`; frames of discarded packets do not come out.
  // damage is for fast passes only; after it or end nothing more comes.
  Result<Step> step(AVFrame& frame);

  // Careful passes: packets and frames between count_from and end_pts that were refused or flagged.
  uint64_t errors() const;
  // From here on the stretch that follows directly is read: what was missing before `first_pts` is
  // forgotten, and errors() counts in the new stretch.
  void go_on(const ReadRequest& next);
  // The lowest pts, from first_pts on, of a shown packet that was decoded and whose frame has not
  // come out before or as the last frame.
  std::optional<int64_t> lowest_missing_pts() const {
    return expected_.empty() ? std::nullopt : std::optional(*expected_.begin());
  }
  // Whether the decoder may give frames in another order than it is fed.
  bool reorders() const;
  // Whether it was fed the packet of last_packet_pts.
  bool fed_last() const { return !request_.last_packet_pts || fed_last_; }
  // The first packet decoded.
  std::optional<int64_t> start_pts() const { return start_pts_; }
  std::optional<int64_t> start_dts() const { return start_dts_; }

 private:
  DecodePass(ByteSource& source, const PassRequest& request)
      : source_(source), request_(request), packet_(make_packet()), passed_over_(make_packet()) {}
  Result<void> reopen_input();
  Result<void> open_decoder();
  Result<void> position();
  Result<bool> seek_to(int64_t time);
  Result<bool> seek_to_key();
  Result<bool> seek_to_earlier_key();
  Result<bool> read_on_to_key();
  Result<bool> next_packet();
  Result<void> rewind();
  // Feeds one packet, or the end. Returns false on damage.
  Result<bool> feed();
  bool is_hidden(const AVFrame& frame);
  void keep_side_data();
  void attach_side_data();

  ByteSource& source_;
  PassRequest request_;
  std::unique_ptr<Input> input_;
  CodecContextPtr decoder_;
  PacketPtr packet_;
  bool packet_is_held_ = false;  // packet_ was read while positioning and is the first to decode
  bool draining_ = false;
  // Times of what was refused or flagged, and how much had no time.
  std::multiset<int64_t> error_times_;
  uint64_t errors_without_time_ = 0;
  void count_error(int64_t pts);
  // Of packets that were passed over: what the decoder needs to know all the same.
  PacketPtr passed_over_;
  std::set<int64_t> expected_;  // pts of decoded, shown packets without a frame yet
  std::optional<int64_t> start_pts_;
  std::optional<int64_t> start_dts_;
  bool fed_last_ = false;
  std::set<int64_t> fed_beyond_;  // pts of packets that were fed and belong to later stretches
  std::set<int64_t> discarded_;   // pts of packets that are decoded but not shown
};

}  // namespace atelier::media
