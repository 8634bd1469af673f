// SPDX-License-Identifier: Apache-2.0
#include "media/cut_off.h"

#include <array>
#include <bit>
#include <optional>

namespace atelier::media {
namespace {

constexpr uint64_t kPacket = 188;  // of a transport stream, ISO/IEC 13818-1
constexpr uint64_t kSync = 0x47;

// Reads numbers at a position that moves on; nothing is read behind the end of the source.
class Cursor {
 public:
  explicit Cursor(ByteSource& source) : source_(source) {}
  uint64_t position = 0;

  Result<std::optional<uint8_t>> byte() {
    std::array<std::byte, 1> one{};
    if (position >= source_.size() || TRY(source_.read_at(position, one)) == 0) {
      return std::optional<uint8_t>();
    }
    ++position;
    return std::optional(std::to_integer<uint8_t>(one[0]));
  }

  Result<std::optional<uint64_t>> little_endian(int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) {
      const auto next = TRY(byte());
      if (!next) return std::optional<uint64_t>();
      value |= uint64_t{*next} << (8 * i);
    }
    return std::optional(value);
  }

  // An EBML number: the zeros before its first one say how many bytes follow. An id keeps that one;
  // a size loses it, and one of ones only says that the size is unknown.
  Result<std::optional<uint64_t>> ebml(bool id) {
    const auto first = TRY(byte());
    if (!first || *first == 0) return std::optional<uint64_t>();
    const int more = std::countl_zero(*first);
    uint64_t value = id ? *first : *first & (0x7FU >> more);
    bool ones = !id && value == (0x7FU >> more);
    for (int i = 0; i < more; ++i) {
      const auto next = TRY(byte());
      if (!next) return std::optional<uint64_t>();
      value = value << 8 | *next;
      ones = ones && *next == 0xFF;
    }
    return ones ? std::optional<uint64_t>() : std::optional(value);
  }

 private:
  ByteSource& source_;
};

Result<bool> matroska_is_cut_off(ByteSource& source) {
  constexpr uint64_t kHeader = 0x1A45DFA3;
  constexpr uint64_t kSegment = 0x18538067;
  Cursor at(source);
  for (int elements = 0; elements < 16; ++elements) {  // a void may lie between the two
    const auto id = TRY(at.ebml(true));
    const auto size = TRY(at.ebml(false));
    if (!id || !size || (elements == 0 && *id != kHeader)) return false;
    if (*size > source.size() || at.position > source.size() - *size) return *id == kSegment;
    if (*id == kSegment) return false;
    at.position += *size;
  }
  return false;
}

Result<bool> avi_is_cut_off(ByteSource& source) {
  constexpr uint64_t kRiff = 0x46464952;
  Cursor at(source);
  while (source.size() - at.position >= 8) {  // OpenDML: several of them
    const auto id = TRY(at.little_endian(4));
    const auto size = TRY(at.little_endian(4));
    if (!id || !size || *id != kRiff) return false;
    // A recorder that was switched off leaves 0 there.
    if (*size > source.size() - at.position) return true;
    if (*size == 0) return false;
    at.position += *size + *size % 2;
    if (at.position > source.size()) return false;
  }
  return false;
}

Result<bool> ts_is_cut_off(ByteSource& source) {
  if (source.size() % kPacket == 0) return false;
  // Only a stream of plain packets from its first byte on; others have 192 or 204 bytes.
  Cursor at(source);
  for (int i = 0; i < 8 && at.position < source.size(); ++i) {
    const auto sync = TRY(at.byte());
    if (!sync || *sync != kSync) return false;
    at.position += kPacket - 1;
  }
  at.position = source.size() / kPacket * kPacket;
  const auto last = TRY(at.byte());
  return last && *last == kSync;
}

}  // namespace

Result<bool> is_cut_off(ByteSource& source, std::string_view container) {
  if (container.starts_with("matroska")) return matroska_is_cut_off(source);
  if (container == "avi") return avi_is_cut_off(source);
  if (container == "mpegts") return ts_is_cut_off(source);
  return false;
}

}  // namespace atelier::media
