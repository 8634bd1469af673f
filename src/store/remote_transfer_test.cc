// SPDX-License-Identifier: Apache-2.0
#include "store/remote_transfer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <latch>
#include <map>
#include <mutex>

namespace atelier {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr auto kPiece = static_cast<size_t>(kRemotePiece);

// Bytes that are nowhere twice within a piece's distance.
std::vector<std::byte> some_bytes(size_t size) {
  std::vector<std::byte> bytes(size);
  uint32_t state = 1;
  for (size_t i = 0; i < size; i += 64) {
    state = state * 1664525 + 1013904223;
    bytes[i] = static_cast<std::byte>(state >> 24);
  }
  return bytes;
}

// An object in memory that knows what was asked of it.
class Object {
 public:
  explicit Object(size_t size) : bytes_(some_bytes(size)) {}

  Result<FetchedPiece> fetch(uint64_t offset, uint64_t length, const std::string& if_match) {
    const std::lock_guard lock(mutex_);
    asked_[offset] = {length, if_match};
    if (!if_match.empty() && if_match != etag_) return Error{Code::conflict, "Changed."};
    FetchedPiece piece;
    piece.etag = etag_;
    piece.total = bytes_.size();
    if (offset < bytes_.size()) {
      const auto begin = bytes_.begin() + static_cast<ptrdiff_t>(offset);
      piece.bytes.assign(begin, begin + static_cast<ptrdiff_t>(
                                            std::min<uint64_t>(length, bytes_.size() - offset)));
    }
    return piece;
  }
  FetchPiece fetcher() {
    return [this](uint64_t offset, uint64_t length, const std::string& if_match) {
      return fetch(offset, length, if_match);
    };
  }
  void change() {
    const std::lock_guard lock(mutex_);
    etag_ = "e2";
  }
  std::vector<std::byte> part(size_t offset, size_t length) const {
    const auto begin = bytes_.begin() + static_cast<ptrdiff_t>(offset);
    return {begin, begin + static_cast<ptrdiff_t>(length)};
  }
  const std::vector<std::byte>& bytes() const { return bytes_; }
  // Length and if_match by offset.
  const std::map<uint64_t, std::pair<uint64_t, std::string>>& asked() const { return asked_; }

