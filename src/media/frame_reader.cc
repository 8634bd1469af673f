// SPDX-License-Identifier: Apache-2.0
// The same frames whatever the number of threads and wherever the file is cut.
//
// Damage. Decoders conceal damage differently with other thread counts, so a damaged stretch counts
// as decoded by one thread, always. A fast pass runs with all threads and AV_EF_EXPLODE, under
// which a decoder must refuse what it would else conceal. libav reports the results of frame
// threads in the order of the packets, so every frame that came out before the first refusal
// depends on sound packets only and is what one thread gives too. Hence on the first refusal a
// careful pass (one thread, no AV_EF_EXPLODE) starts at the same packet, passes over as many frames
// as were handed out, and goes on from there. Cost: an undamaged stretch pays nothing, a damaged
// one is decoded twice up to the damage.
//
// Only decoders that keep to this run fast. H.264 does not: a picture whose slices just end early
// is concealed without an error, and with frame threads the flag for it is set after the frame went
// out (seen: other pictures with 2 and with 4 threads, neither flagged). Nor does HEVC (seen: one
// damaged file in six, 10 of 60, gives other pictures with 4 threads, without any error). MPEG-4
// part 2 aborts the program under AV_EF_EXPLODE (seen: an assertion in avcodec_send_packet). They,
// and all that were not tried, decode carefully from the start.
//
// VP8 and VP9 with alpha beside the picture run fast on libvpx, with one thread; there the careful
// pass is libav's own decoder, which knows no alpha: opaque pictures are better than none.
//
// Starts. A stretch starts at the key packet that the plan names. H.264 and HEVC decoders may hold
// back frames that a straight decode shows: with intra refresh until the picture is whole, after an
// open GOP (seen: the very last frame) when reference marking refers to what was before the start.
// So before a frame is handed out, every decoded packet with a lower time must have given its
// frame; if not, and nothing was damaged, the pass starts again one key packet earlier, then ten
// seconds earlier, and passes over what was handed out.
#include "media/frame_reader.h"

#include <algorithm>
#include <array>
#include <deque>

#include "media/av.h"
#include "media/decode_pass.h"
#include "media/deinterlacer.h"
#include "media/frame_convert.h"
#include "media/frame_extras.h"
#include "media/range_select.h"

namespace atelier::media {
namespace {

ColorSpec complete(ColorSpec color, const ColorSpec& from) {
  if (color.matrix == AVCOL_SPC_UNSPECIFIED) color.matrix = from.matrix;
  if (color.primaries == AVCOL_PRI_UNSPECIFIED) color.primaries = from.primaries;
  if (color.transfer == AVCOL_TRC_UNSPECIFIED) color.transfer = from.transfer;
  if (color.range == ColorSpec::Range::unspecified) color.range = from.range;
  if (color.siting == ColorSpec::Siting::unspecified) color.siting = from.siting;
  return color;
}

// Decoders whose damaged streams were seen to give the same frames with 1, 2 and 4 threads.
bool threads_are_safe(std::string_view codec) {
  return codec == "vp9" || codec == "av1" || codec == "ffv1";
}

// Decoders that say of each frame whether it is interlaced; for the others the stream's word holds.
bool flags_each_frame(std::string_view codec) {
  static constexpr std::array kFlagging = {
      "h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "vc1",  "wmv3",    "dvvideo",
      "cavs", "cfhd", "prores",     "dnxhd",      "mjpeg", "ffv1", "utvideo", "rawvideo"};
  return std::find(kFlagging.begin(), kFlagging.end(), codec) != kFlagging.end();
}

class StretchReader final : public FrameReader {
 public:
  StretchReader(ByteSource& source, const StreamInfo& stream, const ReadRequest& request)
      : source_(source),
        request_(request),
        video_(stream.video),
        stream_flags_all_(stream.video.interlaced && !flags_each_frame(stream.codec)),
        first_mode_(stream.video.alpha_beside                                 ? PassMode::fast
                    : request.threads == 1 || !threads_are_safe(stream.codec) ? PassMode::careful
                                                                              : PassMode::fast),
        // Elsewhere a key packet is complete, and packets that show nothing are common.
        goes_back_(stream.codec == "h264" || stream.codec == "hevc"),
        decoded_(make_frame()),
        frame_(make_frame()),
        scaler_(request.width > 0 && request.height > 0 ? request.width : stream.video.width,
                request.width > 0 && request.height > 0 ? request.height : stream.video.height,
                stream.video.format) {}

