// SPDX-License-Identifier: Apache-2.0
// The options that steps of a pipeline may have, and what each takes: a table beside that of
// cli/main.cc. Pure.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "server/pipeline.h"

namespace atelier::server {

enum class StepKind { prepare, score, finish };
std::string_view to_string(StepKind kind);

enum class OptionKind {
  input,
  output,
  model,
  size,
  time,
  number,
  integer,
  flag,
  word,  // a name or number: letters, digits, '-', '_', '.'
  one_of,
  encoder_options,
};

struct OptionRule {
  std::string_view name;
  StepKind step = StepKind::score;
  OptionKind kind = OptionKind::word;
  bool needed = false;
  double least = 0, most = 0;  // of number and integer
  std::string_view words;      // of one_of: "auto f32 bf16 int8"
};
std::span<const OptionRule> option_rules();

// Makes a template of a step's value and checks that every value it can get is one that the option
// takes. Parameters of numbers without bounds get the option's. `reader` reads the step, in which
// the option is. Errors: invalid_argument.
Result<Template> read_option(TomlReader& reader, const OptionRule& rule,
                             std::map<std::string, Parameter>& parameters);

// "text {name} text" in pieces; text that touches is one piece. Errors: invalid_argument (a brace
// without its partner), a part of a sentence without its end.
Result<Template> parse_template(std::string_view text);

}  // namespace atelier::server