 private:
  const std::vector<std::byte> bytes_;
  std::mutex mutex_;
  std::string etag_ = "e1";
  std::map<uint64_t, std::pair<uint64_t, std::string>> asked_;
};

TEST(FetchRange, RangesAreClipped) {
  Object object(10);
  EXPECT_TRUE(fetch_range({}, {}, object.fetcher()).value() == object.bytes());
  EXPECT_TRUE(fetch_range({3, 4}, {}, object.fetcher()).value() == object.part(3, 4));
  EXPECT_TRUE(fetch_range({3, 100}, {}, object.fetcher()).value() == object.part(3, 7));
  EXPECT_TRUE(fetch_range({9, UINT64_MAX}, {}, object.fetcher()).value() == object.part(9, 1));
  EXPECT_THAT(fetch_range({10, 1}, {}, object.fetcher()).value(), IsEmpty());
  EXPECT_THAT(fetch_range({UINT64_MAX, 1}, {}, object.fetcher()).value(), IsEmpty());
  Object empty(0);
  EXPECT_THAT(fetch_range({}, {}, empty.fetcher()).value(), IsEmpty());
}

TEST(FetchRange, APieceIsOneRequest) {
  for (const size_t size : {size_t{1}, kPiece - 1, kPiece}) {
    Object object(size);
    EXPECT_TRUE(fetch_range({}, {}, object.fetcher()).value() == object.bytes());
    EXPECT_THAT(object.asked(), ElementsAre(std::pair(0U, std::pair(kRemotePiece, ""))));
  }
}

TEST(FetchRange, MoreIsManyOfOneVersion) {
  Object object(5 * kPiece + 7);
  EXPECT_TRUE(fetch_range({}, {}, object.fetcher()).value() == object.bytes());
  ASSERT_THAT(object.asked(), SizeIs(6));
  EXPECT_EQ(object.asked().at(0).second, "");
  EXPECT_EQ(object.asked().at(kPiece).second, "e1") << "the rest is of the first one's version";
  EXPECT_EQ(object.asked().at(5 * kPiece), std::pair(uint64_t{7}, std::string("e1")));
  Object part(3 * kPiece);
  EXPECT_TRUE(fetch_range({5, kPiece + 3}, "e1", part.fetcher()).value() ==
              part.part(5, kPiece + 3));
  EXPECT_THAT(part.asked(), ElementsAre(std::pair(5U, std::pair(kRemotePiece, "e1")),
                                        std::pair(kPiece + 5, std::pair(3U, "e1"))));
}

TEST(FetchRange, IfMatchIsPassedOn) {
  Object object(10);
  EXPECT_TRUE(fetch_range({}, "e1", object.fetcher()).ok());
  EXPECT_EQ(fetch_range({}, "other", object.fetcher()).error().code, Code::conflict);
}

TEST(FetchRange, AChangeBetweenPiecesIsSeen) {
  for (const auto& [if_match, code] :
       {std::pair("", Code::unavailable), std::pair("e1", Code::conflict)}) {
    Object object(3 * kPiece);
    const auto bytes =
        fetch_range({}, if_match, [&](uint64_t offset, uint64_t length, const std::string& etag) {
          if (offset > 0) object.change();
          return object.fetch(offset, length, etag);
        });
    ASSERT_FALSE(bytes.ok());
    EXPECT_EQ(bytes.error().code, code) << if_match;
  }
}

TEST(FetchRange, ShortPiecesAreNoneAtAll) {
  for (const uint64_t which : {uint64_t{0}, kRemotePiece, 2 * kRemotePiece}) {
    for (const int by : {-1, 1}) {
      Object object(2 * kPiece + 10);
      const auto bytes =
          fetch_range({}, {}, [&](uint64_t offset, uint64_t length, const std::string& etag) {
            auto piece = object.fetch(offset, length, etag);
            if (offset == which) {
              piece->bytes.resize(
                  static_cast<size_t>(static_cast<ptrdiff_t>(piece->bytes.size()) + by));
            }
            return piece;
          });
      ASSERT_FALSE(bytes.ok()) << which << " " << by;
      EXPECT_EQ(bytes.error().code, Code::unavailable);
    }
  }
}

TEST(FetchRange, TheErrorOfAPieceIsThatOfAll) {
  for (const uint64_t which : {uint64_t{0}, kRemotePiece, 4 * kRemotePiece}) {
    Object object(6 * kPiece);
    const auto bytes =
        fetch_range({}, {}, [&](uint64_t offset, uint64_t length, const std::string& etag) {
          return offset == which ? Result<FetchedPiece>(Error{Code::corrupt, "This one."})
                                 : object.fetch(offset, length, etag);
        });
    ASSERT_FALSE(bytes.ok());
    EXPECT_EQ(bytes.error().code, Code::corrupt);
    EXPECT_EQ(bytes.error().message, "This one.");
  }
}

// What a server says of a size is not believed before the bytes are there.
TEST(FetchRange, ASizeThatCannotBeTakesNoMemory) {
  const auto bytes = fetch_range({}, {}, [](uint64_t offset, uint64_t length, const std::string&) {
    if (offset > 0) return Result<FetchedPiece>(Error{Code::unavailable, "No more."});
    return Result<FetchedPiece>(
        FetchedPiece{std::vector<std::byte>(static_cast<size_t>(length)), "e", 1ULL << 62});
  });
  ASSERT_FALSE(bytes.ok());
  EXPECT_EQ(bytes.error().message, "No more.");
}

// Holds threads until it is their turn: the last of a batch goes first.
class Reversed {
 public:
  explicit Reversed(size_t last) : turn_(last) {}
  void wait_for(size_t number) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return turn_ == number; });
    if (turn_ > 0) --turn_;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t turn_;
};