  Result<void> start() { return start_pass(PassStart::key, first_mode_); }

  Result<std::optional<DecodedFrame>> next() override {
    for (;;) {
      while (const std::optional<Passing> passing = TRY(take_ready())) {
        const int64_t time = passing->time;
        // Only there for its neighbours.
        if (request_.first_pts && time < *request_.first_pts) continue;
        if (request_.end_pts && time >= *request_.end_pts) continue;
        if (to_skip_ > 0) {
          --to_skip_;
          continue;
        }
        return std::optional<DecodedFrame>(TRY(hand_out(*passing)));
      }
      if (done_) return std::optional<DecodedFrame>();
      TRY(advance());
    }
  }

  const ReadReport& report() const override { return report_; }

  bool go_on(const ReadRequest& next) override {
    const bool follows = done_ && !at_end_ && request_.end_pts &&
                         next.first_pts == request_.end_pts && next.key_dts == request_.key_dts &&
                         next.stream == request_.stream && next.width == request_.width &&
                         next.height == request_.height && next.deinterlace == request_.deinterlace;
    // A pass that had to start earlier is not where a new reader would start.
    if (!follows || start_ != PassStart::key || to_skip_ > 0 || !in_order_) return false;
    // After damage a new reader of a deinterlaced stretch looks for frames that this one saw.
    if (request_.deinterlace && report_.decode_errors > 0) return false;
    request_ = next;
    pass_->go_on(request_);
    report_ = {};
    appeared_ = false;
    done_ = false;
    passed_end_ = 0;
    last_pts_.reset();
    return true;
  }

 private:
  // What is known of a frame while it waits for its neighbours.
  struct Passing {
    int64_t time = 0;
    bool own_time = true;
    bool interlaced = false;
  };

  std::optional<int64_t> decode_from() const {
    return request_.deinterlace && request_.context_pts ? request_.context_pts : request_.first_pts;
  }

  // One step of the decoder; what it gives waits for take_ready().
  Result<void> advance() {
    if (!holds_decoded_) {
      const DecodePass::Step step = TRY(pass_->step(*decoded_));
      if (step == DecodePass::Step::damage) {
        report_.reread_single_threaded = true;
        return start_pass(start_, PassMode::careful);
      }
      at_end_ = step == DecodePass::Step::end;
      decoded_time_ = at_end_ ? 0 : TRY(time_of(*decoded_));
    }
    holds_decoded_ = false;
    report_.decode_errors = pass_->errors();
    const int64_t time = decoded_time_;
    // Without a time for the context, every frame before is one.
    const bool before = request_.first_pts && time < *request_.first_pts;
    const bool context =
        request_.deinterlace && (!request_.context_pts || time >= *request_.context_pts);
    if (!at_end_ && before && !context) return {};
    const bool past_end = at_end_ || (request_.end_pts && time >= *request_.end_pts);
    if (is_frame_missing(at_end_ ? std::nullopt : std::optional(time)) && TRY(went_back())) {
      return {};
    }
    if (past_end && !at_end_ && may_still_come()) {
      in_order_ = false;
      if (pass_->fed_last()) ++passed_end_;
      return {};
    }
    if (past_end) {
      done_ = true;
      if (at_end_) {
        if (request_.deinterlace) TRY(deinterlacer_->finish());
      } else if (request_.deinterlace) {
        TRY(pass_on());  // the last frame's neighbour
      } else {
        holds_decoded_ = true;  // the first of the next stretch
      }
      return {};
    }
    if (!before) appeared_ = true;
    return pass_on();
  }

  Result<void> pass_on() {
    Passing passing;
    passing.time = decoded_time_;
    passing.own_time =
        decoded_->pts != AV_NOPTS_VALUE || decoded_->best_effort_timestamp != AV_NOPTS_VALUE;
    if (stream_flags_all_) {
      decoded_->interlaced_frame = 1;
      decoded_->top_field_first = video_.bottom_field_first ? 0 : 1;
    }
    passing.interlaced = decoded_->interlaced_frame != 0;
    passing_.push_back(passing);
    if (request_.deinterlace) {
      const FramePtr planar = TRY(planar_frame(*decoded_));
      return deinterlacer_->push(*planar);
    }
    av_frame_unref(frame_.get());
    av_frame_move_ref(frame_.get(), decoded_.get());
    return {};
  }

