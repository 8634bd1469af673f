// SPDX-License-Identifier: Apache-2.0
#include "model/tuning.h"

#include <algorithm>
#include <array>

#include "model/processor.h"

namespace atelier::model {
namespace {

// To be raised with every change that makes a kernel faster or slower.
constexpr int kKernels = 2;

// A layer that is measured: its other way is taken in plan 1 or 2.
struct Trial {
  std::string node, key, rule, other;
  size_t plan = 1;
};

std::vector<Trial> trials_of(const NetPlan& plan, const Choices& known) {
  std::vector<Trial> trials;
  for (const PlanLayer& layer : plan.layers) {
    if (layer.ways.size() < 2) continue;
    const auto found = known.find(layer.key);
    if (found != known.end() &&
        std::find(layer.ways.begin(), layer.ways.end(), found->second) != layer.ways.end()) {
      continue;
    }
    trials.push_back({layer.node, layer.key, layer.ways[0], layer.ways[1], 1 + trials.size() % 2});
  }
  return trials;
}

struct Seconds {
  std::vector<double> rule, other;  // of each round, over all layers of a key
};

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

class Tuning {
 public:
  Tuning(const PlanTimer& timer, std::vector<Trial> trials)
      : timer_(timer), trials_(std::move(trials)) {}

  void add_plan(const NetPlan& plan) {
    std::vector<PlanStep> steps;
    for (const Step& step : plan.steps) steps.push_back(step.label);
    steps_.push_back(std::move(steps));
  }

  Result<void> measure() {
    double spent = 0;
    for (int round = 0; round <= kMostRounds; round++) {
      if (round > kLeastRounds && spent >= kSeconds) break;
      std::vector<std::map<std::string, double>> around;
      for (size_t plan = 0; plan < steps_.size(); plan++) {
        const std::vector<double> seconds = TRY(timer_.run(plan));
        for (const double each : seconds) spent += each;
        around.push_back(seconds_around(steps_[plan], seconds));
      }
      if (round > 0) keep(around);
    }
    return {};
  }

  std::vector<TunedLayer> choose() const {
    std::map<std::string, TunedLayer> layers;
    for (const Trial& trial : trials_) {
      TunedLayer& layer = layers[trial.key];
      layer.nodes.push_back(trial.node);
      if (!layer.key.empty()) continue;
      const Seconds& seconds = seconds_.at(trial.key);
      layer.key = trial.key;
      layer.rule = trial.rule;
      layer.way = other_is_faster(seconds.rule, seconds.other) ? trial.other : trial.rule;
      layer.seconds = {{trial.rule, median(seconds.rule)}, {trial.other, median(seconds.other)}};
    }
    std::vector<TunedLayer> tuned;
    for (const Trial& trial : trials_) {
      const auto found = layers.find(trial.key);
      if (found == layers.end()) continue;
      for (auto& [way, seconds] : found->second.seconds) {
        seconds /= static_cast<double>(found->second.nodes.size());
      }
      tuned.push_back(std::move(found->second));
      layers.erase(found);
    }
    return tuned;
  }

 private:
  void keep(const std::vector<std::map<std::string, double>>& around) {
    std::map<std::string, std::pair<double, double>> sums;
    for (const Trial& trial : trials_) {
      auto& [rule, other] = sums[trial.key];
      rule += around[0].at(trial.node);
      other += around[trial.plan].at(trial.node);
    }
    for (const auto& [key, sum] : sums) {
      seconds_[key].rule.push_back(sum.first);
      seconds_[key].other.push_back(sum.second);
    }
  }

  const PlanTimer& timer_;
  const std::vector<Trial> trials_;
  std::vector<std::vector<PlanStep>> steps_;  // of each plan
  std::map<std::string, Seconds> seconds_;
};

bool is_convolution(const PlanStep& step) {
  return step.op.find("Conv") != std::string::npos && step.algorithm != "own" &&
         step.algorithm != "plain";
}

}  // namespace

std::map<std::string, double> seconds_around(const std::vector<PlanStep>& steps,
                                             const std::vector<double>& seconds) {
  std::map<std::string, double> around;
  double between = 0;  // since the last convolution
  const std::string* last = nullptr;
  for (size_t i = 0; i < steps.size() && i < seconds.size(); i++) {
    if (!is_convolution(steps[i])) {
      between += seconds[i];
      continue;
    }
    if (last) around[*last] += between;
    around[steps[i].node] += between + seconds[i];
    between = 0;
    last = &steps[i].node;
  }
  if (last) around[*last] += between;
  return around;
}

bool other_is_faster(const std::vector<double>& rule, const std::vector<double>& other) {
  std::vector<double> shares;
  for (size_t i = 0; i < std::min(rule.size(), other.size()); i++) {
    if (rule[i] > 0) shares.push_back(other[i] / rule[i]);
  }
  return !shares.empty() && median(std::move(shares)) <= 1 - kGain;
}

Result<std::vector<TunedLayer>> tune_layers(const PlanTimer& timer, const Choices& known) {
  const NetPlan* by_rule = TRY(timer.add({}));
  std::vector<Trial> trials = trials_of(*by_rule, known);
  if (trials.empty()) return std::vector<TunedLayer>();
  std::array<Choices, 2> forced;
  for (const Trial& trial : trials) forced[trial.plan - 1][trial.node] = trial.other;
  Tuning tuning(timer, std::move(trials));
  tuning.add_plan(*by_rule);
  for (const Choices& ways : forced) {
    if (!ways.empty()) tuning.add_plan(*TRY(timer.add(ways)));
  }
  TRY(tuning.measure());
  return tuning.choose();
}

std::string tuning_machine() {
  return fmt::format("{}; oneDNN {}; kernels {}", processor_name(), library_versions().at("onednn"),
                     kKernels);
}

}  // namespace atelier::model
