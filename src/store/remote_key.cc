// SPDX-License-Identifier: Apache-2.0
#include "store/remote_key.h"

#include <algorithm>

namespace atelier {
namespace {

unsigned byte_at(std::string_view text, size_t at) {
  return at < text.size() ? static_cast<unsigned char>(text[at]) : 0;
}

// How many bytes the UTF-8 character at `at` takes (RFC 3629); 0 if there is none.
size_t character_size(std::string_view text, size_t at) {
  const unsigned first = byte_at(text, at), second = byte_at(text, at + 1);
  const auto follows = [&](size_t count) {
    for (size_t i = 1; i <= count; ++i) {
      if ((byte_at(text, at + i) & 0xC0) != 0x80) return false;
    }
    return true;
  };
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first < 0xE0) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first < 0xF0) {
    const bool overlong = first == 0xE0 && second < 0xA0,
               surrogate = first == 0xED && second > 0x9F;
    return !overlong && !surrogate && follows(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first < 0xF5) {
    const bool overlong = first == 0xF0 && second < 0x90, beyond = first == 0xF4 && second > 0x8F;
    return !overlong && !beyond && follows(3) ? 4 : 0;
  }
  return 0;
}

bool is_control(unsigned byte) { return byte < 0x20 || byte == 0x7F; }

// U+10FE00 to U+10FEFF.
bool is_private(std::string_view text, size_t at) {
  const unsigned third = byte_at(text, at + 2);
  return text.substr(at).starts_with("\xF4\x8F") && third >= 0xB8 && third <= 0xBB &&
         character_size(text, at) == 4;
}

void append_private(std::string& text, unsigned byte) {
  text += "\xF4\x8F";
  text += static_cast<char>(0xB8 | (byte >> 6));
  text += static_cast<char>(0x80 | (byte & 0x3F));
}

}  // namespace

std::string to_remote_key(std::string_view key) {
  std::string stored;
  stored.reserve(key.size());
  for (size_t at = 0; at < key.size();) {
    const size_t size = character_size(key, at);
    const unsigned byte = byte_at(key, at);
    if (size == 0 || is_control(byte) || is_private(key, at)) {
      append_private(stored, byte);
      ++at;
    } else {
      stored += key.substr(at, size);
      at += size;
    }
  }
  return stored;
}

std::string from_remote_key(std::string_view stored) {
  std::string key;
  key.reserve(stored.size());
  for (size_t at = 0; at < stored.size();) {
    if (is_private(stored, at)) {
      key += static_cast<char>(((byte_at(stored, at + 2) & 3) << 6) |
                               (byte_at(stored, at + 3) & 0x3F));
      at += 4;
    } else {
      key += stored[at++];
    }
  }
  return key;
}

size_t whole_characters(std::string_view prefix) {
  const size_t least = prefix.size() - std::min<size_t>(prefix.size(), 3);
  for (size_t at = prefix.size(); at > least;) {
    const unsigned byte = byte_at(prefix, --at);
    if ((byte & 0xC0) == 0x80) continue;
    return byte >= 0xC2 && character_size(prefix, at) == 0 ? at : prefix.size();
  }
  return prefix.size();
}

}  // namespace atelier
