// SPDX-License-Identifier: Apache-2.0
// What a run of a pipeline executes: one `atelier run` for each scoring step. Pure: values in,
// words of command lines out; no shell ever sees them.
//
// What strangers chose cannot become an option: every value is one word of the form --name=value,
// and what has no name, input and output, stands behind "--". A value that is substituted is not
// looked at for braces again.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "server/pipeline.h"

namespace atelier::server {

// A model that a run uses, a name (is_model_name) or a URL, and whether who asked for the run chose
// it; otherwise the pipeline's author did.
struct ModelUse {
  std::string model;
  bool is_callers = false;
  bool operator==(const ModelUse&) const = default;
};

// What a run touches, for check_location(): URLs as Location::url() writes them.
struct RunLocations {
  std::string input;
  std::string output;
  bool is_output_callers = true;  // whether the caller chose any of it
  std::vector<ModelUse> models;   // one for each scoring step
};
// Errors: invalid_argument (the parameters are not the pipeline's; values put together give no
// location, or lead out of the folder that the pipeline names: a value that holds '/', or makes a
// part empty, "." or "..").
Result<RunLocations> locations_of(const Pipeline& pipeline, const RunParameters& parameters);

// Where a run goes if it does not say so itself; empty: the service's default.
std::string pool_of(const Pipeline& pipeline, const RunParameters& parameters);

struct StepPlaces {
  // Where each scoring step but the last puts its video: as many locations, whose names end in
  // intermediate_extension(). They are written without loss (FFV1) and replaced if they exist,
  // since they are the service's own.
  std::vector<std::string> between;
  bool replace_output = false;  // --force for the last one
};
// ".mov" where the output is .mp4, .m4v or .mov, else ".mkv": QuickTime keeps the time base of the
// input, Matroska rounds to milliseconds but holds what only .mkv, .webm and .ts could take.
std::string_view intermediate_extension(std::string_view output);

// One `atelier run`.
struct StepCommand {
  std::vector<std::string> options;  // --model=starry-night ...
  std::string input, output;         // absolute paths, or URLs of objects
  // What follows the program: "run", `more` (of the engine and the operator: --runs=...), the
  // options, "--", input, output.
  std::vector<std::string> argv(const std::vector<std::string>& more = {}) const;
};
// Prepare's options go to the first command, but chunk-seconds to each; finish's to the last.
// Errors: those of locations_of; invalid_argument (`places` has not as many locations as it needs,
// or others than those).
Result<std::vector<StepCommand>> commands_of(const Pipeline& pipeline,
                                             const RunParameters& parameters,
                                             const StepPlaces& places);

}  // namespace atelier::server