  // The next frame to show in frame_, if one is ready.
  Result<std::optional<Passing>> take_ready() {
    if (passing_.empty() || (request_.deinterlace && !TRY(deinterlacer_->pull(*frame_)))) {
      return std::optional<Passing>();
    }
    const Passing passing = passing_.front();
    passing_.pop_front();
    return std::optional(passing);
  }

  Result<void> start_pass(PassStart start, PassMode mode) {
    PassRequest pass;
    pass.stream = request_.stream;
    pass.first_pts = decode_from();
    pass.count_from = request_.first_pts;
    pass.end_pts = request_.end_pts;
    pass.key_dts = request_.key_dts;
    pass.last_packet_pts = request_.last_packet_pts;
    pass.start = start;
    pass.mode = mode;
    pass.threads = video_.alpha_beside ? 1 : request_.threads;
    // After damage libvpx, which alone sees that alpha, gives nothing up to the next key frame.
    pass.alpha = video_.alpha_beside && mode == PassMode::fast;
    pass.before_dts = before_dts_;
    pass.before_pts = before_pts_;
    pass_.reset();  // its threads and frames, before there are others
    pass_ = TRY(DecodePass::open(source_, pass));
    start_ = start;
    to_skip_ = report_.frames;
    last_time_.reset();
    passing_.clear();
    passed_end_ = 0;
    holds_decoded_ = false;
    deinterlacer_ = request_.deinterlace ? std::make_unique<Deinterlacer>() : nullptr;
    return {};
  }

  // Whether a frame that should have come before `time` (or before the end) has not.
  bool is_frame_missing(std::optional<int64_t> time) const {
    const std::optional<int64_t> missing = pass_->lowest_missing_pts();
    if (!goes_back_ || !request_.first_pts || !request_.key_dts || !missing) return false;
    // A deinterlaced frame needs the one after it, so there the frame after the end counts too.
    if (request_.end_pts && *missing >= *request_.end_pts && !request_.deinterlace) return false;
    // Damage explains a frame lost on the way; no other start would bring it back.
    if (appeared_ && pass_->errors() > 0) return false;
    return !time || *time > *missing;
  }

  // After a frame of a later stretch: whether frames of this one may follow. In a sound file none
  // does; damage gives frames times far from their places, or lets them out in another order.
  bool may_still_come() const {
    constexpr int kMostReordered = 16;  // pictures: H.264 A.3.1, HEVC A.4
    if (!pass_->fed_last()) return true;
    const std::optional<int64_t> missing = pass_->lowest_missing_pts();
    return missing && *missing < *request_.end_pts && (goes_back_ || pass_->errors() > 0) &&
           pass_->reorders() && passed_end_ < kMostReordered;
  }

  // False when the pass started far back already.
  Result<bool> went_back() {
    if (start_ == PassStart::far_key) return false;
    PassStart earlier = PassStart::far_key;
    if (start_ == PassStart::key) {
      earlier = PassStart::earlier_key;
      before_dts_ = pass_->start_dts();
      before_pts_ = pass_->start_pts();
    }
    TRY(start_pass(earlier, first_mode_));
    return true;
  }

  // The packet's own pts where the container has one: libav's best effort looks at what came
  // before, so it depends on where decoding started.
  Result<int64_t> time_of(const AVFrame& frame) {
    int64_t time = frame.pts != AV_NOPTS_VALUE ? frame.pts : frame.best_effort_timestamp;
    if (time == AV_NOPTS_VALUE) {
      if (!last_time_) leading_ = TRY(leading_times(source_, request_.stream));
      const int64_t step = leading_ ? leading_->step : std::max<int64_t>(frame.pkt_duration, 1);
      const int64_t first = leading_ ? leading_->first : 0;
      if (!last_time_ || __builtin_add_overflow(*last_time_, step, &time)) time = first;
    }
    last_time_ = time;
    return time;
  }

