// SPDX-License-Identifier: Apache-2.0
#include "server/toml_reader.h"

#include <algorithm>

#include "server/text_values.h"

namespace atelier::server {
namespace {

constexpr size_t kLongestText = 4096;

// How deep and how much, counted outside of strings and comments. It need not know more of TOML:
// where a text is so wrong that the two disagree, the library has stopped before.
class CostScan {
 public:
  explicit CostScan(std::string_view text) : text_(text) {}

  bool within(const TomlBounds& bounds) {
    for (size_t i = 0; i < text_.size(); i = step(i)) {
      if (depth_ > bounds.depth || parts_ > bounds.depth || entries_ > bounds.entries) return false;
    }
    return depth_ <= bounds.depth && parts_ <= bounds.depth && entries_ <= bounds.entries;
  }

 private:
  // Takes what begins at `i`; gives where the next thing begins.
  size_t step(size_t i) {
    const char c = text_[i];
    if (c == '"' || c == '\'') return end_of_string(i);
    if (c == '#') return std::min(text_.find('\n', i), text_.size());
    if (c == '[' || c == '{') ++depth_;
    if (c == ']' || c == '}') --depth_;
    if (c == '=' || c == ',' || c == '[') ++entries_;
    if (c == '=' || c == ',' || c == '\n' || c == '{') parts_ = 0;
    if (c == '.') ++parts_;
    return i + 1;
  }

  size_t end_of_string(size_t i) const {
    const char quote = text_[i];
    const std::string whole(3, quote);
    const bool many_lines = text_.substr(i, 3) == whole;
    const std::string_view end = many_lines ? std::string_view(whole) : text_.substr(i, 1);
    for (i += end.size(); i < text_.size(); ++i) {
      if (quote == '"' && text_[i] == '\\') {
        ++i;
      } else if (text_.substr(i, end.size()) == end) {
        // Up to two quotes may stand before the three that end it.
        const size_t behind = i + end.size();
        const size_t next = std::min(text_.find_first_not_of(quote, behind), text_.size());
        return many_lines ? std::min(next, behind + 2) : behind;
      } else if (text_[i] == '\n' && !many_lines) {
        return i;
      }
    }
    return text_.size();
  }

