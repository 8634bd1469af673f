// SPDX-License-Identifier: Apache-2.0
// Tests only: a network that enlarges by a factor and turns pictures into their negative, in
// integer arithmetic.
#pragma once

#include <algorithm>

#include "model/runner.h"

namespace atelier::run {

class FakeRunner final : public model::Runner {
 public:
  explicit FakeRunner(int factor = 1) : factor_(factor) {}
  // From now on the n-th frame fails (counted from 0 over all chunks).
  void fail_at(int frame) { fail_at_ = frame; }
  int scored() const { return scored_; }

  Result<model::Size> output_size(model::Size in) override {
    if (fixed_.width > 0 && in != fixed_)
      return make_error(Code::invalid_argument, "Only one size.");
    return model::Size{in.width * factor_, in.height * factor_};
  }
  Result<void> score(const FrameView& in, FrameView& out) override {
    if (scored_ == fail_at_) return make_error(Code::internal, "The runner broke.");
    ++scored_;
    for (int p = 0; p < out.format.planes(); ++p) {
      const auto& from = in.plane[static_cast<size_t>(p)];
      const auto& to = out.plane[static_cast<size_t>(p)];
      for (int y = 0; y < out.plane_height(p); ++y) {
        for (int x = 0; x < out.plane_width(p); ++x) {
          const auto* row = from.data + (y / factor_) * from.stride;
          (to.data + y * to.stride)[x] =
              static_cast<std::byte>(255 - std::to_integer<int>(row[x / factor_]));
        }
      }
    }
    return {};
  }
  Result<void> score_several(std::span<const FrameView> in, std::span<FrameView> out) override {
    largest_group_ = std::max(largest_group_, in.size());
    for (size_t i = 0; i < in.size(); ++i) TRY(score(in[i], out[i]));
    return {};
  }
  Result<int> most_at_once(model::Size) override { return at_once_; }
  // From now on so many at once.
  void set_at_once(int frames) { at_once_ = frames; }
  size_t largest_group() const { return largest_group_; }
  Result<std::map<std::string, model::Tensor>> run(
      const std::map<std::string, model::Tensor>&) override {
    return make_error(Code::internal, "Not for tensors.");
  }
  Result<model::Ranges> observe(std::span<const FrameView>, std::span<FrameView>,
                                const std::function<void()>&) override {
    return model::Ranges();
  }
  Result<model::Statistics> measure(std::span<const FrameView>,
                                    const std::function<void()>&) override {
    return model::Statistics();
  }
  Result<std::vector<model::PlanStep>> plan(model::Size) override {
    return std::vector<model::PlanStep>{{"all", "Negative", "own", "integer"}};
  }
  Result<std::vector<model::LayerTime>> time_layers(model::Size, int) override {
    return std::vector<model::LayerTime>{};
  }
  Result<std::vector<model::TunedLayer>> tune(model::Size, bool,
                                              const std::function<void()>&) override {
    return std::vector<model::TunedLayer>();
  }
  Result<double> gflop(model::Size) override { return 0.0; }
  Result<uint64_t> memory(model::Size) override { return uint64_t{0}; }
  Result<model::Tiling> tiling(model::Size in) override { return model::Tiling{in, 1}; }

  model::Size fixed_{};

 private:
  int factor_;
  int fail_at_ = -1;
  int scored_ = 0;
  int at_once_ = 1;
  size_t largest_group_ = 0;
};

}  // namespace atelier::run
