// SPDX-License-Identifier: Apache-2.0
#include "base/read_ahead.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

namespace atelier {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

std::vector<std::byte> content(uint64_t size) {
  std::vector<std::byte> bytes(static_cast<size_t>(size));
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 31 >> 5);
  return bytes;
}

struct Counts {
  std::atomic<int> calls{0};
  std::atomic<uint64_t> bytes{0};
  std::atomic<int> failures_left{0};
};

class Counted final : public ByteSource {
 public:
  Counted(std::vector<std::byte> bytes, Counts& counts)
      : inner_(std::move(bytes)), counts_(counts) {}
  uint64_t size() const override { return inner_.size(); }
  Result<size_t> read_at(uint64_t offset, std::span<std::byte> into) override {
    ++counts_.calls;
    if (counts_.failures_left.fetch_sub(1) > 0) return Error{Code::unavailable, "Away."};
    const auto count = inner_.read_at(offset, into);
    counts_.bytes += *count;
    return count;
  }

 private:
  MemorySource inner_;
  Counts& counts_;
};

// All from `begin` to `end`, so many bytes at a time.
std::vector<std::byte> read(ByteSource& source, uint64_t begin, uint64_t end, size_t step) {
  std::vector<std::byte> all;
  std::vector<std::byte> piece(step);
  while (begin + all.size() < end) {
    const uint64_t at = begin + all.size();
    const size_t wanted = std::min<size_t>(step, end - at);
    const size_t count = source.read_at(at, std::span(piece).first(wanted)).value();
    if (count == 0) break;
    all.insert(all.end(), piece.begin(), piece.begin() + static_cast<ptrdiff_t>(count));
  }
  return all;
}

TEST(ReadAhead, AFileIsReadOnceInFewPieces) {
  Counts counts;
  const auto bytes = content(40 * kMiB + 7);
  ReadAheadSource source(std::make_unique<Counted>(bytes, counts));
  EXPECT_EQ(source.size(), bytes.size());
  EXPECT_TRUE(read(source, 0, bytes.size(), 32768) == bytes);
  EXPECT_EQ(counts.bytes, bytes.size());
  EXPECT_LE(counts.calls, 16);
  std::array<std::byte, 4> four{};
  EXPECT_EQ(source.read_at(bytes.size(), four).value(), 0U);
  EXPECT_EQ(source.read_at(UINT64_MAX, four).value(), 0U);
}

TEST(ReadAhead, AJumpCostsOneSmallPiece) {
  Counts counts;
  const auto bytes = content(64 * kMiB);
  ReadAheadSource source(std::make_unique<Counted>(bytes, counts));
  for (const uint64_t at : {60 * kMiB, 5 * kMiB, 33 * kMiB}) read(source, at, at + 1000, 100);
  EXPECT_EQ(counts.calls, 3);
  EXPECT_LE(counts.bytes, 3 * 256 * 1024U);
}

TEST(ReadAhead, TwoReadersSideBySideEachHaveTheirPiece) {
  Counts counts;
  const auto bytes = content(32 * kMiB);
  ReadAheadSource source(std::make_unique<Counted>(bytes, counts));
  for (uint64_t at = 0; at < 16 * kMiB; at += 65536) {
    read(source, at, at + 65536, 65536);
    read(source, 16 * kMiB + at, 16 * kMiB + at + 65536, 65536);
  }
  EXPECT_LE(counts.bytes, 36 * kMiB);
  EXPECT_LE(counts.calls, 40);
}

TEST(ReadAhead, AnyReadsGiveTheBytesThatAreThere) {
  Counts counts;
  const auto bytes = content(12 * kMiB + 5);
  ReadAheadSource source(std::make_unique<Counted>(bytes, counts));
  std::vector<std::jthread> threads;
  for (uint32_t seed = 0; seed < 3; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937 random(seed);
      for (int i = 0; i < 300; ++i) {
        const uint64_t begin = random() % bytes.size();
        const uint64_t end = std::min<uint64_t>(bytes.size(), begin + random() % 300000);
        const auto got = read(source, begin, end, 1 + random() % 100000);
        ASSERT_TRUE(std::equal(got.begin(), got.end(),
                               bytes.begin() + static_cast<ptrdiff_t>(begin),
                               bytes.begin() + static_cast<ptrdiff_t>(end)));
      }
    });
  }
}

TEST(ReadAhead, WhatFailedIsAskedForAgain) {
  Counts counts;
  const auto bytes = content(3 * kMiB);
  ReadAheadSource source(std::make_unique<Counted>(bytes, counts));
  counts.failures_left = 1;
  std::array<std::byte, 4> four{};
  EXPECT_EQ(source.read_at(0, four).error().code, Code::unavailable);
  EXPECT_TRUE(read(source, 0, bytes.size(), 10000) == bytes);
}

}  // namespace
}  // namespace atelier