TEST(FetchRange, PiecesAreInOrderWhoeverIsFirst) {
  Object object((1 + kPiecesAtOnce) * kPiece);
  Reversed reversed(kPiecesAtOnce);
  const auto bytes =
      fetch_range({}, {}, [&](uint64_t offset, uint64_t length, const std::string& etag) {
        if (offset > 0) reversed.wait_for(static_cast<size_t>(offset / kRemotePiece));
        return object.fetch(offset, length, etag);
      });
  EXPECT_TRUE(bytes.value() == object.bytes());
}

// What was sent, by number.
class Sent {
 public:
  PartSender::Send sender() {
    return [this](size_t number, std::vector<std::byte> bytes) -> Result<std::string> {
      const std::lock_guard lock(mutex_);
      parts_[number] = std::move(bytes);
      return "part" + std::to_string(number);
    };
  }
  std::vector<size_t> sizes() const {
    std::vector<size_t> sizes;
    for (const auto& [number, bytes] : parts_) sizes.push_back(bytes.size());
    return sizes;
  }
  std::vector<std::byte> all() const {
    std::vector<std::byte> all;
    for (const auto& [number, bytes] : parts_) all.insert(all.end(), bytes.begin(), bytes.end());
    return all;
  }

 private:
  std::mutex mutex_;
  std::map<size_t, std::vector<std::byte>> parts_;
};

TEST(PartSender, WhatFitsIntoOneRequestIsNotSent) {
  Sent sent;
  PartSender sender(sent.sender());
  const auto bytes = some_bytes(kPiece);
  EXPECT_TRUE(sender.append({}).ok());
  EXPECT_TRUE(sender.append(std::span(bytes).first(5)).ok());
  EXPECT_TRUE(sender.append(std::span(bytes).subspan(5)).ok());
  EXPECT_TRUE(sender.is_small());
  EXPECT_TRUE(sender.take_small() == bytes);
  EXPECT_THAT(sent.sizes(), IsEmpty());
}

TEST(PartSender, PartsGrowAndAreNamedInOrder) {
  Sent sent;
  PartSender sender(sent.sender());
  const auto bytes = some_bytes(4 * kPiece);
  // In pieces that fit nothing.
  for (size_t at = 0; at < bytes.size();) {
    const size_t count = std::min<size_t>(3'000'001, bytes.size() - at);
    ASSERT_TRUE(sender.append(std::span(bytes).subspan(at, count)).ok());
    at += count;
  }
  EXPECT_FALSE(sender.is_small());
  EXPECT_THAT(sender.finish().value(), ElementsAre("part0", "part1", "part2", "part3"));
  const size_t grown = kPiece / 100;
  ASSERT_THAT(sent.sizes(), SizeIs(4));
  EXPECT_EQ(sent.sizes()[0], kPiece);
  EXPECT_EQ(sent.sizes()[1], kPiece + grown);
  EXPECT_GE(sent.sizes()[2], kPiece + 2 * grown);
  EXPECT_TRUE(sent.all() == bytes);
}

TEST(PartSender, NamesAreInOrderWhoeverIsFirst) {
  Reversed reversed(kPiecesAtOnce - 1);
  PartSender sender([&](size_t number, const std::vector<std::byte>&) -> Result<std::string> {
    reversed.wait_for(number);
    return std::to_string(number);
  });
  ASSERT_TRUE(sender.append(some_bytes((kPiecesAtOnce - 1) * kPiece + kPiece / 2)).ok());
  EXPECT_THAT(sender.finish().value(), ElementsAre("0", "1", "2", "3"));
}

TEST(PartSender, TheErrorOfAPartStays) {
  PartSender sender([](size_t number, const std::vector<std::byte>&) -> Result<std::string> {
    if (number == 1) return Error{Code::no_space, "Full."};
    return std::to_string(number);
  });
  const auto bytes = some_bytes(kPiece);
  // It is known when there is no room for another one under way.
  Result<void> appended;
  for (int i = 0; i < 20 && appended.ok(); ++i) appended = sender.append(bytes);
  ASSERT_FALSE(appended.ok());
  EXPECT_EQ(appended.error().code, Code::no_space);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(sender.append(bytes).error().message, "Full.");
    EXPECT_EQ(sender.append({}).error().message, "Full.");
    EXPECT_EQ(sender.finish().error().message, "Full.");
  }
}

