// SPDX-License-Identifier: Apache-2.0
// Private to src/media: every stream of the input but the scored one, on its way into the output.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.h"
#include "media/container_fit.h"
#include "media/dts_queue.h"
#include "media/muxer.h"
#include "media/range_select.h"
#include "media/text_subtitles.h"

namespace atelier::media {

class Remuxer {
 public:
  // `request` must outlive it. Errors: as Input::open and packet_window.
  static Result<std::unique_ptr<Remuxer>> open(const MuxRequest& request);

  const Input& input() const { return *input_; }
  const AVStream& scored() const { return *input_->stream(request_.info->video_stream); }
  const std::vector<StreamFate>& fates() const { return fates_; }
  // Makes the output's streams in the input's order, the scored one too, whose parameters the
  // caller fills in; then the metadata and chapters. `shift` (in `shift_base`) is added to every
  // time. Returns the scored output stream.
  Result<AVStream*> describe_to(AVFormatContext& output, int64_t shift, AVRational shift_base);
  // The next packet to write, its stream index and times (in that stream's time base, after the
  // header was written) the output's; false at the end of the input. A pts is never changed but by
  // the shift; for the dts see dts_queue.h. Errors: the source's own.
  Result<bool> next(AVPacket& packet, const AVFormatContext& output);
  // After next() returned false: every copied stream must hash to what the scan saw.
  // Errors: conflict, naming the stream.
  Result<void> check_hashes();
  uint64_t packets() const { return packets_; }

 private:
  struct Route {
    int output = -1;
    std::unique_ptr<SubtitleConverter> converter;
    Sha256 hash;
    uint64_t packets = 0;
  };
  explicit Remuxer(const MuxRequest& request) : request_(request) {}
  Result<AVStream*> add_stream(AVFormatContext& output, int index);
  void add_chapters(AVFormatContext& output) const;
  // As next(), in the input's order with the input's dts.
  Result<bool> read(AVPacket& packet, const AVFormatContext& output);

  const MuxRequest& request_;
  std::unique_ptr<Input> input_;
  PacketWindow window_;
  std::vector<StreamFate> fates_;
  std::vector<Route> routes_;  // by input stream
  DtsQueue queue_;
  int64_t shift_ = 0;
  AVRational shift_base_{1, 1};
  uint64_t packets_ = 0;
};

}  // namespace atelier::media
