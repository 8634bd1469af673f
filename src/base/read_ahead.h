// SPDX-License-Identifier: Apache-2.0
// Reads a source that is far away in few large pieces: whoever parses a file asks for some
// kilobytes at a time, and each request to a store takes milliseconds.
//
// What follows is read on: a reader that comes to the end of a piece gets a piece twice as long, up
// to 4 MiB, and the next one is under way before it is asked for. A reader that jumps begins with
// 256 KiB. Several readers that go on side by side (sound behind pictures) each have their piece.
#pragma once

#include <future>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/mutex.h"

namespace atelier {

// Safe from several threads; `inner` must be, too. Reads may give fewer bytes than were asked for.
// What fails ahead of time fails again when it is asked for. Memory: 16 MiB and what is under way.
class ReadAheadSource final : public ByteSource {
 public:
  explicit ReadAheadSource(std::unique_ptr<ByteSource> inner);
  ~ReadAheadSource() override;

  uint64_t size() const override { return inner_->size(); }
  Result<size_t> read_at(uint64_t offset, std::span<std::byte> into) override;

 private:
  struct Piece {
    uint64_t begin = 0;
    std::vector<std::byte> bytes;
    uint64_t end() const { return begin + bytes.size(); }
  };
  struct Ahead {
    uint64_t begin = 0, length = 0;
    std::future<std::unique_ptr<Piece>> piece;  // none if it could not be read
  };

  Result<Piece> fetch(uint64_t begin, uint64_t length) const;
  Piece* find(uint64_t offset) REQUIRES(mutex_);
  // How long a piece that begins there should be.
  uint64_t length_at(uint64_t begin) const REQUIRES(mutex_);
  void keep(Piece piece) REQUIRES(mutex_);
  void take_ahead() REQUIRES(mutex_);
  // What begins there, unless it is there or under way.
  void begin_ahead(uint64_t begin) REQUIRES(mutex_);

  const std::unique_ptr<ByteSource> inner_;
  Mutex mutex_;
  std::list<Piece> pieces_ GUARDED_BY(mutex_);  // the one that was used last comes first
  std::optional<Ahead> ahead_ GUARDED_BY(mutex_);
};

}  // namespace atelier