TEST(PartSender, TheErrorOfTheLastPartIsThatOfFinish) {
  PartSender sender([](size_t number, const std::vector<std::byte>&) -> Result<std::string> {
    if (number == 1) return Error{Code::no_space, "Full."};
    return std::to_string(number);
  });
  ASSERT_TRUE(sender.append(some_bytes(kPiece + 1)).ok());
  EXPECT_EQ(sender.finish().error().code, Code::no_space);
  EXPECT_EQ(sender.finish().error().code, Code::no_space);
  EXPECT_EQ(sender.append(some_bytes(1)).error().code, Code::no_space);
}

// A sender whose parts are under way until `go`, and how many have ended.
struct Slow {
  std::latch begun{1}, go{1};
  std::atomic<int> ended{0};
  PartSender::Send sender() {
    return [this](size_t number, const std::vector<std::byte>&) -> Result<std::string> {
      if (number == 0) begun.count_down();
      go.wait();
      ++ended;
      return std::to_string(number);
    };
  }
};

TEST(PartSender, StopWaitsForPartsUnderWay) {
  Slow slow;
  PartSender sender(slow.sender());
  ASSERT_TRUE(sender.append(some_bytes(2 * kPiece + kPiece / 2)).ok());
  slow.begun.wait();
  EXPECT_EQ(slow.ended, 0);
  slow.go.count_down();
  sender.stop();
  EXPECT_EQ(slow.ended, 2) << "and what was not full is forgotten";
  sender.stop();
}

TEST(PartSender, GoesWhenItsPartsHaveEnded) {
  Slow slow;
  {
    PartSender sender(slow.sender());
    ASSERT_TRUE(sender.append(some_bytes(2 * kPiece + kPiece / 2)).ok());
    slow.begun.wait();
    slow.go.count_down();
  }
  EXPECT_EQ(slow.ended, 2);
}

// The most bytes and parts that were under way at a time.
class UnderWay {
 public:
  // A part stays for a moment unless it meets one more than may be under way.
  explicit UnderWay(size_t parts = kPiecesAtOnce) : allowed_(parts) {}
  PartSender::Send sender() {
    return [this](size_t number, const std::vector<std::byte>& bytes) -> Result<std::string> {
      std::unique_lock lock(mutex_);
      most_parts = std::max(most_parts, ++parts_);
      most_bytes = std::max(most_bytes, bytes_ += bytes.size());
      changed_.notify_all();
      changed_.wait_for(lock, std::chrono::milliseconds(20), [&] { return most_parts > allowed_; });
      --parts_;
      bytes_ -= bytes.size();
      return std::to_string(number);
    };
  }
  size_t most_parts = 0, most_bytes = 0;

 private:
  const size_t allowed_;
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t parts_ = 0, bytes_ = 0;
};

TEST(PartSender, NoMoreThanAFewAreUnderWay) {
  UnderWay under_way;
  PartSender sender(under_way.sender());
  ASSERT_TRUE(sender.append(some_bytes(8 * kPiece)).ok());
  EXPECT_THAT(sender.finish().value(), SizeIs(8));
  EXPECT_LE(under_way.most_parts, kPiecesAtOnce);
}

TEST(PartSender, LargerPartsAreFewerAtATime) {
  for (const size_t most : {size_t{1}, 2 * kPiece + kPiece / 2}) {
    const size_t allowed = most == 1 ? 1 : 2;
    UnderWay under_way(allowed);
    PartSender sender(under_way.sender(), most);
    ASSERT_TRUE(sender.append(some_bytes(8 * kPiece)).ok());
    EXPECT_THAT(sender.finish().value(), SizeIs(8));
    EXPECT_LE(under_way.most_bytes, std::max(most, 2 * kPiece));
    EXPECT_LE(under_way.most_parts, allowed);
  }
}

}  // namespace
}  // namespace atelier
