// SPDX-License-Identifier: Apache-2.0
// Plans for the sizes that were asked for last.
#include <unistd.h>

#include <algorithm>
#include <set>
#include <utility>

#include "model/fix_statistics.h"
#include "model/onednn_runner.h"

namespace atelier::model {
namespace {

constexpr size_t kCachedPlans = 2;
constexpr int64_t kMostArenaBytes = int64_t{64} << 30;

// Drops all outputs but one, and what only they need.
void keep_output(Graph& graph, const std::string& name) {
  std::erase_if(graph.outputs, [&](const ValueInfo& output) { return output.name != name; });
  std::set<std::string> needed{name};
  std::vector<Node> kept;
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) {
    const auto is_needed = [&](const std::string& output) { return needed.contains(output); };
    if (std::none_of(node->outputs.begin(), node->outputs.end(), is_needed)) continue;
    needed.insert(node->inputs.begin(), node->inputs.end());
    needed.erase("");
    kept.push_back(std::move(*node));
  }
  std::reverse(kept.begin(), kept.end());
  graph.nodes = std::move(kept);
}

int64_t installed_bytes() {
  return static_cast<int64_t>(::sysconf(_SC_PHYS_PAGES)) *
         static_cast<int64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

// A network for several pictures computes one, if that is possible; else it gets the same one
// several times.
Result<OnednnRunner::Loaded*> OnednnRunner::load_image(Size net) {
  const int64_t batch = declared_batch();
  if (batch > 1 && !asks_for_shapes_) {
    auto one = load(image_types(net, 1), true, true);
    if (one.ok() && (*one)->plan.plain.empty()) return *one;
  }
  return load(image_types(net, batch), true, false);
}

// The plan for these inputs: cached, or made, checked against the memory of the machine.
// `alone`: one picture of a batch; only a plan without plain steps is one of the same network.
Result<OnednnRunner::Loaded*> OnednnRunner::load(const TypeMap& inputs, bool image, bool alone) {
  for (auto it = loaded_.begin(); it != loaded_.end(); ++it) {
    if (it->inputs != inputs || it->image != image || it->alone != alone) continue;
    loaded_.splice(loaded_.begin(), loaded_, it);
    return &loaded_.front();
  }
  // On its own: what stands before a TRY in one initialiser would not be destroyed when it returns.
  NetPlan made = TRY(make_plan(inputs, image, alone, plan_options()));
  loaded_.push_front({inputs, image, alone, std::move(made)});
  if (loaded_.size() > kCachedPlans) loaded_.pop_back();
  return &loaded_.front();
}

PlanOptions OnednnRunner::plan_options() const {
  return {options_.plan, options_.precision, options_.ranges, options_.wide,  isa_,
          threads_,      options_.choices,   options_.in_f32, options_.forced};
}

Result<NetPlan> OnednnRunner::make_plan(const TypeMap& inputs, bool image, bool alone,
                                        const PlanOptions& choice) {
  NetPlan made = TRY(build_plan(TRY(concrete(inputs, image, alone)), choice, weights_));
  TRY(check_fits(made, inputs));
  return made;
}

Result<ConcreteGraph> OnednnRunner::concrete(const TypeMap& inputs, bool image, bool alone) const {
  ConcreteGraph made = alone ? TRY(specialise_batch(inputs)) : TRY(specialise(graph_, inputs));
  if (image && made.graph.outputs.size() > 1) keep_output(made.graph, output_name());
  TRY(fix_statistics(made, options_.statistics));
  return made;
}

// Whether the machine can hold what the plan needs at once.
Result<void> OnednnRunner::check_fits(const NetPlan& plan, const TypeMap& inputs) const {
  const int64_t bytes =
      (plan.arena_floats + plan.scratch_floats(threads_)) * static_cast<int64_t>(sizeof(float)) +
      plan.plain_bytes;
  if (bytes > kMostArenaBytes || bytes > installed_bytes()) {
    return make_error(Code::invalid_argument,
                      "Model '{}' needs {:.1f} GiB for inputs of {}, more than this machine "
                      "has; make them smaller with --size.",
                      spec_.name, static_cast<double>(bytes) / (1 << 30),
                      fmt::join(inputs.begin()->second.shape, "x"));
  }
  return {};
}

// For as many pictures as these inputs have, whatever number the file states.
Result<ConcreteGraph> OnednnRunner::specialise_batch(const TypeMap& inputs) const {
  Graph graph = graph_;
  for (ValueInfo& input : graph.inputs) {
    if (!input.shape.empty()) input.shape[0] = inputs.at(input.name).shape[0];
  }
  return specialise(std::move(graph), inputs);
}

}  // namespace atelier::model
