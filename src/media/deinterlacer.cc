// SPDX-License-Identifier: Apache-2.0
#include "media/deinterlacer.h"

#include <new>

extern "C" {
#include <libavfilter/avfilter.h>
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
}

namespace atelier::media {

Deinterlacer::Deinterlacer() = default;
Deinterlacer::~Deinterlacer() = default;

void Deinterlacer::Free::operator()(AVFilterGraph* graph) const { avfilter_graph_free(&graph); }

Result<void> Deinterlacer::start(const AVFrame& like) {
  graph_.reset(avfilter_graph_alloc());
  if (!graph_) throw std::bad_alloc();
  AVFilterGraph* graph = graph_.get();
  graph->nb_threads = 1;
  // A conversion that nobody asked for would change samples.
  avfilter_graph_set_auto_convert(graph, AVFILTER_AUTO_CONVERT_NONE);
  const std::string facts = fmt::format("video_size={}x{}:pix_fmt={}:time_base=1/1", like.width,
                                        like.height, like.format);
  AVFilterContext* weaver = nullptr;
  const bool made = avfilter_graph_create_filter(&source_, avfilter_get_by_name("buffer"), "in",
                                                 facts.c_str(), nullptr, graph) >= 0 &&
                    avfilter_graph_create_filter(&weaver, avfilter_get_by_name("bwdif"), "bwdif",
                                                 "mode=send_frame:parity=auto:deint=interlaced",
                                                 nullptr, graph) >= 0 &&
                    avfilter_graph_create_filter(&sink_, avfilter_get_by_name("buffersink"), "out",
                                                 nullptr, nullptr, graph) >= 0 &&
                    avfilter_link(source_, 0, weaver, 0) >= 0 &&
                    avfilter_link(weaver, 0, sink_, 0) >= 0 &&
                    avfilter_graph_config(graph, nullptr) >= 0;
  if (!made) {
    graph_.reset();
    const char* name = av_get_pix_fmt_name(static_cast<AVPixelFormat>(like.format));
    return make_error(Code::invalid_input,
                      "Frames of {}x{} in '{}' cannot be deinterlaced: the filter takes sizes from "
                      "4x4 in planar formats.",
                      like.width, like.height, name ? name : "unknown");
  }
  width_ = like.width;
  height_ = like.height;
  format_ = like.format;
  // bwdif takes the first frame that it filters (not the first that it is given) for one without a
  // past, so which one that is would depend on where a stretch begins. A copy of the first frame
  // goes first and is thrown away: then every picture follows from its neighbours alone.
  FramePtr primer(av_frame_clone(&like));
  if (!primer) throw std::bad_alloc();
  primer->interlaced_frame = 1;
  ++to_drop_;
  return send(*primer);
}

Result<void> Deinterlacer::send(AVFrame& frame) {
  frame.pts = number_++;  // any time passes: the filter never sees it
  if (const int sent = av_buffersrc_add_frame(source_, &frame); sent < 0) {
    return make_error(Code::internal, "A frame could not be deinterlaced ({}).", describe_av(sent));
  }
  return {};
}

Result<void> Deinterlacer::push(AVFrame& frame) {
  const bool same = frame.width == width_ && frame.height == height_ && frame.format == format_;
  if (graph_ && !same) TRY(finish());
  if (!graph_) TRY(start(frame));
  FramePtr copy(av_frame_clone(&frame));
  if (!copy) throw std::bad_alloc();
  waiting_pts_.push_back(frame.pts);
  TRY(send(*copy));
  return drain();
}

Result<void> Deinterlacer::finish() {
  if (!graph_) return {};
  if (const int sent = av_buffersrc_add_frame(source_, nullptr); sent < 0) {
    return make_error(Code::internal, "The deinterlacer could not be drained ({}).",
                      describe_av(sent));
  }
  TRY(drain());
  if (!waiting_pts_.empty()) {
    return make_error(Code::internal, "The deinterlacer kept {} frames.", waiting_pts_.size());
  }
  graph_.reset();
  return {};
}

Result<void> Deinterlacer::drain() {
  for (;;) {
    FramePtr out = make_frame();
    const int got = av_buffersink_get_frame(sink_, out.get());
    if (got == AVERROR(EAGAIN) || got == AVERROR_EOF) return {};
    if (got < 0 || waiting_pts_.empty()) {
      return make_error(Code::internal, "A frame could not be deinterlaced ({}).",
                        describe_av(got));
    }
    if (to_drop_ > 0) {
      --to_drop_;
      continue;
    }
    out->pts = waiting_pts_.front();
    waiting_pts_.pop_front();
    ready_.push_back(std::move(out));
  }
}

Result<bool> Deinterlacer::pull(AVFrame& out) {
  if (ready_.empty()) return false;
  av_frame_unref(&out);
  av_frame_move_ref(&out, ready_.front().get());
  ready_.pop_front();
  return true;
}

}  // namespace atelier::media
