// SPDX-License-Identifier: Apache-2.0
// Texts of pipelines. One that is taken has a name and steps, and its defaults are what its own
// parameters take.
#include "server/pipeline.h"

#include "fuzz.h"
#include "server/pipeline_commands.h"

namespace fuzz = atelier::fuzz;
using namespace atelier::server;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto pipeline = parse_pipeline(fuzz::text_of(data, size));
  if (!pipeline.ok()) {
    fuzz::must(!pipeline.error().message.empty(), "an error has a sentence");
    return 0;
  }
  fuzz::must(!pipeline->name.empty() && !pipeline->scores.empty(), "it has a name and scores");
  bool needs_values = false;
  for (const auto& [name, parameter] : pipeline->parameters) {
    if (!parameter.default_value && !parameter.optional) needs_values = true;
    if (!parameter.default_value) continue;
    const auto again = canonical_value(parameter, *parameter.default_value);
    fuzz::must(parameter.type == ParameterType::integer ||
                   parameter.type == ParameterType::number ||
                   parameter.type == ParameterType::boolean || again == parameter.default_value,
               "a default is as canonical_value gives it");
  }
  const auto filled = fill_parameters(pipeline->parameters, "");
  fuzz::must(filled.ok() != needs_values, "defaults are enough where nothing else is needed");
  if (filled.ok()) (void)locations_of(*pipeline, *filled);
  return 0;
}
