// SPDX-License-Identifier: Apache-2.0
// What a run of a pipeline is given: typed parameters, their bounds, and a request's values checked
// against them. Pure; safe from several threads.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "server/toml_reader.h"

namespace atelier::server {

enum class ParameterType {
  input,    // a location (location_policy.h) that the run reads
  output,   // a location that it writes
  model,    // the name of an installed model, or a location
  string,   // clean text (text_values.h) of at most 4 KiB
  integer,  // of 64 bits, within min and max
  number,   // finite, within min and max
  boolean,
  choice,  // one of `choices`
  size,    // "1280x720", a side 0 to keep the aspect; sides up to 16384
  time,    // seconds or "[h:]mm:ss", from 0; min and max are seconds
};
std::string_view to_string(ParameterType type);

// As JSON and TOML have values.
using RawValue = std::variant<std::string, int64_t, double, bool>;

struct Parameter {
  std::string name;  // [a-z][a-z0-9_-]{0,62}
  ParameterType type = ParameterType::string;
  std::string description;
  // May be left out although it has no default: then it has no value, and so have the options that
  // name it.
  bool optional = false;
  std::optional<std::string> default_value;  // as canonical_value() gives it
  std::optional<double> least, most;         // min and max
  std::vector<std::string> choices;          // in the author's order
};

// The one text that stands for a value: locations as URLs, "1:30" and 90 both as "90", true as
// "true". Nothing if the parameter does not take it.
std::optional<std::string> canonical_value(const Parameter& parameter, const RawValue& value);
// What it takes, to follow "must be": "a whole number from 0 to 51".
std::string wanted_value(const Parameter& parameter);

// One table [parameters.NAME]: type, description, optional, default, min, max, choices. `reader`
// reads the table of all parameters. Errors: invalid_argument.
Result<Parameter> read_parameter(TomlReader& reader, std::string_view name);

// The name of an installed model as a parameter may give it: [A-Za-z0-9][A-Za-z0-9._-]{0,62}, and
// not ending in ".onnx", which would make it a file. Anything else is a location.
bool is_model_name(std::string_view text);

// The values of a run, complete.
struct RunParameters {
  // Canonical texts by name; without those that are optional and were left out.
  std::map<std::string, std::string, std::less<>> values;
  // The same as a JSON object, with null for those: keys in order, no white space. Equal runs have
  // equal text, and filling it in again gives it again.
  std::string json;
};

inline constexpr size_t kLongestParameters = 64 << 10;

// Checks a request's JSON object of at most kLongestParameters bytes; null stands for a value that
// was left out, and "" alone for the empty object. Errors: invalid_argument, which names the
// parameter and says what would be right (an unknown name, a name twice, a value of another type
// or outside its bounds, one that is lacking).
Result<RunParameters> fill_parameters(const std::map<std::string, Parameter>& parameters,
                                      std::string_view json);

}  // namespace atelier::server
