// SPDX-License-Identifier: Apache-2.0
#include "server/pipeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "server/pipeline_options.h"
#include "server/text_values.h"

namespace atelier::server {
namespace {

constexpr size_t kMostParameters = 64;
constexpr size_t kMostScores = 8;
constexpr std::string_view kWhat = "The pipeline";

Result<void> read_parameters(TomlReader& reader, Pipeline& pipeline) {
  const toml::table* all = TRY(reader.table("parameters"));
  if (all == nullptr) return {};
  if (all->size() > kMostParameters) {
    return reader.wrong("parameters", fmt::format("at most {} tables", kMostParameters));
  }
  TomlReader parameters(*all, reader.what(), reader.path_of("parameters"));
  for (const auto& [key, node] : *all) {
    const std::string name(key.str());
    Parameter parameter = TRY(read_parameter(parameters, name));
    pipeline.parameters.emplace(name, std::move(parameter));
  }
  return {};
}

Result<StepOptions> read_step(TomlReader& reader, StepKind kind, Pipeline& pipeline) {
  StepOptions options;
  for (const OptionRule& rule : option_rules()) {
    if (rule.step != kind) continue;
    auto value = TRY(read_option(reader, rule, pipeline.parameters));
    if (!value.empty()) {
      options.emplace(rule.name, std::move(value));
    } else if (rule.needed) {
      return reader.error_at(
          rule.name, fmt::format("a step of kind {} needs '{}'.", to_string(kind), rule.name));
    }
  }
  TRY(reader.finish());
  return options;
}

Result<void> read_steps(TomlReader& reader, Pipeline& pipeline) {
  const std::vector<const toml::table*> steps = TRY(reader.tables("steps", kMostScores + 2));
  for (size_t i = 0; i < steps.size(); ++i) {
    TomlReader step(*steps[i], reader.what(), fmt::format("steps[{}].", i + 1));
    // What the order of steps asks for here.
    const StepKind kind = i == 0                  ? StepKind::prepare
                          : i + 1 == steps.size() ? StepKind::finish
                                                  : StepKind::score;
    if (TRY(step.text("kind")).value_or("") != to_string(kind) || steps.size() < 3) {
      return step.error_at(
          "kind",
          fmt::format("the steps are \"prepare\", then from one to {} \"score\", "
                      "then \"finish\"; here belongs \"{}\".",
                      kMostScores, to_string(steps.size() < 3 && i == 1 ? StepKind::score : kind)));
    }
    auto options = TRY(read_step(step, kind, pipeline));
    if (kind == StepKind::prepare)
      pipeline.prepare = std::move(options);
    else if (kind == StepKind::finish)
      pipeline.finish = std::move(options);
    else
      pipeline.scores.push_back(std::move(options));
  }
  if (!pipeline.scores.empty()) return {};
  return reader.wrong("steps", "tables [[steps]]: \"prepare\", then \"score\", then \"finish\"");
}

Result<void> read_pool(TomlReader& reader, Pipeline& pipeline) {
  const auto text = TRY(reader.text("pool"));
  if (!text) return {};
  const auto pieces = parse_template(*text);
  if (pieces.ok() && pieces->size() == 1) {
    const TemplatePiece& piece = pieces->front();
    const auto parameter = pipeline.parameters.find(piece.text);
    bool good = !piece.is_parameter && is_name(piece.text);
    if (piece.is_parameter && parameter != pipeline.parameters.end()) {
      const std::vector<std::string>& choices = parameter->second.choices;
      good = !choices.empty() && !parameter->second.optional &&
             std::all_of(choices.begin(), choices.end(), is_name);
    }
    if (good) {
      pipeline.pool = *pieces;
      return {};
    }
  }
  return reader.wrong("pool",
                      "a pool's name, or \"{name}\" of a parameter that is a choice of "
                      "pools and not optional");
}

void note_used(const Template& pieces, std::set<std::string>& used) {
  for (const TemplatePiece& piece : pieces) {
    if (piece.is_parameter) used.insert(piece.text);
  }
}

Result<void> check_used(TomlReader& reader, const Pipeline& pipeline) {
  std::set<std::string> used;
  note_used(pipeline.pool, used);
  std::vector<const StepOptions*> steps = {&pipeline.prepare, &pipeline.finish};
  for (const StepOptions& score : pipeline.scores) steps.push_back(&score);
  for (const StepOptions* step : steps) {
    for (const auto& [name, value] : *step) note_used(value, used);
  }
  for (const auto& [name, parameter] : pipeline.parameters) {
    if (used.contains(name)) continue;
    return reader.error_at(
        "parameters",
        fmt::format("the parameter '{}' is used by no step; use it as \"{{{}}}\", or remove it.",
                    name, name));
  }
  return {};
}

}  // namespace

Result<Pipeline> parse_pipeline(std::string_view text) {
  TomlBounds bounds;
  bounds.bytes = kLongestPipeline;
  const toml::table table = TRY(parse_toml(text, kWhat, bounds));
  TomlReader reader(table, std::string(kWhat));
  Pipeline pipeline;
  pipeline.name = TRY(reader.name("name"));
  pipeline.description = TRY(reader.prose("description"));
  pipeline.max_attempts = static_cast<int>(TRY(reader.integer("max_attempts", 1, 100, 3)));
  TRY(read_parameters(reader, pipeline));
  TRY(read_pool(reader, pipeline));
  TRY(read_steps(reader, pipeline));
  TRY(reader.finish());
  TRY(check_used(reader, pipeline));
  return pipeline;
}

}  // namespace atelier::server
