// SPDX-License-Identifier: Apache-2.0
#include "run/painter.h"

#include "media/alpha.h"
#include "model/pass_through.h"

namespace atelier::run {

Result<model::Runner*> Painter::runner_for(const media::DecodedFrame& frame) {
  if (job_.shots) return job_.shots->at(frame.pts);
  return job_.runner;
}

Result<size_t> Painter::room(const FrameItem& frame) {
  if (job_.unpainted) return size_t{1};
  const FrameView& view = frame.decoded.view;
  model::Runner* runner = TRY(runner_for(frame.decoded));
  return static_cast<size_t>(TRY(runner->most_at_once({view.width, view.height})));
}

// Titles stand still, and film in video repeats frames: a picture equal to the one before it has
// its result, since a runner keeps nothing from frame to frame. A comparison ends at the first row
// that differs; at 1920x1080 it takes 0.2 ms at most.
bool Painter::repeats_last(const FrameItem& frame, size_t shot) const {
  return last_.painted && last_.shot == shot && same_picture(frame.decoded.view, last_.view);
}

Result<void> Painter::paint(std::span<const std::unique_ptr<FrameItem>> frames) {
  const media::EncodeSettings& encode = job_.manifest->encode;
  std::vector<Pending> pending;
  for (const auto& frame : frames) {
    const size_t shot = job_.shots ? job_.shots->shot_of(frame->decoded.pts) : 0;
    if (repeats_last(*frame, shot)) {
      frame->painted = last_.painted;
      ++last_.repeated;
      continue;
    }
    if (!pending.empty() && shot != last_.shot) {
      TRY(score(pending));
      pending.clear();
    }
    auto made =
        std::make_shared<FrameBuffer>(encode.width, encode.height, encode.format, encode.color);
    frame->painted = made;
    last_.shot = shot;
    last_.view = frame->decoded.view;
    last_.keep_alive = frame->decoded.keep_alive;
    last_.painted = made;
    pending.push_back({&frame->decoded, std::move(made)});
  }
  if (!pending.empty()) TRY(score(pending));
  // Their samples are no longer needed; their times and extras are.
  for (const auto& frame : frames) {
    frame->decoded.view = {};
    frame->decoded.keep_alive.reset();
  }
  return {};
}

// All of one shot.
Result<void> Painter::score(std::span<const Pending> frames) {
  std::vector<FrameView> in, out;
  for (const Pending& one : frames) {
    in.push_back(one.frame->view);
    out.push_back(one.made->view());
  }
  if (job_.unpainted) {
    for (size_t i = 0; i < in.size(); ++i) TRY(model::pass_through(in[i], out[i]));
  } else {
    model::Runner* runner = TRY(runner_for(*frames.front().frame));
    TRY(in.size() == 1 ? runner->score(in[0], out[0]) : runner->score_several(in, out));
  }
  // Networks paint colour; what was see-through stays so.
  for (size_t i = 0; i < in.size() && job_.manifest->encode.format.alpha; ++i) {
    TRY(media::copy_alpha(in[i], out[i]));
  }
  return {};
}

}  // namespace atelier::run
