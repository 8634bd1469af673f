// SPDX-License-Identifier: Apache-2.0
#include "store/remote_transfer.h"

#include <algorithm>

namespace atelier {
namespace {

constexpr uint64_t kMostReserved = uint64_t{64} << 20;

size_t part_size(size_t number) {
  return static_cast<size_t>(kRemotePiece) + number * static_cast<size_t>(kRemotePiece) / 100;
}

Error changed_meanwhile() {
  return Error{Code::unavailable, "The object changed while it was being read; read it again."};
}

using Pieces = std::deque<std::future<Result<FetchedPiece>>>;

Result<void> take_first(Pieces& pieces, std::vector<std::byte>& bytes) {
  auto piece = pieces.front().get();
  pieces.pop_front();
  if (!piece.ok()) return piece.error();
  bytes.insert(bytes.end(), piece->bytes.begin(), piece->bytes.end());
  return {};
}

// From `begin` to `end`, behind what is in `bytes`.
Result<void> fetch_pieces(uint64_t begin, uint64_t end, const std::string& etag,
                          const FetchPiece& fetch, uint64_t most, std::vector<std::byte>& bytes) {
  Pieces pieces;  // its futures wait when they go
  while (begin < end || !pieces.empty()) {
    while (begin < end && pieces.size() < kPiecesAtOnce) {
      const uint64_t length = std::min(most, end - begin);
      pieces.push_back(std::async(std::launch::async, [&fetch, begin, length, etag] {
        auto piece = fetch(begin, length, etag);
        if (piece.ok() && piece->bytes.size() != length) {
          return Result<FetchedPiece>(
              Error{Code::unavailable,
                    "A store sent other bytes than it was asked for; read them again."});
        }
        return piece;
      }));
      begin += length;
    }
    TRY(take_first(pieces, bytes));
  }
  return {};
}

}  // namespace

Result<std::vector<std::byte>> fetch_range(ByteRange range, std::string_view if_match,
                                           const FetchPiece& fetch, uint64_t most) {
  FetchedPiece first =
      TRY(fetch(range.offset, std::min(range.length, most), std::string(if_match)));
  std::vector<std::byte> bytes = std::move(first.bytes);
  if (range.offset >= first.total) return std::vector<std::byte>();
  const uint64_t wanted = std::min(range.length, first.total - range.offset);
  if (bytes.size() != std::min(wanted, most)) {
    return Error{Code::unavailable,
                 "A store sent other bytes than it was asked for; read them again."};
  }
  if (bytes.size() == wanted) return bytes;
  // How much there is, a stranger may have said.
  bytes.reserve(static_cast<size_t>(std::min(wanted, kMostReserved)));
  const auto rest = fetch_pieces(range.offset + bytes.size(), range.offset + wanted, first.etag,
                                 fetch, most, bytes);
  if (rest.ok()) return bytes;
  if (if_match.empty() && rest.error().code == Code::conflict) return changed_meanwhile();
  return rest.error();
}

PartSender::~PartSender() { stop(); }

void PartSender::stop() {
  for (auto& part : under_way_) part.name.wait();
  under_way_.clear();
  bytes_under_way_ = 0;
  buffer_.clear();
}

Result<void> PartSender::wait_for_one() {
  auto name = under_way_.front().name.get();
  bytes_under_way_ -= under_way_.front().size;
  under_way_.pop_front();
  if (!name.ok()) {
    failure_ = name.error();
    return name.error();
  }
  names_.push_back(*std::move(name));
  return {};
}

Result<void> PartSender::send_buffer() {
  const size_t size = buffer_.size();
  while (!under_way_.empty() &&
         (under_way_.size() >= kPiecesAtOnce || bytes_under_way_ + size > most_bytes_)) {
    TRY(wait_for_one());
  }
  auto name =
      std::async(std::launch::async, [this, number = sent_, bytes = std::move(buffer_)]() mutable {
        return send_(number, std::move(bytes));
      });
  under_way_.push_back({std::move(name), size});
  bytes_under_way_ += size;
  ++sent_;
  buffer_ = {};
  buffer_.reserve(part_size(sent_));  // it would be doubled to more
  return {};
}

Result<void> PartSender::append(std::span<const std::byte> bytes) {
  if (!failure_.ok()) return failure_.error();
  while (!bytes.empty()) {
    // A full part is sent when more comes, so that what fits into one request is sent as one.
    if (buffer_.size() == part_size(sent_)) TRY(send_buffer());
    const size_t count = std::min(bytes.size(), part_size(sent_) - buffer_.size());
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(count));
    bytes = bytes.subspan(count);
  }
  return {};
}

Result<std::vector<std::string>> PartSender::finish() {
  if (!failure_.ok()) return failure_.error();
  if (!buffer_.empty()) TRY(send_buffer());
  while (!under_way_.empty()) TRY(wait_for_one());
  return std::move(names_);
}

}  // namespace atelier
