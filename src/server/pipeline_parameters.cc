// SPDX-License-Identifier: Apache-2.0
#include "server/pipeline_parameters.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "server/location_policy.h"
#include "server/text_values.h"

namespace atelier::server {
namespace {

using Json = nlohmann::json;

constexpr size_t kLongestText = 4096;
constexpr size_t kMostChoices = 64;
constexpr int kLargestSide = 16384;  // as `atelier run --size`
// Whole numbers up to here are exact in a double, and in every reader of JSON (RFC 8259, section
// 6).
constexpr double kLargestInteger = 9007199254740991.0;
constexpr double kLongestTime = 8640000;  // a hundred days

constexpr std::array<std::string_view, 10> kTypes = {
    "input", "output", "model", "string", "integer", "number", "boolean", "choice", "size", "time"};

bool is_parameter_name(std::string_view name) {
  return !name.empty() && name.size() <= 63 && name[0] >= 'a' && name[0] <= 'z' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
         });
}

bool is_within(const Parameter& p, double value) {
  return std::isfinite(value) && (!p.least || value >= *p.least) && (!p.most || value <= *p.most);
}

std::optional<std::string> location_of(const std::string& text) {
  const auto location = parse_user_location(text);
  if (!location.ok() || location->name().empty()) return std::nullopt;
  return location->url();
}

std::optional<std::string> size_of(std::string_view text) {
  std::array<int, 2> sides{};
  const size_t cross = std::min(text.find('x'), text.size());
  const std::array<std::string_view, 2> parts = {text.substr(0, cross),
                                                 text.substr(std::min(cross + 1, text.size()))};
  for (size_t i = 0; i < 2; ++i) {
    const char* end = parts[i].data() + parts[i].size();
    const auto read = std::from_chars(parts[i].data(), end, sides[i]);
    if (read.ec != std::errc() || read.ptr != end || sides[i] < 0 || sides[i] > kLargestSide ||
        parts[i][0] == '-') {
      return std::nullopt;
    }
  }
  if (sides[0] == 0 && sides[1] == 0) return std::nullopt;
  return fmt::format("{}x{}", sides[0], sides[1]);
}

std::optional<std::string> number_text(const Parameter& p, double value) {
  if (!is_within(p, value)) return std::nullopt;
  return fmt::format("{}", value == 0 ? 0.0 : value);  // -0 is 0
}

std::optional<std::string> text_value(const Parameter& p, const std::string& text) {
  if (text.size() > kLongestText || !is_clean_text(text)) return std::nullopt;
  switch (p.type) {
    case ParameterType::input:
    case ParameterType::output: return location_of(text);
    case ParameterType::model: return is_model_name(text) ? text : location_of(text);
    case ParameterType::string: return text;
    case ParameterType::size: return size_of(text);
    case ParameterType::choice:
      if (std::find(p.choices.begin(), p.choices.end(), text) == p.choices.end()) break;
      return text;
    case ParameterType::time:
      if (const auto seconds = parse_media_time(text)) return number_text(p, *seconds);
      break;
    default: break;
  }
  return std::nullopt;
}

std::optional<std::string> integer_value(const Parameter& p, int64_t value) {
  const auto real = static_cast<double>(value);
  if (p.type == ParameterType::integer) {
    const bool good = std::abs(real) <= kLargestInteger && is_within(p, real);
    return good ? std::optional(fmt::format("{}", value)) : std::nullopt;
  }
  if (p.type != ParameterType::number && p.type != ParameterType::time) return std::nullopt;
  return number_text(p, real);
}

std::string with_bounds(const Parameter& p, std::string_view what) {
  if (p.least && p.most) return fmt::format("{} from {} to {}", what, *p.least, *p.most);
  if (p.least) return fmt::format("{} from {} on", what, *p.least);
  if (p.most) return fmt::format("{} up to {}", what, *p.most);
  return std::string(what);
}

bool has_bounds(ParameterType type) {
  return type == ParameterType::integer || type == ParameterType::number ||
         type == ParameterType::time;
}

