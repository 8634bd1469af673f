// SPDX-License-Identifier: Apache-2.0
#include "store/ini.h"

#include <algorithm>

namespace atelier {
namespace {

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

bool is_comment(std::string_view text) { return text.starts_with('#') || text.starts_with(';'); }

class IniParser {
 public:
  explicit IniParser(std::string_view what) : what_(what) {}

  Result<void> take(std::string_view line) {
    ++line_;
    const std::string_view text = trimmed(line);
    const bool control = std::ranges::any_of(text, [](char c) {
      return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == '\x7F';
    });
    if (control) return wrong("holds a control character");
    if (text.empty() || is_comment(text)) return {};
    if (text.starts_with('[')) return take_heading(text);
    return take_value(text, line.starts_with(' ') || line.starts_with('\t'));
  }

  std::vector<IniSection> finish() { return std::move(sections_); }

 private:
  Error wrong(std::string_view why) const {
    return make_error(Code::invalid_argument, "Line {} of {} {}; correct it.", line_, what_, why);
  }

  Result<void> take_heading(std::string_view text) {
    const size_t close = text.find(']');
    if (close == std::string_view::npos) return wrong("begins with '[' but has no ']'");
    const std::string_view rest = trimmed(text.substr(close + 1));
    if (!rest.empty() && !is_comment(rest)) return wrong("has something behind its ']'");
    sections_.push_back({std::string(trimmed(text.substr(1, close - 1))), {}, line_});
    outer_.clear();
    return {};
  }

  Result<void> take_value(std::string_view text, bool indented) {
    if (sections_.empty()) return wrong("comes before the first [section]");
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos) return wrong("is neither a [section] nor 'key = value'");
    std::string key(trimmed(text.substr(0, equals)));
    if (key.empty()) return wrong("has no key before its '='");
    std::ranges::transform(key, key.begin(), [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    });
    const std::string_view value = trimmed(text.substr(equals + 1));
    if (indented && !outer_.empty()) {
      key = outer_ + "." + key;
    } else {
      outer_ = value.empty() ? key : std::string();
    }
    if (!sections_.back().values.emplace(std::move(key), value).second) {
      return wrong("gives a key of its section for the second time");
    }
    return {};
  }

  const std::string_view what_;
  int line_ = 0;
  std::string outer_;  // the last key at the margin, if it has no value
  std::vector<IniSection> sections_;
};

}  // namespace

Result<std::vector<IniSection>> parse_ini(std::string_view text, std::string_view what) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  IniParser parser(what);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    TRY(parser.take(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return parser.finish();
}

}  // namespace atelier
