// SPDX-License-Identifier: Apache-2.0
// The format of an encrypted object, without I/O: docs/encryption.md, version 1.
//
// Idea: a header with the object's own data key, sealed by a store key, then the bytes in frames of
// 1 MiB, each sealed by the data key. A frame's nonce is its number and whether it is the last, so
// frames cannot be cut off, moved or repeated; header and object key go into every tag, so nothing
// of one object fits into another. A data key is made for one writing of one object and numbers
// never repeat under it, which is what GCM asks for. Cost: 92 bytes and 16 a frame; a byte anywhere
// costs its whole frame, since nothing is returned before its tag was checked.
//
// Not here: where store keys come from (key_ring.h) and where the bytes lie (encrypting_store.h).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/aes_gcm.h"
#include "store/object_store.h"

namespace atelier::encrypted {

inline constexpr uint64_t kFrameSize = uint64_t{1} << 20;  // plain bytes; the last may have fewer
inline constexpr uint64_t kSealedFrameSize = kFrameSize + Aes256Gcm::kTagSize;
inline constexpr size_t kHeaderSize = 92;
inline constexpr uint64_t kMaxFrames = uint64_t{1} << 32;  // 4 PiB

// Bytes of the whole stored object that holds `plain` bytes.
uint64_t sealed_size(uint64_t plain);
// The inverse; nothing if no object of this format has `sealed` bytes.
std::optional<uint64_t> plain_size(uint64_t sealed);

struct Frames {
  uint64_t first = 0;
  uint64_t count = 1;  // at least 1; may reach far beyond the end of an object
};
// The frames that a range of plain bytes touches, and one for a range of none.
Frames frames_of(ByteRange range);
// Where they are stored, and one byte more, whose absence shows that the object ends here; with the
// header if they begin with frame 0. `frames.first` is below kMaxFrames.
ByteRange sealed_range(Frames frames);

using KeyId = std::array<std::byte, 16>;

// One of the keys that seal data keys.
struct StoreKey {
  KeyId id;
  SecretKey key;
};

// Turns plain bytes into the stored object as they come. Keeps back at most one frame, as the last
// one is sealed differently. One thread at a time.
class ObjectSealer {
 public:
  // With a fresh data key. Errors: internal.
  static Result<ObjectSealer> create(const StoreKey& store_key, std::string_view object_key);
  // With this data key, and this nonce to seal it: neither may have been used before.
  ObjectSealer(const StoreKey& store_key, const SecretKey& data_key, const Aes256Gcm::Nonce& nonce,
               std::string_view object_key);

  // Appends to `sealed` what `plain` completes. Errors: invalid_argument after kMaxFrames.
  Result<void> add(std::span<const std::byte> plain, std::vector<std::byte>& sealed);
  // Appends the rest; ends the object.
  void finish(std::vector<std::byte>& sealed);

 private:
  void seal(std::span<const std::byte> plain, bool last, std::vector<std::byte>& sealed);

  std::vector<std::byte> additional_;  // header, then object key
  Aes256Gcm cipher_;
  std::vector<std::byte> held_;  // at most a frame
  uint64_t frame_ = 0;           // the number of the next one
  bool begun_ = false;           // the header is out
};

// Which store key opens an object that begins with these bytes. Errors: corrupt, naming `url`, if
// it is not encrypted, of another version, or shorter than a header.
Result<KeyId> store_key_of(std::span<const std::byte> header, std::string_view url);

// Opens frames of one object as it was written once. Safe from several threads.
class ObjectOpener {
 public:
  // `header` begins with the header, `url` is for messages. Errors: corrupt.
  static Result<ObjectOpener> create(std::span<const std::byte> header, const StoreKey& store_key,
                                     std::string_view object_key, std::string url);

  struct Part {
    std::vector<std::byte> bytes;  // plain, from the beginning of the first frame
    bool to_end = false;           // the object ends with them
  };
  // `sealed` is what a read of sealed_range(frames) gave, without the header. Errors: corrupt.
  Result<Part> open(Frames frames, std::span<const std::byte> sealed) const;

 private:
  ObjectOpener(std::vector<std::byte> additional, SecretKey key, std::string url)
      : additional_(std::move(additional)), key_(std::move(key)), url_(std::move(url)) {}

  std::vector<std::byte> additional_;  // header, then object key
  SecretKey key_;
  std::string url_;
};

}  // namespace atelier::encrypted