Result<void> read_bounds(TomlReader& reader, Parameter& p) {
  for (auto [key, bound] : {std::pair("min", &p.least), std::pair("max", &p.most)}) {
    if (reader.find(key) == nullptr) continue;
    if (!has_bounds(p.type)) {
      return reader.error_at(
          key, fmt::format("'{}' goes with the types integer, number and time.", key));
    }
    *bound = TRY(reader.number(key, -kLargestInteger, kLargestInteger, 0));
    if (p.type == ParameterType::integer && **bound != std::floor(**bound)) {
      return reader.wrong(key, "a whole number");
    }
  }
  if (p.type == ParameterType::time) {
    p.least = std::max(p.least.value_or(0), 0.0);
    p.most = std::min(p.most.value_or(kLongestTime), kLongestTime);
  }
  if (p.least && p.most && *p.least > *p.most) {
    return reader.wrong("max", fmt::format("at least min, {}", *p.least));
  }
  return {};
}

Result<void> read_choices(TomlReader& reader, Parameter& p) {
  p.choices = TRY(reader.texts("choices", kMostChoices));
  if ((p.type == ParameterType::choice) == !p.choices.empty()) return {};
  return reader.error_at(
      "choices", "the type choice needs 'choices', a list of texts, and no other type has them.");
}

Result<void> read_default(TomlReader& reader, Parameter& p) {
  const toml::node* node = reader.find("default");
  if (node == nullptr) return {};
  if (p.optional) {
    return reader.error_at("optional",
                           "what has a default may be left out anyway; remove 'optional'.");
  }
  std::optional<RawValue> raw;
  if (const auto text = node->value_exact<std::string>()) raw = *text;
  if (const auto integer = node->value_exact<int64_t>()) raw = *integer;
  if (const auto real = node->value_exact<double>()) raw = *real;
  if (const auto boolean = node->value_exact<bool>()) raw = *boolean;
  if (raw) p.default_value = canonical_value(p, *raw);
  if (!p.default_value) return reader.wrong("default", wanted_value(p));
  return {};
}

// Finds what DOM parsing forgets: a name given twice, of which programs take one or the other.
struct Request {
  Json object;
  std::string twice;
  bool deep = false;
};

Request parse_request(std::string_view json) {
  Request request;
  std::set<std::string> names;
  const auto look = [&](int depth, Json::parse_event_t event, Json& parsed) {
    request.deep = request.deep || depth > 2;
    if (event == Json::parse_event_t::key && depth == 1) {
      const auto& name = parsed.get_ref<const std::string&>();
      if (!names.insert(name).second) request.twice = name;
    }
    return !request.deep;
  };
  request.object = Json::parse(json, look, false);
  return request;
}

std::optional<RawValue> raw_of(const Json& value) {
  if (value.is_string()) return value.get_ref<const std::string&>();
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT64_MAX}) {
    return value.get<double>();
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  if (value.is_number_float()) return value.get<double>();
  return std::nullopt;
}

Error missing(const Parameter& p) {
  return make_error(Code::invalid_argument, "The parameter '{}' is lacking; it must be {}.", p.name,
                    wanted_value(p));
}

std::string names_of(const std::map<std::string, Parameter>& parameters) {
  std::string names;
  for (const auto& [name, parameter] : parameters) names += (names.empty() ? "" : ", ") + name;
  return names.empty() ? "none" : names;
}

// The canonical text of one parameter; nothing if it is optional and was left out.
Result<std::optional<std::string>> value_of(const Parameter& p, const Json& object) {
  const auto given = object.find(p.name);
  if (given == object.end() || given->is_null()) {
    if (!p.default_value && !p.optional) return missing(p);
    return p.default_value;
  }
  const std::optional<RawValue> raw = raw_of(*given);
  auto value = raw ? canonical_value(p, *raw) : std::nullopt;
  if (!value) {
    return make_error(Code::invalid_argument, "The parameter '{}' must be {}.", p.name,
                      wanted_value(p));
  }
  return value;
}

std::string json_of(const Parameter& p, const std::string& value) {
  const bool bare = p.type == ParameterType::integer || p.type == ParameterType::number ||
                    p.type == ParameterType::boolean;
  return bare ? value : Json(value).dump();
}

}  // namespace

std::string_view to_string(ParameterType type) { return kTypes.at(static_cast<size_t>(type)); }

