// SPDX-License-Identifier: Apache-2.0
#include "server/pipeline_commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "server/location_policy.h"
#include "server/pipeline_options.h"
#include "server/text_values.h"
#include "store/names.h"

namespace atelier::server {
namespace {

using Values = std::map<std::string, std::string, std::less<>>;

// The text of an option; nothing if a parameter in it has no value, or all of it is empty.
std::optional<std::string> fill(const Template& pieces, const Values& values) {
  std::string text;
  for (const TemplatePiece& piece : pieces) {
    if (!piece.is_parameter) {
      text += piece.text;
      continue;
    }
    const auto value = values.find(piece.text);
    if (value == values.end()) return std::nullopt;
    text += value->second;
  }
  return text.empty() ? std::nullopt : std::optional(std::move(text));
}

const Template& option(const StepOptions& step, std::string_view name) {
  static const Template kNone;
  const auto found = step.find(name);
  return found == step.end() ? kNone : found->second;
}

bool names_parameter(const Template& pieces) {
  return std::any_of(pieces.begin(), pieces.end(),
                     [](const TemplatePiece& piece) { return piece.is_parameter; });
}

Error lacking(std::string_view option) {
  return make_error(Code::invalid_argument,
                    "The parameters do not give '{}'; fill in those of this pipeline.", option);
}

// A value as a part of a name inside a location. Its own '/' would choose another folder.
Result<std::string> as_part(const std::string& name, const Values& values) {
  const auto value = values.find(name);
  if (value == values.end()) return lacking(name);
  if (value->second.find('/') != std::string::npos) {
    return make_error(Code::invalid_argument,
                      "The parameter '{}' becomes part of the output's name and may not hold '/'.",
                      name);
  }
  return value->second;
}

bool has_odd_part(std::string_view text) {
  for (text.remove_prefix(1);;) {  // the first '/'
    const std::string_view part = text.substr(0, text.find('/'));
    if (part.empty() || part == "." || part == "..") return true;
    if (part.size() == text.size()) return false;
    text.remove_prefix(part.size() + 1);
  }
}

// What the author writes as a URL stays one, and values in it are encoded; what begins as a path,
// or behind a parameter of type output, is taken as it stands.
Result<Location> output_of(const Template& pieces, const Values& values) {
  const bool is_url = !pieces.front().is_parameter && !pieces.front().text.starts_with('/');
  Location base;  // "/"
  std::string text;
  for (const TemplatePiece& piece : pieces) {
    const bool is_base = &piece == &pieces.front() && piece.is_parameter;
    if (is_base) {
      const auto value = values.find(piece.text);
      if (value == values.end()) return lacking(piece.text);
      base = TRY(parse_user_location(value->second));
    } else if (piece.is_parameter) {
      const std::string part = TRY(as_part(piece.text, values));
      text += is_url ? percent_encode(part) : part;
    } else {
      text += piece.text;
    }
  }
  if (text.empty()) return base;
  const Error wrong = make_error(Code::invalid_argument,
                                 "The parameters make {} of the output, which is no name of a "
                                 "file: none of its parts may be empty, '.' or '..'.",
                                 shown(text));
  if (!is_url) {
    if (has_odd_part(text)) return wrong;
    const std::string root = base.path == "/" || base.path.empty() ? "" : base.url();
    const std::string place = root.empty() ? text : root + percent_encode(text);
    return parse_user_location(place);
  }
  // Behind "az://", "s3://" or "file://".
  const auto plain = percent_decode(std::string_view(text).substr(text.find("://") + 3));
  if (!plain || has_odd_part(plain->starts_with('/') ? *plain : "/" + *plain)) return wrong;
  return parse_user_location(text);
}

// As a word of the command line: a file as its path, since the program looks at the end of the
// word for numbers of pictures.
std::string as_word(const Location& place) {
  return place.is_file() ? place.path.native() : place.url();
}

// The locations as they are parsed.
struct Ends {
  Location input, output;
};

Result<Ends> ends_of(const Pipeline& pipeline, const Values& values) {
  const auto input = fill(option(pipeline.prepare, "input"), values);
  const Template& output = option(pipeline.finish, "output");
  if (!input) return lacking("input");
  if (output.empty()) return lacking("output");
  Location from = TRY(parse_user_location(*input));
  Location to = TRY(output_of(output, values));
  if (to.name().empty()) return lacking("output");
  return Ends{std::move(from), std::move(to)};
}

// A name, or a location's URL.
Result<std::string> model_of(const StepOptions& score, const Values& values) {
  const auto model = fill(option(score, "model"), values);
  if (!model) return lacking("model");
  if (is_model_name(*model)) return *model;
  return TRY(parse_user_location(*model)).url();
}

// --name=value of every option of a step that has a value; `only`: of this one.
void add_options(const StepOptions& step, StepKind kind, const Values& values,
                 std::vector<std::string>& words, std::string_view only = "") {
  for (const OptionRule& rule : option_rules()) {
    if (rule.step != kind || rule.needed || (!only.empty() && rule.name != only)) continue;
    const auto value = fill(option(step, rule.name), values);
    if (!value) continue;
    if (rule.kind != OptionKind::flag) {
      words.push_back(fmt::format("--{}={}", rule.name, *value));
    } else if (*value == "true") {
      words.push_back(fmt::format("--{}", rule.name));
    }
  }
}

// The places between steps, checked.
Result<std::vector<Location>> between(const StepPlaces& places, size_t scores,
                                      const Location& output) {
  const std::string_view extension = intermediate_extension(output.name());
  std::vector<Location> result;
  for (const std::string& text : places.between) result.push_back(TRY(parse_user_location(text)));
  const bool good =
      result.size() + 1 == scores &&
      std::all_of(result.begin(), result.end(), [&](const Location& place) {
        return place.name().size() > extension.size() && place.name().ends_with(extension);
      });
  if (good) return result;
  return make_error(Code::invalid_argument,
                    "A run with {} scoring steps needs {} places between them whose names end in "
                    "{}, not {}.",
                    scores, scores - 1, extension, fmt::join(places.between, ", "));
}

}  // namespace

Result<RunLocations> locations_of(const Pipeline& pipeline, const RunParameters& parameters) {
  const Ends ends = TRY(ends_of(pipeline, parameters.values));
  RunLocations locations;
  locations.input = ends.input.url();
  locations.output = ends.output.url();
  locations.is_output_callers = names_parameter(option(pipeline.finish, "output"));
  for (const StepOptions& score : pipeline.scores) {
    ModelUse use;
    use.model = TRY(model_of(score, parameters.values));
    use.is_callers = names_parameter(option(score, "model"));
    locations.models.push_back(std::move(use));
  }
  return locations;
}

std::string pool_of(const Pipeline& pipeline, const RunParameters& parameters) {
  return fill(pipeline.pool, parameters.values).value_or("");
}

std::string_view intermediate_extension(std::string_view output) {
  std::string name(output);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  constexpr std::array<std::string_view, 3> kQuickTime = {".mp4", ".m4v", ".mov"};
  const bool quick_time = std::any_of(kQuickTime.begin(), kQuickTime.end(),
                                      [&](std::string_view end) { return name.ends_with(end); });
  return quick_time ? ".mov" : ".mkv";
}

std::vector<std::string> StepCommand::argv(const std::vector<std::string>& more) const {
  std::vector<std::string> words = {"run"};
  words.insert(words.end(), more.begin(), more.end());
  words.insert(words.end(), options.begin(), options.end());
  words.insert(words.end(), {"--", input, output});
  return words;
}

Result<std::vector<StepCommand>> commands_of(const Pipeline& pipeline,
                                             const RunParameters& parameters,
                                             const StepPlaces& places) {
  const Values& values = parameters.values;
  const Ends ends = TRY(ends_of(pipeline, values));
  const size_t scores = pipeline.scores.size();
  const std::vector<Location> middle = TRY(between(places, scores, ends.output));
  std::vector<StepCommand> commands;
  for (size_t k = 0; k < scores; ++k) {
    const bool is_last = k + 1 == scores;
    StepCommand command;
    command.input = as_word(k == 0 ? ends.input : middle[k - 1]);
    command.output = as_word(is_last ? ends.output : middle[k]);
    command.options.push_back("--model=" + TRY(model_of(pipeline.scores[k], values)));
    add_options(pipeline.prepare, StepKind::prepare, values, command.options,
                k == 0 ? "" : "chunk-seconds");
    add_options(pipeline.scores[k], StepKind::score, values, command.options);
    if (is_last) {
      add_options(pipeline.finish, StepKind::finish, values, command.options);
    } else {
      command.options.emplace_back("--codec=ffv1");
    }
    if (!is_last || places.replace_output) command.options.emplace_back("--force");
    commands.push_back(std::move(command));
  }
  return commands;
}

}  // namespace atelier::server
