// SPDX-License-Identifier: Apache-2.0
// Numbers in stored formats: the most significant byte first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace atelier {

inline void put_big_endian(uint64_t number, std::span<std::byte> into) {
  for (size_t i = into.size(); i > 0; --i) {
    into[i - 1] = static_cast<std::byte>(number & 0xff);
    number >>= 8;
  }
}

inline uint64_t get_big_endian(std::span<const std::byte> bytes) {
  uint64_t number = 0;
  for (const std::byte byte : bytes) number = number << 8 | static_cast<uint64_t>(byte);
  return number;
}

}  // namespace atelier
