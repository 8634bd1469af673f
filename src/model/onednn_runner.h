// SPDX-License-Identifier: Apache-2.0
// The runner of make_onednn_runner (runner.h) in parts: onednn_runner.cc answers for plans, times
// and ranges; runner_frames.cc takes frames in and out, runner_lanes.cc several at once;
// runner_tensors.cc runs plain tensors and their batches; runner_plans.cc makes and keeps plans;
// runner_tuning.cc measures them; runner_memory.cc owns the memory and runs the steps;
// runner_tiles.cc cuts frames that would take too much of it. What to run is decided in
// plan_build.cc; how fast it is, in kernels/. Internal to src/model.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/frame_geometry.h"
#include "model/lane_choice.h"
#include "model/pixels.h"
#include "model/plan.h"
#include "model/range_finder.h"
#include "model/runner.h"
#include "model/specialise.h"
#include "model/statistics.h"
#include "model/tile_grid.h"

namespace atelier::model {

using TypeMap = std::map<std::string, TensorType>;

class OnednnRunner final : public Runner {
 public:
  OnednnRunner(const Graph& graph, const ModelSpec& spec, const RunnerOptions& options,
               kernels::Isa isa);

  // onednn_runner.cc
  Result<std::vector<PlanStep>> plan(Size input) override;
  Result<std::vector<LayerTime>> time_layers(Size input, int repeats) override;
  Result<Ranges> observe(std::span<const FrameView> in, std::span<FrameView> out,
                         const std::function<void()>& scored_one) override;
  Result<Statistics> measure(std::span<const FrameView> in,
                             const std::function<void()>& scored_one) override;
  Result<double> gflop(Size input) override;
  Result<uint64_t> memory(Size input) override;
  Result<Tiling> tiling(Size input) override;
  void rest() override;

  // runner_tuning.cc
  Result<std::vector<TunedLayer>> tune(Size input, bool int8,
                                       const std::function<void()>& ran_one) override;

  // runner_frames.cc
  Result<Size> output_size(Size input) override;
  Result<void> score(const FrameView& in, FrameView& out) override;

  // runner_lanes.cc
  Result<void> score_several(std::span<const FrameView> in, std::span<FrameView> out) override;
  Result<int> most_at_once(Size input) override;

  // runner_tensors.cc
  Result<std::map<std::string, Tensor>> run(const std::map<std::string, Tensor>& inputs) override;

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  using Floats = std::unique_ptr<float, Free>;

  struct Loaded {
    TypeMap inputs;
    bool image = false;  // of all outputs, only the picture is computed
    bool alone = false;  // one picture, whatever number the file states
    NetPlan plan;
  };

  // How frames of one size are scored.
  struct Way {
    FrameGeometry geometry;
    std::optional<TileGrid> tiles;
    Size planned;  // the network's input: the frame's or a tile's
    double parts() const { return tiles ? static_cast<double>(tiles->count()) : 1; }
    // Of the frame's pixels in those of a plan's input.
    double share() const;
  };

  struct Observation {
    std::map<std::string, RangeFinder> finders;
    bool first_only = false;
  };

  // onednn_runner.cc
  Result<void> observe_all(std::span<const FrameView> in, std::span<FrameView> out,
                           const std::function<void()>& scored_one, Observation& seen);
  Result<void> measure_all(std::span<const FrameView> in, const std::function<void()>& scored_one);

  // runner_tuning.cc
  Result<std::vector<TunedLayer>> tune_for(Size input, const PlanOptions& base,
                                           const std::function<void()>& ran_one);

