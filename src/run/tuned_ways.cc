// SPDX-License-Identifier: Apache-2.0
#include "run/tuned_ways.h"

namespace atelier::run {

bool measures_ways(const Manifest& manifest) {
  const std::string& wanted = manifest.parameters.tune;
  return wanted == "on" || (wanted == "auto" && manifest.frames_expected() >= kTunedFrames);
}

Result<model::Choices> measure_ways(const Manifest& manifest, model::Runner& runner,
                                    const std::function<void()>& scored_one) {
  model::Choices measured;
  const std::string& precision = manifest.parameters.precision;
  const bool int8 = precision == "int8" || precision == "auto";
  for (const model::TunedLayer& layer : TRY(runner.tune(manifest.scored_size, int8, scored_one))) {
    measured[layer.key] = layer.way;
  }
  return measured;
}

Result<void> take_plan(Manifest& manifest, model::Runner& runner, uint64_t before) {
  manifest.plan = TRY(runner.plan(manifest.scored_size));
  manifest.scorer_bytes += TRY(runner.memory(manifest.scored_size)) - before;
  return {};
}

}  // namespace atelier::run