bool is_model_name(std::string_view text) {
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  return !text.empty() && text.size() <= 63 && is_plain(text[0]) && !text.ends_with(".onnx") &&
         std::all_of(text.begin(), text.end(),
                     [&](char c) { return is_plain(c) || c == '.' || c == '_' || c == '-'; });
}

std::optional<std::string> canonical_value(const Parameter& p, const RawValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return text_value(p, *text);
  if (const auto* integer = std::get_if<int64_t>(&value)) return integer_value(p, *integer);
  if (const auto* boolean = std::get_if<bool>(&value)) {
    if (p.type != ParameterType::boolean) return std::nullopt;
    return *boolean ? "true" : "false";
  }
  if (p.type != ParameterType::number && p.type != ParameterType::time) return std::nullopt;
  return number_text(p, std::get<double>(value));
}

std::string wanted_value(const Parameter& p) {
  switch (p.type) {
    case ParameterType::input:
    case ParameterType::output:
      return "the location of a file: an absolute path, or like az://account/container/path or "
             "s3://bucket/path";
    case ParameterType::model:
      return "the name of an installed model, or the location of an .onnx file";
    case ParameterType::string: return "a text of at most 4096 bytes without control characters";
    case ParameterType::integer: return with_bounds(p, "a whole number");
    case ParameterType::number: return with_bounds(p, "a number");
    case ParameterType::boolean: return "true or false";
    case ParameterType::choice: return fmt::format("one of: {}", fmt::join(p.choices, ", "));
    case ParameterType::size:
      return fmt::format(
          "a text like \"1280x720\", sides up to {}, one of them 0 to keep the "
          "aspect",
          kLargestSide);
    case ParameterType::time: return with_bounds(p, "seconds, or a text like \"1:30\",");
  }
  return "of its type";
}

Result<Parameter> read_parameter(TomlReader& all, std::string_view name) {
  if (!is_parameter_name(name)) {
    return all.error_at(name, fmt::format("{} cannot name a parameter; take small letters, digits, "
                                          "'_' and '-' behind a letter, at most 63.",
                                          shown(name)));
  }
  const toml::table* table = TRY(all.table(name));
  if (table == nullptr) return all.wrong(name, "a table");
  TomlReader reader(*table, all.what(), all.path_of(name));
  Parameter p;
  p.name = name;
  const std::string type = TRY(reader.text("type")).value_or("");
  const auto known = std::find(kTypes.begin(), kTypes.end(), type);
  if (known == kTypes.end()) {
    return reader.wrong("type", fmt::format("one of: {}", fmt::join(kTypes, ", ")));
  }
  p.type = static_cast<ParameterType>(known - kTypes.begin());
  p.description = TRY(reader.prose("description"));
  p.optional = TRY(reader.boolean("optional", false));
  TRY(read_bounds(reader, p));
  TRY(read_choices(reader, p));
  TRY(read_default(reader, p));
  TRY(reader.finish());
  return p;
}

Result<RunParameters> fill_parameters(const std::map<std::string, Parameter>& parameters,
                                      std::string_view json) {
  if (json.size() > kLongestParameters) {
    return make_error(Code::invalid_argument,
                      "The parameters are {} bytes long, more than the {} they may have.",
                      json.size(), kLongestParameters);
  }
  Request request;
  request.object = Json::object();
  if (!json.empty()) request = parse_request(json);
  if (!request.object.is_object() || request.deep) {
    return Error{Code::invalid_argument,
                 "The parameters must be one JSON object of texts, numbers, true and false."};
  }
  if (!request.twice.empty()) {
    return make_error(Code::invalid_argument, "The parameter {} is given twice; give it once.",
                      shown(request.twice));
  }
  for (const auto& [name, value] : request.object.items()) {
    if (parameters.contains(name)) continue;
    return make_error(Code::invalid_argument, "There is no parameter {}; this pipeline takes: {}.",
                      shown(name), names_of(parameters));
  }
  RunParameters filled;
  for (const auto& [name, parameter] : parameters) {
    const auto value = TRY(value_of(parameter, request.object));
    filled.json += fmt::format("{}\"{}\":{}", filled.json.empty() ? "" : ",", name,
                               value ? json_of(parameter, *value) : "null");
    if (value) filled.values.emplace(name, *value);
  }
  filled.json = "{" + filled.json + "}";
  return filled;
}

}  // namespace atelier::server
