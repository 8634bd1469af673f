// SPDX-License-Identifier: Apache-2.0
// What the kinds that speak HTTP share: a large range is read, and an upload is sent, in pieces of
// 8 MiB or what else the service does best, several at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "store/object_store.h"

namespace atelier {

inline constexpr uint64_t kRemotePiece = uint64_t{8} << 20;
inline constexpr size_t kPiecesAtOnce = 4;

// What one ranged request gave.
struct FetchedPiece {
  std::vector<std::byte> bytes;
  std::string etag;
  uint64_t total = 0;  // size of the whole object
};
// Asks for `length` bytes from `offset`, of the object at `if_match` unless that is empty. Gives
// fewer only at the object's end. Called from several threads.
using FetchPiece = std::function<Result<FetchedPiece>(uint64_t offset, uint64_t length,
                                                      const std::string& if_match)>;

// The bytes of a range, clipped to the object's end, all of one version of the object. Errors:
// those of `fetch`; unavailable if the object changed between pieces and no etag was asked for.
// `most` is the largest piece that is asked for.
Result<std::vector<std::byte>> fetch_range(ByteRange range, std::string_view if_match,
                                           const FetchPiece& fetch, uint64_t most = kRemotePiece);

// Sends what is appended as numbered parts, kPiecesAtOnce of them and `most_bytes` at a time, but
// always one; append waits while as many are under way. Parts get larger as there are more, so that
// no service's limit on their number (10,000; Swift's 1,000) ends an upload before 40 GiB: part n
// has 8 MiB * (1 + n / 100).
class PartSender {
 public:
  // Sends part `number`, counted from 0, and returns the name that the service lists it by. Called
  // from several threads.
  using Send = std::function<Result<std::string>(size_t number, std::vector<std::byte> bytes)>;
  explicit PartSender(Send send, uint64_t most_bytes = uint64_t{64} << 20)
      : send_(std::move(send)), most_bytes_(most_bytes) {}
  ~PartSender();
  PartSender(const PartSender&) = delete;
  PartSender& operator=(const PartSender&) = delete;

  // Errors: that of a part that could not be sent, then and ever after.
  Result<void> append(std::span<const std::byte> bytes);
  // Whether everything so far fits into one request: nothing was sent.
  bool is_small() const { return sent_ == 0; }
  // What was appended, if it is small; ends this.
  std::vector<std::byte> take_small() { return std::move(buffer_); }
  // Sends the rest and waits for all: their names in order.
  Result<std::vector<std::string>> finish();
  // Waits for what is under way and forgets the rest.
  void stop();

 private:
  Result<void> send_buffer();
  Result<void> wait_for_one();

  const Send send_;
  const uint64_t most_bytes_;
  std::vector<std::byte> buffer_;
  struct Part {
    std::future<Result<std::string>> name;
    size_t size = 0;
  };
  std::deque<Part> under_way_;
  uint64_t bytes_under_way_ = 0;
  std::vector<std::string> names_;
  size_t sent_ = 0;
  Result<void> failure_;
};

}  // namespace atelier
