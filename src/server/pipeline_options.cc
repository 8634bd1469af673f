// SPDX-License-Identifier: Apache-2.0
#include "server/pipeline_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "server/location_policy.h"
#include "server/text_values.h"

namespace atelier::server {
namespace {

// Bounds are those of cli/main.cc; `crf` goes to the highest that any encoder has.
constexpr std::array<OptionRule, 16> kRules = {{
    {"input", StepKind::prepare, OptionKind::input, true, 0, 0, ""},
    {"from", StepKind::prepare, OptionKind::time, false, 0, 0, ""},
    {"to", StepKind::prepare, OptionKind::time, false, 0, 0, ""},
    {"deinterlace", StepKind::prepare, OptionKind::flag, false, 0, 0, ""},
    {"chunk-seconds", StepKind::prepare, OptionKind::number, false, 0.001, 86400, ""},
    {"model", StepKind::score, OptionKind::model, true, 0, 0, ""},
    {"size", StepKind::score, OptionKind::size, false, 0, 0, ""},
    {"precision", StepKind::score, OptionKind::one_of, false, 0, 0, "auto f32 bf16 int8"},
    {"norm", StepKind::score, OptionKind::one_of, false, 0, 0, "frame shot"},
    {"min-psnr", StepKind::score, OptionKind::number, false, 0, 200, ""},
    {"error-threshold", StepKind::score, OptionKind::integer, false, 0, 1e9, ""},
    {"output", StepKind::finish, OptionKind::output, true, 0, 0, ""},
    {"codec", StepKind::finish, OptionKind::word, false, 0, 0, ""},
    {"crf", StepKind::finish, OptionKind::integer, false, 0, 63, ""},
    {"preset", StepKind::finish, OptionKind::word, false, 0, 0, ""},
    {"encoder-opts", StepKind::finish, OptionKind::encoder_options, false, 0, 0, ""},
}};

bool takes_number(const OptionRule& rule, std::string_view text) {
  const char* end = text.data() + text.size();
  double value = 0;
  int64_t whole = 0;
  const auto read = rule.kind == OptionKind::integer ? std::from_chars(text.data(), end, whole)
                                                     : std::from_chars(text.data(), end, value);
  if (rule.kind == OptionKind::integer) value = static_cast<double>(whole);
  return read.ec == std::errc() && read.ptr == end && value >= rule.least && value <= rule.most;
}

bool is_word(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
}

bool takes_as(ParameterType type, const std::string& text) {
  Parameter parameter;
  parameter.type = type;
  return canonical_value(parameter, text).has_value();
}

// Whether the option takes this text, which may be an author's or one of a parameter's choices.
bool takes(const OptionRule& rule, const std::string& text) {
  switch (rule.kind) {
    case OptionKind::input: return false;
    case OptionKind::output: return takes_as(ParameterType::output, text);
    case OptionKind::model: return takes_as(ParameterType::model, text);
    case OptionKind::size: return takes_as(ParameterType::size, text);
    case OptionKind::time: return takes_as(ParameterType::time, text);
    case OptionKind::number:
    case OptionKind::integer: return takes_number(rule, text);
    case OptionKind::flag: return text == "true" || text == "false";
    case OptionKind::word: return is_word(text);
    case OptionKind::one_of:
      return is_word(text) &&
             fmt::format(" {} ", rule.words).find(fmt::format(" {} ", text)) != std::string::npos;
    case OptionKind::encoder_options: return !text.empty();
  }
  return false;
}

std::string wanted_by(const OptionRule& rule) {
  switch (rule.kind) {
    case OptionKind::input: return "\"{name}\" of a parameter of type input";
    case OptionKind::output:
      return "\"{name}\" of a parameter of type output, or a location with texts, integers or "
             "choices in it";
    case OptionKind::model:
      return "a model's name or location, or \"{name}\" of a parameter of type model or choice";
    case OptionKind::size:
      return "a size like \"1280x720\", or \"{name}\" of a parameter of type size or choice";
    case OptionKind::time:
      return "a time like \"1:30\", or \"{name}\" of a parameter of type time or choice";
    case OptionKind::number:
      return fmt::format("a number from {} to {}, or \"{{name}}\" of a parameter of that",
                         rule.least, rule.most);
    case OptionKind::integer:
      return fmt::format("a whole number from {} to {}, or \"{{name}}\" of a parameter of that",
                         rule.least, rule.most);
    case OptionKind::flag: return "true, false, or \"{name}\" of a parameter of type boolean";
    case OptionKind::word: return "a word, or \"{name}\" of a parameter of type choice or integer";
    case OptionKind::one_of:
      return fmt::format("one of: {}, or \"{{name}}\" of a parameter that is a choice of these",
                         rule.words);
    case OptionKind::encoder_options:
      return "a text like \"K=V:K=V\", with integers, numbers, booleans or choices in it, or "
             "\"{name}\" of a parameter of type string or choice";
  }
  return "given otherwise";
}

bool is_numeric(const OptionRule& rule) {
  return rule.kind == OptionKind::number || rule.kind == OptionKind::integer;
}

// Types whose values the option takes as a whole, besides choices.
bool takes_type(const OptionRule& rule, ParameterType type) {
  switch (rule.kind) {
    case OptionKind::input: return type == ParameterType::input;
    case OptionKind::output: return type == ParameterType::output;
    case OptionKind::model: return type == ParameterType::model;
    case OptionKind::size: return type == ParameterType::size;
    case OptionKind::time: return type == ParameterType::time;
    case OptionKind::number: return type == ParameterType::number || type == ParameterType::integer;
    case OptionKind::integer: return type == ParameterType::integer;
    case OptionKind::flag: return type == ParameterType::boolean;
    case OptionKind::word: return type == ParameterType::integer;
    case OptionKind::one_of: return false;
    case OptionKind::encoder_options: return type == ParameterType::string;
  }
  return false;
}

bool takes_inside(const OptionRule& rule, const Parameter& p) {
  if (p.optional) return false;
  if (p.type == ParameterType::integer || p.type == ParameterType::choice) return true;
  if (rule.kind == OptionKind::output) return p.type == ParameterType::string;
  return p.type == ParameterType::number || p.type == ParameterType::boolean;
}

// Gives the parameter the option's bounds where it has none.
bool narrow(const OptionRule& rule, Parameter& p) {
  p.least = p.least.value_or(rule.least);
  p.most = p.most.value_or(rule.most);
  return *p.least >= rule.least && *p.most <= rule.most && *p.least <= *p.most &&
         (!p.default_value || takes_number(rule, *p.default_value));
}

// `p`: the parameter that is the whole value.
bool takes_whole(const OptionRule& rule, Parameter& p) {
  if (rule.needed && p.optional) return false;
  if (p.type == ParameterType::choice) {
    if (rule.kind == OptionKind::flag) return false;
    return std::all_of(p.choices.begin(), p.choices.end(),
                       [&](const std::string& choice) { return takes(rule, choice); });
  }
  if (!takes_type(rule, p.type)) return false;
  return !is_numeric(rule) || narrow(rule, p);
}

// A location whose beginning the author or a parameter of type output fixes.
bool begins_as_location(const Template& pieces, const std::map<std::string, Parameter>& all) {
  const TemplatePiece& first = pieces.front();
  if (!first.is_parameter) {
    return first.text.starts_with('/') || first.text.starts_with("az://") ||
           first.text.starts_with("s3://") || first.text.starts_with("file:///");
  }
  return all.at(first.text).type == ParameterType::output && !all.at(first.text).optional &&
         !pieces[1].is_parameter && pieces[1].text.starts_with('/');
}

bool takes_text(const OptionRule& rule, const Template& pieces,
                const std::map<std::string, Parameter>& all) {
  const bool is_output = rule.kind == OptionKind::output;
  if (!is_output && rule.kind != OptionKind::encoder_options) return false;
  if (is_output && !begins_as_location(pieces, all)) return false;
  const bool skip_first = is_output && pieces.front().is_parameter;
  return std::all_of(pieces.begin() + (skip_first ? 1 : 0), pieces.end(),
                     [&](const TemplatePiece& piece) {
                       return !piece.is_parameter || takes_inside(rule, all.at(piece.text));
                     });
}

// The value as text; numbers and booleans too. Nothing if it is something else.
std::optional<std::string> text_of(const toml::node& node) {
  if (const auto text = node.value_exact<std::string>()) {
    const bool good = text->size() <= 4096 && is_clean_text(*text);
    return good ? std::optional(*text) : std::nullopt;
  }
  if (const auto whole = node.value_exact<int64_t>()) return fmt::format("{}", *whole);
  if (const auto real = node.value_exact<double>()) return fmt::format("{}", *real);
  if (const auto boolean = node.value_exact<bool>()) return *boolean ? "true" : "false";
  return std::nullopt;
}

}  // namespace

std::string_view to_string(StepKind kind) {
  constexpr std::array<std::string_view, 3> kNames = {"prepare", "score", "finish"};
  return kNames.at(static_cast<size_t>(kind));
}

std::span<const OptionRule> option_rules() { return kRules; }

Result<Template> parse_template(std::string_view text) {
  Template pieces;
  std::string plain;
  const Error lone{Code::invalid_argument,
                   "a '{' or '}' stands alone; a parameter is written \"{name}\", and braces are "
                   "\"{{\" and \"}}\""};
  const auto flush = [&] {
    if (!plain.empty()) pieces.push_back({plain, false});
    plain.clear();
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c != '{' && c != '}') {
      plain += c;
    } else if (i + 1 < text.size() && text[i + 1] == c) {
      plain += c;
      ++i;
    } else {
      const size_t end = text.find_first_of("{}", i + 1);
      if (c == '}' || end == std::string_view::npos || text[end] != '}' || end == i + 1) {
        return lone;
      }
      flush();
      pieces.push_back({std::string(text.substr(i + 1, end - i - 1)), true});
      i = end;
    }
  }
  flush();
  return pieces;
}

