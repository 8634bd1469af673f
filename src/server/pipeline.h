// SPDX-License-Identifier: Apache-2.0
// A pipeline: what a run does, as a text that is published once and never changes. Its steps name
// parameters in braces; a run gives these values (pipeline_parameters.h), and pipeline_commands.h
// makes commands of both.
//
//   name = "paint"
//   description = "Paints a video"
//   pool = "local"                 where runs go unless they say otherwise; or "{x}", a choice
//   max_attempts = 3               how often a run is tried before it is set aside; 1 to 100
//   [parameters.input]             at most 64 of them; see Parameter
//   type = "input"
//   [[steps]]
//   kind = "prepare"               the first, once
//   input = "{input}"
//   [[steps]]
//   kind = "score"                 one or more, at most 8: each scores what the one before gave
//   model = "starry-night"
//   [[steps]]
//   kind = "finish"                the last, once
//   output = "{output}"
//
// Options of steps are those of `atelier run` that change the result; what belongs to a machine
// (workers, engines, memory, sandbox) belongs to pools:
//
//   prepare  input*, from, to, deinterlace, chunk-seconds
//   score    model*, size, precision, norm, min-psnr, error-threshold
//   finish   output*, codec, crf, preset, encoder-opts                            * must be there
//
// A value is written as TOML has it (crf = 23, deinterlace = true), or is "{name}" of a parameter
// whose every value the option takes; numbers get the option's bounds where they have none. Two
// options also take text around parameters: `encoder-opts` integers, numbers, booleans and choices
// ("keyint={k}"), `output` texts, integers and choices ("/srv/out/{name}.mp4", and after a
// parameter of type output: "{folder}/{name}.mp4"). "{{" and "}}" are braces. Options whose
// parameter has no value are left out.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "server/pipeline_parameters.h"

namespace atelier::server {

struct TemplatePiece {
  std::string text;  // as it is, or a parameter's name
  bool is_parameter = false;
  bool operator==(const TemplatePiece&) const = default;
};
using Template = std::vector<TemplatePiece>;

// By the option's name, without dashes in front: "min-psnr".
using StepOptions = std::map<std::string, Template, std::less<>>;

struct Pipeline {
  std::string name;  // is_name()
  std::string description;
  Template pool;  // a name, one choice, or empty: the service's default
  int max_attempts = 3;
  std::map<std::string, Parameter> parameters;
  StepOptions prepare;
  std::vector<StepOptions> scores;
  StepOptions finish;
};

inline constexpr size_t kLongestPipeline = 64 << 10;

// Reads at most kLongestPipeline bytes. Errors: invalid_argument, one sentence with the line (no
// TOML, an unknown key, a value of another type or out of bounds, a parameter that no step names or
// that is not declared).
Result<Pipeline> parse_pipeline(std::string_view toml);

}  // namespace atelier::server