  std::string_view text_;
  int depth_ = 0;
  int parts_ = 0;
  size_t entries_ = 0;
};

bool is_prose(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\t'; }, ' ');
  return is_clean_text(text);
}

}  // namespace

Result<toml::table> parse_toml(std::string_view text, std::string_view what,
                               const TomlBounds& bounds) {
  if (text.size() > bounds.bytes) {
    return make_error(Code::invalid_argument, "{} is {} bytes long, more than the {} it may have.",
                      what, text.size(), bounds.bytes);
  }
  if (!CostScan(text).within(bounds)) {
    return make_error(Code::invalid_argument,
                      "{} nests deeper than {} or has more than {} entries; make it simpler.", what,
                      bounds.depth, bounds.entries);
  }
  // The library is built with exceptions; they end here.
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    std::string description(error.description());
    std::replace_if(
        description.begin(), description.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
    return make_error(Code::invalid_argument, "{}, line {}: it is not TOML ({}).", what,
                      error.source().begin.line, description.substr(0, 300));
  }
}

TomlReader::TomlReader(const toml::table& table, std::string what, std::string path)
    : table_(table), what_(std::move(what)), path_(std::move(path)) {}

std::string TomlReader::path_of(std::string_view key) const {
  return fmt::format("{}{}.", path_, key);
}

Error TomlReader::error_at(std::string_view key, std::string_view sentence) const {
  const toml::node* node = table_.get(key);
  const toml::source_region& source = node == nullptr ? table_.source() : node->source();
  // The outermost table of a text, and one that dotted keys made, have no line of their own.
  const auto line = std::max<toml::source_index>(1, source.begin.line);
  return make_error(Code::invalid_argument, "{}, line {}: {}", what_, line, sentence);
}

Error TomlReader::wrong(std::string_view key, std::string_view wanted) const {
  return error_at(key,
                  fmt::format("{} must be {}.", shown(fmt::format("{}{}", path_, key)), wanted));
}

const toml::node* TomlReader::find(std::string_view key) {
  known_.emplace(key);
  return table_.get(key);
}

Result<std::optional<std::string>> TomlReader::text(std::string_view key) {
  const toml::node* node = find(key);
  if (node == nullptr) return std::optional<std::string>();
  auto value = node->value_exact<std::string>();
  if (!value || value->size() > kLongestText || !is_clean_text(*value)) {
    return wrong(key, "a text of at most 4096 bytes without control characters");
  }
  return value;
}

Result<std::string> TomlReader::needed_text(std::string_view key) {
  auto value = TRY(text(key));
  if (!value || value->empty()) return wrong(key, "given, as a text that is not empty");
  return *std::move(value);
}

Result<std::string> TomlReader::prose(std::string_view key) {
  const toml::node* node = find(key);
  if (node == nullptr) return std::string();
  auto value = node->value_exact<std::string>();
  if (!value || value->size() > kLongestText || !is_prose(*value)) {
    return wrong(key, "a text of at most 4096 bytes without control characters");
  }
  return *std::move(value);
}

Result<std::vector<std::string>> TomlReader::texts(std::string_view key, size_t most) {
  std::vector<std::string> result;
  const toml::node* node = find(key);
  if (node == nullptr) return result;
  const auto wanted = fmt::format("a list of at most {} different texts, none of them empty", most);
  const toml::array* list = node->as_array();
  if (list == nullptr || list->size() > most) return wrong(key, wanted);
  for (const toml::node& item : *list) {
    const auto value = item.value_exact<std::string>();
    if (!value || value->empty() || value->size() > kLongestText || !is_clean_text(*value) ||
        std::find(result.begin(), result.end(), *value) != result.end()) {
      return wrong(key, wanted);
    }
    result.push_back(*value);
  }
  return result;
}

Result<std::string> TomlReader::name(std::string_view key) {
  auto value = TRY(text(key));
  if (!value || !is_name(*value)) {
    return wrong(key,
                 "a name of 1 to 63 small letters, digits and dashes that does not begin with a "
                 "dash");
  }
  return *std::move(value);
}

Result<bool> TomlReader::boolean(std::string_view key, bool otherwise) {
  const toml::node* node = find(key);
  if (node == nullptr) return otherwise;
  const auto value = node->value_exact<bool>();
  if (!value) return wrong(key, "true or false");
  return *value;
}

Result<int64_t> TomlReader::integer(std::string_view key, int64_t least, int64_t most,
                                    int64_t otherwise) {
  const toml::node* node = find(key);
  if (node == nullptr) return otherwise;
  const auto value = node->value_exact<int64_t>();
  if (!value || *value < least || *value > most) {
    return wrong(key, fmt::format("a whole number from {} to {}", least, most));
  }
  return *value;
}

Result<double> TomlReader::number(std::string_view key, double least, double most,
                                  double otherwise) {
  const toml::node* node = find(key);
  if (node == nullptr) return otherwise;
  const auto value = node->is_number() ? node->value<double>() : std::nullopt;
  if (!value || !(*value >= least && *value <= most)) {
    return wrong(key, fmt::format("a number from {} to {}", least, most));
  }
  return *value;
}

Result<std::chrono::seconds> TomlReader::duration(std::string_view key,
                                                  std::chrono::seconds otherwise,
                                                  std::chrono::seconds least) {
  if (find(key) == nullptr) return otherwise;
  const auto value = parse_duration(TRY(text(key)).value_or(""));
  if (!value || *value < least) {
    return wrong(key, "a duration like \"90s\", \"10m\", \"2h\" or \"30d\"");
  }
  return *value;
}

Result<uint64_t> TomlReader::bytes(std::string_view key, uint64_t otherwise) {
  if (find(key) == nullptr) return otherwise;
  const auto value = parse_byte_size(TRY(text(key)).value_or(""));
  if (!value || *value == 0) {
    return wrong(key, "a size like \"512KiB\", \"8MiB\", \"8GiB\" or \"2TiB\"");
  }
  return *value;
}

Result<const toml::table*> TomlReader::table(std::string_view key) {
  const toml::node* node = find(key);
  if (node != nullptr && !node->is_table()) return wrong(key, "a table");
  return node == nullptr ? nullptr : node->as_table();
}

Result<std::vector<const toml::table*>> TomlReader::tables(std::string_view key, size_t most) {
  std::vector<const toml::table*> result;
  const toml::node* node = find(key);
  if (node == nullptr) return result;
  const auto wanted = fmt::format("at most {} tables, each begun by [[{}{}]]", most, path_, key);
  const toml::array* list = node->as_array();
  if (list == nullptr || list->size() > most) return wrong(key, wanted);
  for (const toml::node& item : *list) {
    if (!item.is_table()) return wrong(key, wanted);
    result.push_back(item.as_table());
  }
  return result;
}

Result<void> TomlReader::finish() const {
  for (const auto& [key, node] : table_) {
    if (known_.contains(key.str())) continue;
    return error_at(key.str(), fmt::format("there is no key {}; check its spelling.",
                                           shown(fmt::format("{}{}", path_, key.str()))));
  }
  return {};
}

}  // namespace atelier::server
