// SPDX-License-Identifier: Apache-2.0
#include "engine/warm_protocol.h"

namespace atelier::engine {

Result<std::string> warm_command_text(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text.append(word).push_back('\0');
  if (text.empty() || text.size() > kLargestWarmCommand) {
    return make_error(Code::invalid_argument, "A command has from 1 to {} bytes, not {}.",
                      kLargestWarmCommand, text.size());
  }
  return text;
}

std::vector<std::string> parse_warm_command(std::string_view text) {
  std::vector<std::string> words;
  for (size_t end = 0; (end = text.find('\0')) != std::string_view::npos;) {
    words.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return text.empty() ? words : std::vector<std::string>();
}

}  // namespace atelier::engine
