// SPDX-License-Identifier: Apache-2.0
// The seam between whoever holds the store (the broker) and whoever parses a stranger's bytes (the
// scorer): bytes are read at an offset and written in order, and nothing else crosses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace atelier {

// An immutable object that can be read anywhere. Implementations say whether they are safe from
// several threads; unless they do, one thread at a time.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Bytes; fixed for the life of the source.
  virtual uint64_t size() const = 0;
  // Reads up to into.size() bytes at `offset`; returns how many, 0 only at or past the end.
  // Errors: conflict if the object changed since it was opened, unavailable, corrupt.
  virtual Result<size_t> read_at(uint64_t offset, std::span<std::byte> into) = 0;
};

// Takes bytes in order. After an error nothing more may be written.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  virtual Result<void> write(std::span<const std::byte> bytes) = 0;
};

// Bytes in memory. Safe from several threads.
class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}
  uint64_t size() const override { return bytes_.size(); }
  Result<size_t> read_at(uint64_t offset, std::span<std::byte> into) override;

 private:
  std::vector<std::byte> bytes_;
};

class MemorySink final : public ByteSink {
 public:
  Result<void> write(std::span<const std::byte> bytes) override;
  const std::vector<std::byte>& bytes() const { return bytes_; }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

// Reads the whole source; refuses more than `limit` bytes with invalid_input naming `what`.
Result<std::vector<std::byte>> read_all(ByteSource& source, uint64_t limit, std::string_view what);

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace atelier