Result<Template> read_option(TomlReader& reader, const OptionRule& rule,
                             std::map<std::string, Parameter>& parameters) {
  const toml::node* node = reader.find(rule.name);
  if (node == nullptr) return Template();
  const std::string wanted = wanted_by(rule);
  const auto text = text_of(*node);
  if (!text || text->empty()) return reader.wrong(rule.name, wanted);
  auto parsed = parse_template(*text);
  if (!parsed.ok()) {
    return reader.error_at(rule.name,
                           fmt::format("in '{}' {}.", rule.name, parsed.error().message));
  }
  for (const TemplatePiece& piece : *parsed) {
    if (!piece.is_parameter || parameters.contains(piece.text)) continue;
    return reader.error_at(rule.name, fmt::format("there is no parameter {}; declare it as "
                                                  "[parameters.NAME].",
                                                  shown(piece.text)));
  }
  const bool is_one = parsed->size() == 1;
  bool good = false;
  if (is_one && parsed->front().is_parameter) {
    good = takes_whole(rule, parameters.at(parsed->front().text));
  } else if (is_one) {
    good = takes(rule, parsed->front().text);
  } else {
    good = takes_text(rule, *parsed, parameters);
  }
  if (!good) return reader.wrong(rule.name, wanted);
  return std::move(parsed).value();
}

}  // namespace atelier::server