  Result<DecodedFrame> hand_out(const Passing& passing) {
    PlanarPicture planar = TRY(to_planar(*frame_));
    planar.view.color = complete(planar.view.color, video_.color);
    PlanarPicture fitted = TRY(scaler_.fit(std::move(planar)));
    DecodedFrame out;
    out.view = fitted.view;
    out.keep_alive = std::move(fitted.keep_alive);
    const int64_t time = passing.time;
    // A broken file may give two frames one time; both are kept, one tick apart.
    out.pts = last_pts_ && time <= *last_pts_ && *last_pts_ < INT64_MAX ? *last_pts_ + 1 : time;
    last_pts_ = out.pts;
    if (out.pts != time || !passing.own_time) ++report_.retimed;
    if (passing.interlaced) ++report_.interlaced;
    out.duration = std::max<int64_t>(frame_->pkt_duration, 0);
    out.extras = FrameExtras::of(*frame_);
    ++report_.frames;
    return out;
  }

  ByteSource& source_;
  ReadRequest request_;
  VideoFacts video_;
  bool stream_flags_all_;  // interlaced, and the decoder does not say so frame by frame
  PassMode first_mode_;    // of a pass from a new start
  bool goes_back_;
  FramePtr decoded_;  // as the decoder gave it
  int64_t decoded_time_ = 0;
  bool holds_decoded_ = false;  // decoded_ has yet to be looked at
  FramePtr frame_;              // to be shown next
  std::deque<Passing> passing_;
  std::unique_ptr<Deinterlacer> deinterlacer_;
  PictureScaler scaler_;
  std::unique_ptr<DecodePass> pass_;
  PassStart start_ = PassStart::key;
  std::optional<int64_t> before_dts_;
  std::optional<int64_t> before_pts_;
  bool appeared_ = false;  // the first frame of the stretch has come out
  bool done_ = false;
  bool at_end_ = false;   // the decoder has been drained
  int passed_end_ = 0;    // frames of later stretches thrown away after the stretch's last packet
  bool in_order_ = true;  // no pass has thrown one away
  uint64_t to_skip_ = 0;  // frames of this pass that an earlier pass handed out
  std::optional<int64_t> last_time_;
  std::optional<LeadingTimes> leading_;  // when the first frame had no time
  std::optional<int64_t> last_pts_;
  ReadReport report_;
};

}  // namespace

Result<std::unique_ptr<FrameReader>> FrameReader::open(ByteSource& source, const MediaInfo& info,
                                                       const ReadRequest& request) {
  if (request.stream < 0 || static_cast<size_t>(request.stream) >= info.streams.size() ||
      info.streams[static_cast<size_t>(request.stream)].kind != StreamKind::video) {
    return make_error(Code::invalid_input, "The input has no video stream {}.", request.stream);
  }
  const StreamInfo& stream = info.streams[static_cast<size_t>(request.stream)];
  const VideoFacts& video = stream.video;
  if (video.fields_are_pictures) {
    return make_error(
        Code::invalid_input,
        "Video stream {} codes each field as a picture (interlaced HEVC), which cannot "
        "be scored: convert it to whole frames first.",
        request.stream);
  }
  if (video.interlaced && !request.deinterlace) {
    return make_error(Code::invalid_input, "Video stream {} is interlaced: use --deinterlace.",
                      request.stream);
  }
  const AVPixelFormat pixels = av_get_pix_fmt(video.source_pixel_format.c_str());
  if (video.width <= 0 || video.height <= 0 || pixels == AV_PIX_FMT_NONE) {
    return make_error(Code::invalid_input,
                      "Video stream {} ({}) cannot be decoded: no picture size or pixel format "
                      "could be found in it.",
                      request.stream, stream.codec);
  }
  if (planar_equivalent(pixels) == AV_PIX_FMT_NONE) {
    return make_error(Code::invalid_input,
                      "Video stream {} has the pixel format '{}', which Atelier cannot score.",
                      request.stream, video.source_pixel_format);
  }
  auto reader = std::make_unique<StretchReader>(source, stream, request);
  TRY(reader->start());
  return std::unique_ptr<FrameReader>(std::move(reader));
}

}  // namespace atelier::media
