// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <charconv>

#include "server/text_values.h"
#include "server/toml_reader.h"
#include "server/triggers/trigger.h"

namespace atelier::server {
namespace {

using std::chrono::milliseconds;

constexpr size_t kMaxText = 1 << 18;
constexpr size_t kMaxString = 4096;
constexpr size_t kMaxItems = 64;      // parameters, suffixes
constexpr size_t kMaxChoices = 1000;  // of one map

template <class... Args>
Error wrong(const toml::node& node, fmt::format_string<Args...> format, Args&&... args) {
  return make_error(Code::invalid_argument, "The trigger is wrong in line {}: {}",
                    node.source().begin.line, fmt::format(format, std::forward<Args>(args)...));
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return text;
}

Result<std::string> read_string(const toml::node& node, std::string_view key) {
  const auto value = node.value_exact<std::string>();
  if (!value || value->size() > kMaxString || !is_clean_text(*value)) {
    return wrong(node, "'{}' must be a text of one line.", key);
  }
  return *value;
}

bool are_name_letters(std::string_view text, std::string_view others) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           others.find(c) != std::string_view::npos;
  });
}

Result<std::string> read_trigger_name(const toml::node& node) {
  std::string name = TRY(read_string(node, "name"));
  if (!name.empty() && name.size() <= 63 && name[0] != '-' && are_name_letters(name, "-")) {
    return name;
  }
  return wrong(node, "'name' must be 1 to 63 of a-z, 0-9 and '-', not beginning with '-'.");
}

Result<std::string> read_other_name(const toml::node& node, std::string_view key) {
  std::string name = TRY(read_string(node, key));
  if (!name.empty() && name.size() <= 64 && are_name_letters(lower(name), "-._")) return name;
  return wrong(node, "'{}' must be a name: 1 to 64 letters, digits, '-', '.' and '_'.", key);
}

Result<milliseconds> read_duration(const toml::node& node, std::string_view key, milliseconds least,
                                   milliseconds most) {
  const std::string text = TRY(read_string(node, key));
  int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number);
  const std::string_view unit(parsed.ptr, static_cast<size_t>(end - parsed.ptr));
  const int64_t scale = unit == "ms"  ? 1
                        : unit == "s" ? 1000
                        : unit == "m" ? 60'000
                        : unit == "h" ? 3'600'000
                                      : 0;
  // Compared before it is multiplied, so that nothing overflows.
  const bool fits = parsed.ec == std::errc() && scale > 0 && number >= 0 &&
                    number <= most.count() / scale && number * scale >= least.count();
  if (fits) return milliseconds(number * scale);
  return wrong(node, "'{}' must be a duration such as \"30s\", from {} to {} seconds.", key,
               static_cast<double>(least.count()) / 1000, most.count() / 1000);
}

Result<uint64_t> read_bytes(const toml::node& node, std::string_view key) {
  const auto value = node.value_exact<int64_t>();
  if (!value || *value < 0) return wrong(node, "'{}' must be a whole number of bytes.", key);
  return static_cast<uint64_t>(*value);
}

Result<Location> read_location(const toml::node& node) {
  const std::string text = TRY(read_string(node, "location"));
  const bool absolute = text.starts_with('/') || lower(text.substr(0, 5)) == "file:" ||
                        text.find("://") != std::string::npos;
  if (!absolute) {
    return wrong(node,
                 "'location' must be an absolute path, az://account/container/path or "
                 "s3://bucket/path.");
  }
  const Result<Location> location = parse_location(text);
  if (!location.ok()) return wrong(node, "{}", location.error().message);
  return *location;
}

Result<std::vector<std::string>> read_suffixes(const toml::node& node) {
  constexpr std::string_view kWanted =
      "'suffix' must be a text such as \".mp4\", or a list of 1 to "
      "64 of them.";
  std::vector<std::string> suffixes;
  const auto add = [&](const toml::node& item) -> Result<void> {
    std::string suffix = lower(TRY(read_string(item, "suffix")));
    if (suffix.empty() || suffix.size() > 64) return wrong(item, "{}", kWanted);
    suffixes.push_back(std::move(suffix));
    return {};
  };
  const toml::array* list = node.as_array();
  if (list == nullptr) {
    TRY(add(node));
    return suffixes;
  }
  if (list->empty() || list->size() > kMaxItems) return wrong(node, "{}", kWanted);
  for (const toml::node& item : *list) TRY(add(item));
  return suffixes;
}