  // runner_frames.cc
  const std::string& input_name() const;
  const std::string& output_name() const;
  // N, C, H, W of the input as the file states it.
  const std::vector<int64_t>& declared() const;
  int64_t declared_batch() const;
  TypeMap image_types(Size net, int64_t batch) const;
  Result<void> check_image() const;
  // Asked for every frame, so the last answer is kept.
  Result<FrameGeometry> geometry(Size input);
  // Where the frame goes; in a batch, the first picture.
  PlanesView open_image(Loaded& loaded, const StepContext& context);
  void repeat_image(const Loaded& loaded);
  // What is neither fitted nor tiled.
  Result<void> score_direct(const FrameView& in, const FrameGeometry& g, Loaded& loaded,
                            const StepContext& context, FrameView& out);
  // Converts `in`, of the size that the network takes, and runs the network.
  Result<void> run_frame(const FrameView& in, Loaded& loaded, const StepContext& context);
  Result<ConstPlanesView> made_image(const Loaded& loaded, const StepContext& context) const;
  Result<void> score_fitted(const FrameView& in, const Way& way, Loaded& loaded,
                            const StepContext& context, const ColorSpec& color, FrameView& out);
  Result<void> run_planes(const Way& way, Loaded& loaded, const StepContext& context,
                          const Planes& in, Planes& out);
  void fill_test_image(Loaded& loaded, const StepContext& context);

  // runner_lanes.cc
  static int64_t lane_floats(const NetPlan& plan);
  Result<void> score_at_once(std::span<const FrameView> in, std::span<FrameView> out, Size size);
  Result<void> make_lanes(int64_t floats, size_t count);

  // runner_tensors.cc
  Result<TypeMap> types_of(const std::map<std::string, Tensor>& inputs) const;
  Result<int64_t> separable_batch(const TypeMap& types);
  bool every_value_has_all_pictures(const TypeMap& types, const TypeMap& each, int64_t batch) const;

  // runner_tiles.cc
  // Asked for every frame, so the last answer is kept.
  Result<const Way*> way(Size input);
  Result<std::optional<TileGrid>> cut(Size input, const FrameGeometry& g);
  Result<FastGraph> fast_image(Size net) const;
  Result<void> score_tiles(const FrameView& in, const Way& way, Loaded& loaded,
                           const StepContext& context, const ColorSpec& color, FrameView& out);

  // runner_plans.cc
  Result<Loaded*> load_image(Size net);
  Result<Loaded*> load(const TypeMap& inputs, bool image, bool alone);
  Result<ConcreteGraph> concrete(const TypeMap& inputs, bool image, bool alone) const;
  PlanOptions plan_options() const;
  Result<NetPlan> make_plan(const TypeMap& inputs, bool image, bool alone,
                            const PlanOptions& choice);
  Result<void> check_fits(const NetPlan& plan, const TypeMap& inputs) const;
  Result<ConcreteGraph> specialise_batch(const TypeMap& inputs) const;

  // runner_memory.cc
  static Floats allocate(int64_t floats);
  Result<StepContext> make_context(const NetPlan& plan);
  // Without step `done`, which somebody did.
  Result<void> execute(const NetPlan& plan, const StepContext& context, int done = -1,
                       std::vector<std::vector<double>>* times = nullptr) const;

  const Graph graph_;
  const ModelSpec spec_;
  const RunnerOptions options_;
  const kernels::Isa isa_;
  const bool asks_for_shapes_;
  const int threads_;
  // Of the threads those that work now.
  int team() const {
    return options_.team ? std::clamp(options_.team->load(), 1, threads_) : threads_;
  }
  WeightCache weights_;
  std::list<Loaded> loaded_;                           // the one used last first
  std::optional<std::pair<TypeMap, bool>> separable_;  // the last answer
  std::vector<Tensor> plain_;
  std::optional<FrameGeometry> geometry_;
  Size geometry_for_;
  std::optional<Way> way_;
  Size way_for_;
  Floats memory_;
  int64_t capacity_ = 0;
  std::vector<Floats> lanes_;
  int64_t lane_capacity_ = 0;
  std::map<Size, LaneChoice> lane_choice_;
  Observation* observing_ = nullptr;      // while observe() scores
  StatisticsTaker* measuring_ = nullptr;  // while measure() scores
};

}  // namespace atelier::model
