// SPDX-License-Identifier: Apache-2.0
// Chooses between the ways to compute a convolution by measuring them where they stand.
//
// Three plans of the same network are run in turn, step by step against the clock: the one by rule,
// one in which every other convolution that has another way goes that way, and one in which the
// remaining ones do. So of two neighbours at most one differs from the rule, and what that does to
// the steps beside it (an enlargement that is or is not made, moments that a normalisation finds or
// has to take, bytes that must be written) is its own: a convolution's seconds are those of its
// step and of all steps up to its neighbours. Layers with one key are taken together. The rule
// stands unless the other way is faster by a tenth in the median of the rounds: what differs by
// less differs from run to run, and plans should not.
//
// Cost: four rounds of up to three frames at least (the first only touches memory); more, up to
// kMostRounds, as long as all together take less than kSeconds. In eight bits as much again.
#pragma once

#include <functional>

#include "model/plan.h"

namespace atelier::model {

inline constexpr double kGain = 0.1;  // of the time by rule: less is noise
inline constexpr int kLeastRounds = 3, kMostRounds = 15;
inline constexpr double kSeconds = 2;

// What plans run on. `add` makes the plan with these ways, by node, and keeps it; `run` gives the
// seconds of each step of a frame. Plans are counted from 0 in the order of their making.
struct PlanTimer {
  std::function<Result<const NetPlan*>(const Choices& forced)> add;
  std::function<Result<std::vector<double>>(size_t plan)> run;
};

// One entry for each key with two ways of which `known` holds neither; nothing is run if there is
// none. Errors: those of the timer.
Result<std::vector<TunedLayer>> tune_layers(const PlanTimer& timer, const Choices& known);

// Seconds of each convolution of a plan and of the steps beside it, by node. Pure.
std::map<std::string, double> seconds_around(const std::vector<PlanStep>& steps,
                                             const std::vector<double>& seconds);

// The way to take, of the seconds by rule and otherwise in each round. Pure.
bool other_is_faster(const std::vector<double>& rule, const std::vector<double>& other);

}  // namespace atelier::model
