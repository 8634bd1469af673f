// SPDX-License-Identifier: Apache-2.0
// Measures the ways of convolutions on the runner's own memory: what for is said in tuning.h.
#include <omp.h>

#include <iterator>

#include "model/onednn_runner.h"
#include "model/tuning.h"

namespace atelier::model {

Result<std::vector<TunedLayer>> OnednnRunner::tune(Size input, bool int8,
                                                   const std::function<void()>& ran_one) {
  if (!options_.plan.empty()) return std::vector<TunedLayer>();
  PlanOptions choice = plan_options();
  choice.precision = Precision::f32;
  std::vector<TunedLayer> tuned = TRY(tune_for(input, choice, ran_one));
  if (int8) {
    for (const TunedLayer& layer : tuned) choice.choices[layer.key] = layer.way;
    choice.precision = Precision::int8;
    // No time depends on the range.
    for (const Node& node : graph_.nodes) choice.ranges[node.name] = {-1, 1};
    for (TunedLayer& layer : TRY(tune_for(input, choice, ran_one))) {
      tuned.push_back(std::move(layer));
    }
  }
  // Whoever asks scores with another runner next: two arenas need not stand at once.
  memory_.reset();
  capacity_ = 0;
  return tuned;
}

Result<std::vector<TunedLayer>> OnednnRunner::tune_for(Size input, const PlanOptions& base,
                                                       const std::function<void()>& ran_one) {
  const Loaded* planned = TRY(load_image(TRY(way(input))->planned));
  const TypeMap inputs = planned->inputs;
  const bool alone = planned->alone;
  omp_set_num_threads(threads_);
  std::list<Loaded> plans;
  PlanTimer timer;
  timer.add = [&](const Choices& forced) -> Result<const NetPlan*> {
    PlanOptions choice = base;
    choice.forced = forced;
    NetPlan made = TRY(make_plan(inputs, true, alone, choice));
    plans.push_back({inputs, true, alone, std::move(made)});
    return &plans.back().plan;
  };
  timer.run = [&](size_t plan) -> Result<std::vector<double>> {
    Loaded& loaded = *std::next(plans.begin(), static_cast<ptrdiff_t>(plan));
    const StepContext context = TRY(make_context(loaded.plan));
    fill_test_image(loaded, context);
    std::vector<std::vector<double>> times(loaded.plan.steps.size());
    TRY(execute(loaded.plan, context, -1, &times));
    ran_one();
    std::vector<double> seconds;
    for (const auto& each : times) seconds.push_back(each.front());
    return seconds;
  };
  return tune_layers(timer, base.choices);
}

}  // namespace atelier::model
