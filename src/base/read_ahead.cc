// SPDX-License-Identifier: Apache-2.0
#include "base/read_ahead.h"

#include <algorithm>

namespace atelier {
namespace {

constexpr uint64_t kFirst = uint64_t{256} << 10, kLargest = uint64_t{4} << 20;
constexpr uint64_t kKept = uint64_t{16} << 20;

}  // namespace

ReadAheadSource::ReadAheadSource(std::unique_ptr<ByteSource> inner) : inner_(std::move(inner)) {}

ReadAheadSource::~ReadAheadSource() {
  MutexLock lock(mutex_);
  if (ahead_) ahead_->piece.wait();
}

Result<ReadAheadSource::Piece> ReadAheadSource::fetch(uint64_t begin, uint64_t length) const {
  std::vector<std::byte> bytes(static_cast<size_t>(length));
  const size_t count = TRY(inner_->read_at(begin, bytes));
  bytes.resize(count);
  return Piece{begin, std::move(bytes)};
}

ReadAheadSource::Piece* ReadAheadSource::find(uint64_t offset) {
  const auto found = std::ranges::find_if(
      pieces_, [&](const Piece& piece) { return piece.begin <= offset && offset < piece.end(); });
  if (found == pieces_.end()) return nullptr;
  pieces_.splice(pieces_.begin(), pieces_, found);
  return &pieces_.front();
}

uint64_t ReadAheadSource::length_at(uint64_t begin) const {
  uint64_t length = kFirst;
  uint64_t end = size();
  for (const Piece& piece : pieces_) {
    if (piece.end() == begin) length = std::min(kLargest, 2 * piece.bytes.size());
    if (piece.begin > begin) end = std::min(end, piece.begin);  // not what is there
  }
  return std::min(std::max(length, kFirst), end - std::min(begin, end));
}

void ReadAheadSource::keep(Piece piece) {
  pieces_.push_front(std::move(piece));
  uint64_t kept = 0;
  const auto last = std::ranges::find_if(pieces_, [&](const Piece& each) {
    kept += each.bytes.size();
    return kept > kKept;
  });
  if (last == pieces_.end()) return;
  pieces_.erase(last == pieces_.begin() ? std::next(last) : last, pieces_.end());
}

void ReadAheadSource::take_ahead() {
  const std::unique_ptr<Piece> piece = ahead_->piece.get();
  ahead_.reset();
  if (piece && !piece->bytes.empty()) keep(std::move(*piece));
}

void ReadAheadSource::begin_ahead(uint64_t begin) {
  if (begin >= size() || (ahead_ && ahead_->begin == begin)) return;
  if (ahead_) {
    // Another reader's, or one that was jumped away from: kept when it is there.
    if (ahead_->piece.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return;
    take_ahead();
  }
  const bool known = std::ranges::any_of(
      pieces_, [&](const Piece& each) { return each.begin <= begin && begin < each.end(); });
  if (known) return;
  Ahead ahead;
  ahead.begin = begin;
  ahead.length = length_at(begin);
  ahead.piece = std::async(std::launch::async, [this, begin, length = ahead.length] {
    auto piece = fetch(begin, length);
    return piece.ok() ? std::make_unique<Piece>(*std::move(piece)) : nullptr;
  });
  ahead_ = std::move(ahead);
}

Result<size_t> ReadAheadSource::read_at(uint64_t offset, std::span<std::byte> into) {
  if (into.empty() || offset >= size()) return size_t{0};
  MutexLock lock(mutex_);
  const auto covers = [&](const Ahead& ahead) {
    return ahead.begin <= offset && offset - ahead.begin < ahead.length;
  };
  Piece* piece = find(offset);
  if (piece == nullptr && ahead_ && covers(*ahead_)) {
    take_ahead();
    piece = find(offset);
  }
  if (piece == nullptr) {
    const uint64_t wanted = std::min<uint64_t>(into.size(), size() - offset);
    Piece fetched = TRY(fetch(offset, std::max(length_at(offset), std::min(wanted, kLargest))));
    if (fetched.bytes.empty()) return size_t{0};
    keep(std::move(fetched));
    piece = &pieces_.front();
  }
  const uint64_t from = offset - piece->begin;
  const size_t count = std::min(into.size(), piece->bytes.size() - static_cast<size_t>(from));
  std::copy_n(piece->bytes.begin() + static_cast<ptrdiff_t>(from), count, into.begin());
  // One that is read past its half is read on from, unless it is all that a jump brought.
  if (2 * (from + count) >= piece->bytes.size() && piece->bytes.size() > kFirst) {
    begin_ahead(piece->end());
  }
  return count;
}

}  // namespace atelier
