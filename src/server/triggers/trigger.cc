// SPDX-License-Identifier: Apache-2.0
#include "server/triggers/trigger.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "store/names.h"

namespace atelier::server {
namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return result;
}

bool has_hidden_part(std::string_view path) {
  return path.starts_with('.') || path.find("/.") != std::string_view::npos;
}

Result<nlohmann::json> value_for(const std::string& name, const Trigger::Parameter& parameter,
                                 const Blob& blob) {
  if (const auto* number = std::get_if<int64_t>(&parameter.value)) return nlohmann::json(*number);
  if (const auto* number = std::get_if<double>(&parameter.value)) return nlohmann::json(*number);
  if (const auto* flag = std::get_if<bool>(&parameter.value)) return nlohmann::json(*flag);
  Result<std::string> text = std::get<TriggerText>(parameter.value).fill(blob);
  if (!parameter.is_choice) {
    if (text.ok()) return nlohmann::json(*std::move(text));
    return make_error(text.error().code, "The parameter '{}': {}", name, text.error().message);
  }
  if (text.ok()) {
    const auto chosen = parameter.choices.find(*text);
    if (chosen != parameter.choices.end()) return nlohmann::json(chosen->second);
  }
  if (parameter.otherwise) return nlohmann::json(*parameter.otherwise);
  if (!text.ok()) {
    return make_error(text.error().code, "The parameter '{}': {}", name, text.error().message);
  }
  return make_error(Code::invalid_input,
                    "The parameter '{}': the map has no '{}' and there is no default; add one of "
                    "them to the trigger, or put it into another folder.",
                    name, percent_encode(text->substr(0, 200)));
}

}  // namespace

bool Trigger::uses_metadata() const {
  return std::any_of(parameters.begin(), parameters.end(), [](const auto& named) {
    const auto* text = std::get_if<TriggerText>(&named.second.value);
    return text != nullptr && text->uses_metadata();
  });
}

std::string_view kind_name(Trigger::Kind kind) {
  switch (kind) {
    case Trigger::Kind::watch: return "watch";
    case Trigger::Kind::poll: return "poll";
    case Trigger::Kind::event: return "event";
  }
  return "";
}

bool wants_path(const Trigger& trigger, std::string_view path) {
  if (!check_key(path).ok() || has_hidden_part(path)) return false;
  if (!path.starts_with(trigger.prefix)) return false;
  const std::string folded = lower(path);
  return trigger.suffixes.empty() ||
         std::any_of(trigger.suffixes.begin(), trigger.suffixes.end(),
                     [&](const std::string& suffix) { return folded.ends_with(suffix); });
}

bool wants_size(const Trigger& trigger, uint64_t size) {
  return size >= trigger.min_bytes && size <= trigger.max_bytes;
}

std::optional<std::string> path_below(const Trigger& trigger, const Location& place) {
  const Location& folder = trigger.location;
  if (place.scheme != folder.scheme || place.account != folder.account ||
      place.container != folder.container) {
    return std::nullopt;
  }
  std::string start = folder.is_file() ? folder.path.native() : folder.key;
  if (!start.empty() && !start.ends_with('/')) start += '/';
  const std::string& whole = place.is_file() ? place.path.native() : place.key;
  if (whole.size() <= start.size() || !whole.starts_with(start)) return std::nullopt;
  return whole.substr(start.size());
}

Location place_below(const Trigger& trigger, const std::string& path) {
  return trigger.location.child(path);
}

Result<std::string> map_blob(const Trigger& trigger, const Blob& blob) {
  nlohmann::json mapped = nlohmann::json::object();
  for (const auto& [name, parameter] : trigger.parameters) {
    mapped[name] = TRY(value_for(name, parameter, blob));
  }
  // Every text in it is UTF-8 by now; "replace" because nothing may throw.
  return mapped.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::vector<std::string> output_urls(const Location& place) {
  std::vector<std::string> urls = {place.url()};
  const std::string name = place.name();
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  for (size_t begin = 0; begin < name.size(); ++begin) {
    if (!is_digit(name[begin]) || (begin > 0 && is_digit(name[begin - 1]))) continue;
    size_t end = begin;
    while (end < name.size() && is_digit(name[end])) ++end;
    // "007" is of %03d alone; "100" may be of %d, %02d and %03d.
    const size_t least = name[begin] == '0' ? end - begin : 1;
    for (size_t width = least; width <= std::min<size_t>(end - begin, 20); ++width) {
      std::vector<std::string> signs = {fmt::format("%0{}d", width), fmt::format("%{}d", width)};
      if (width == 1) signs.emplace_back("%d");
      for (const std::string& sign : signs) {
        const std::string sequence = name.substr(0, begin) + sign + name.substr(end);
        urls.push_back(place.folder().child(sequence).url());
      }
    }
  }
  return urls;
}

}  // namespace atelier::server