Result<TriggerText> read_text(const toml::node& node, std::string_view key) {
  const std::string text = TRY(read_string(node, key));
  Result<TriggerText> parsed = TriggerText::parse(text);
  if (!parsed.ok()) return wrong(node, "'{}': {}", key, parsed.error().message);
  return *std::move(parsed);
}

Result<std::map<std::string, std::string>> read_choices(const toml::node& node) {
  std::map<std::string, std::string> choices;
  const toml::table* table = node.as_table();
  if (table == nullptr || table->empty() || table->size() > kMaxChoices) {
    return wrong(node, "'map' must be a table of 1 to {} texts.", kMaxChoices);
  }
  for (const auto& [key, item] : *table) {
    choices[std::string(key.str())] = TRY(read_string(item, "map"));
  }
  return choices;
}

Result<Trigger::Parameter> read_choice(const toml::table& table) {
  Trigger::Parameter parameter;
  parameter.is_choice = true;
  bool has_from = false;
  for (const auto& [name, node] : table) {
    const std::string_view key = name.str();
    if (key == "from") {
      parameter.value = TRY(read_text(node, key));
      has_from = true;
    } else if (key == "map") {
      parameter.choices = TRY(read_choices(node));
    } else if (key == "default") {
      parameter.otherwise = TRY(read_string(node, key));
    } else {
      return wrong(node, "a choice has no '{}'; it has 'from', 'map' and 'default'.", key);
    }
  }
  if (has_from && !parameter.choices.empty()) return parameter;
  return wrong(table, "a choice needs 'from' and 'map'.");
}

Result<Trigger::Parameter> read_parameter(const toml::node& node, std::string_view key) {
  if (const toml::table* table = node.as_table()) return read_choice(*table);
  Trigger::Parameter parameter;
  if (const auto number = node.value_exact<int64_t>()) {
    parameter.value = *number;
  } else if (const auto real = node.value_exact<double>()) {
    if (!(*real > -1e300 && *real < 1e300)) return wrong(node, "'{}' must be finite.", key);
    parameter.value = *real;
  } else if (const auto flag = node.value_exact<bool>()) {
    parameter.value = *flag;
  } else {
    parameter.value = TRY(read_text(node, key));
  }
  return parameter;
}

Result<std::map<std::string, Trigger::Parameter>> read_parameters(const toml::node& node) {
  std::map<std::string, Trigger::Parameter> parameters;
  const toml::table* table = node.as_table();
  if (table == nullptr || table->size() > kMaxItems) {
    return wrong(node, "'parameters' must be a table of at most {} keys.", kMaxItems);
  }
  for (const auto& [name, item] : *table) {
    const std::string key(name.str());
    if (key.empty() || key.size() > 64 || !are_name_letters(lower(key), "-_")) {
      return wrong(item, "a parameter's name must be 1 to 64 letters, digits, '-' and '_'.");
    }
    parameters[key] = TRY(read_parameter(item, key));
  }
  return parameters;
}

Result<Trigger::Kind> read_kind(const toml::node& node) {
  const std::string kind = TRY(read_string(node, "kind"));
  for (const Trigger::Kind known :
       {Trigger::Kind::watch, Trigger::Kind::poll, Trigger::Kind::event}) {
    if (kind == kind_name(known)) return known;
  }
  return wrong(node, "'kind' must be \"watch\", \"poll\" or \"event\".");
}

Result<int64_t> read_integer(const toml::node& node, std::string_view key, int64_t least,
                             int64_t most) {
  const auto value = node.value_exact<int64_t>();
  if (value && *value >= least && *value <= most) return *value;
  return wrong(node, "'{}' must be a whole number from {} to {}.", key, least, most);
}

