// SPDX-License-Identifier: Apache-2.0
// Several small frames at once: a lane a thread, each with an arena of its own and the shared,
// unchanging weights. Inside a lane every kernel runs on its one thread, in the same order as on
// several, hence the same bits.
#include <omp.h>

#include <algorithm>
#include <chrono>

#include "model/onednn_runner.h"
#include "model/plan_build.h"

namespace atelier::model {
namespace {

// More than frames need that are small enough to gain.
constexpr int64_t kMostLaneBytes = int64_t{256} << 20;

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Steps on the heap and those of oneDNN are one at a time.
bool has_own_kernels_alone(const NetPlan& plan) {
  return plan.plain.empty() &&
         std::all_of(plan.steps.begin(), plan.steps.end(), [](const Step& step) {
           return step.label.implementation.starts_with(kOwnPrefix);
         });
}

}  // namespace

int64_t OnednnRunner::lane_floats(const NetPlan& plan) {
  return plan.arena_floats + plan.scratch_floats(1);
}

Result<int> OnednnRunner::most_at_once(Size input) {
  const Way& way = *TRY(this->way(input));
  if (threads_ == 1 || !way.geometry.direct || spec_.luma || way.tiles) return 1;
  const NetPlan& plan = TRY(load_image(way.planned))->plan;
  const int64_t bytes = lane_floats(plan) * threads_ * static_cast<int64_t>(sizeof(float));
  return has_own_kernels_alone(plan) && bytes <= kMostLaneBytes ? threads_ : 1;
}

Result<void> OnednnRunner::score_several(std::span<const FrameView> in, std::span<FrameView> out) {
  const Size size = in.empty() ? Size() : Size{in[0].width, in[0].height};
  const bool alike = std::all_of(in.begin(), in.end(), [&](const FrameView& frame) {
    return Size{frame.width, frame.height} == size;
  });
  const bool full =
      in.size() > 1 && alike && static_cast<int>(in.size()) == TRY(most_at_once(size));
  const double start = seconds_now();
  if (full && lane_choice_[size].at_once()) {
    TRY(score_at_once(in, out, size));
  } else {
    for (size_t i = 0; i < in.size(); i++) TRY(score(in[i], out[i]));
  }
  if (full) lane_choice_[size].took(static_cast<int>(in.size()), seconds_now() - start);
  return {};
}

Result<void> OnednnRunner::score_at_once(std::span<const FrameView> in, std::span<FrameView> out,
                                         Size size) {
  const FrameGeometry g = TRY(way(size))->geometry;
  Loaded& loaded = *TRY(load_image(TRY(way(size))->planned));
  const NetPlan& plan = loaded.plan;
  TRY(make_lanes(lane_floats(plan), in.size()));
  std::vector<Result<void>> results(in.size());
#pragma omp parallel for schedule(dynamic, 1) num_threads(team())
  for (size_t i = 0; i < in.size(); i++) {
    std::vector<Tensor> plain;
    float* arena = lanes_[i].get();
    const StepContext context{isa_, 1, arena, arena + plan.arena_floats, plan.values, plain};
    results[i] = score_direct(in[i], g, loaded, context, out[i]);
  }
  for (const Result<void>& result : results) TRY(result);
  return {};
}

Result<void> OnednnRunner::make_lanes(int64_t floats, size_t count) {
  if (floats > lane_capacity_) lanes_.clear();
  lane_capacity_ = std::max(lane_capacity_, floats);
  while (lanes_.size() < count) {
    lanes_.push_back(allocate(lane_capacity_));
    if (lanes_.back()) continue;
    lanes_.clear();
    return make_error(Code::internal, "No memory for the {} MiB of {} frames' activations.",
                      (static_cast<int64_t>(count) * lane_capacity_) >> 18, count);
  }
  return {};
}

}  // namespace atelier::model