Result<double> read_bound(const toml::node& node, std::string_view key) {
  const auto value = node.value<double>();
  if ((node.is_integer() || node.is_floating_point()) && value && *value > 0 && *value < 1e300) {
    return *value;
  }
  return wrong(node, "'{}' must be a number above 0.", key);
}

// Whether the key is one of these.
Result<bool> set_asked(Trigger::Asks& asks, std::string_view key, const toml::node& node) {
  if (key == "version") {
    asks.version = TRY(read_integer(node, key, 1, INT32_MAX));
  } else if (key == "pool") {
    asks.pool = TRY(read_other_name(node, key));
  } else if (key == "priority") {
    asks.priority = TRY(read_integer(node, key, -100, 100));
  } else if (key == "max_cost" || key == "max_seconds") {
    (key == "max_cost" ? asks.max_cost : asks.max_seconds) = TRY(read_bound(node, key));
  } else if (key == "replace_output") {
    asks.replace_output = node.value_exact<bool>();
    if (!asks.replace_output) return wrong(node, "'{}' must be true or false.", key);
  } else {
    return false;
  }
  return true;
}

constexpr milliseconds kDay = std::chrono::hours(24);
constexpr milliseconds kSecond = std::chrono::seconds(1);

Result<void> set(Trigger& trigger, std::string_view key, const toml::node& node) {
  if (key == "name") {
    trigger.name = TRY(read_trigger_name(node));
  } else if (key == "kind") {
    trigger.kind = TRY(read_kind(node));
  } else if (key == "location") {
    trigger.location = TRY(read_location(node));
  } else if (key == "prefix") {
    trigger.prefix = TRY(read_string(node, key));
  } else if (key == "suffix") {
    trigger.suffixes = TRY(read_suffixes(node));
  } else if (key == "min_bytes") {
    trigger.min_bytes = TRY(read_bytes(node, key));
  } else if (key == "max_bytes") {
    trigger.max_bytes = TRY(read_bytes(node, key));
  } else if (key == "every") {
    trigger.every = TRY(read_duration(node, key, kSecond, kDay));
  } else if (key == "settle") {
    trigger.settle = TRY(read_duration(node, key, milliseconds(0), std::chrono::hours(1)));
  } else if (key == "pipeline" || key == "owner") {
    (key == "owner" ? trigger.owner : trigger.pipeline) = TRY(read_other_name(node, key));
  } else if (key == "parameters") {
    trigger.parameters = TRY(read_parameters(node));
  } else if (!TRY(set_asked(trigger.asks, key, node))) {
    return wrong(node, "there is no key '{}'.", key);
  }
  return {};
}

// What is absent and what it means; what does not go together.
Result<void> complete(Trigger& trigger, const toml::table& table) {
  for (const std::string_view key : {"name", "kind", "location", "pipeline"}) {
    if (table.contains(key)) continue;
    return make_error(Code::invalid_argument, "The trigger has no '{}'; add it.", key);
  }
  const bool is_file = trigger.location.is_file();
  if (trigger.kind == Trigger::Kind::watch && !is_file) {
    return wrong(*table.get("kind"),
                 "only a folder of this machine can be watched; use \"poll\" or \"event\" for {}.",
                 trigger.location.url());
  }
  if (trigger.min_bytes > trigger.max_bytes) {
    return wrong(table, "'max_bytes' must not be less than 'min_bytes' (1 unless given).");
  }
  if (!table.contains("settle") && is_file) trigger.settle = std::chrono::seconds(5);
  if (!table.contains("every")) {
    trigger.every = trigger.kind == Trigger::Kind::watch  ? std::chrono::seconds(60)
                    : trigger.kind == Trigger::Kind::poll ? std::chrono::seconds(30)
                                                          : std::chrono::seconds(0);
  }
  if (trigger.owner.empty()) trigger.owner = trigger.name;
  return {};
}

}  // namespace

Result<Trigger> parse_trigger(std::string_view toml) {
  const toml::table table =
      TRY(parse_toml(toml, "The trigger", {.bytes = kMaxText, .depth = 8, .entries = 4096}));
  Trigger trigger;
  for (const auto& [key, node] : table) TRY(set(trigger, key.str(), node));
  TRY(complete(trigger, table));
  return trigger;
}

}  // namespace atelier::server
