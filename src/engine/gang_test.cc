// SPDX-License-Identifier: Apache-2.0
// The gang over Open MPI is tested by tests/mpi/mpi_test.py.
#include "engine/gang.h"

#include <gtest/gtest.h>

#include <array>

namespace atelier::engine {
namespace {

std::vector<std::byte> bytes_of(std::string_view text) {
  return {as_bytes(text).begin(), as_bytes(text).end()};
}

// Rank 1 of two, to whom rank 0 sends what the test says.
class SecondRank final : public Gang {
 public:
  explicit SecondRank(std::vector<std::vector<std::byte>> sent) : sent_(std::move(sent)) {}
  int rank() const override { return 1; }
  int size() const override { return 2; }
  int local_size() const override { return 1; }
  Result<void> meet(std::stop_token) override { return {}; }
  Result<std::vector<std::byte>> broadcast(std::vector<std::byte> own, std::stop_token) override {
    EXPECT_TRUE(own.empty());
    return sent_.at(next_++);
  }
  Result<void> sum(std::span<double>, std::stop_token) override { return {}; }
  Result<void> largest(std::span<double>, std::stop_token) override { return {}; }

 private:
  std::vector<std::vector<std::byte>> sent_;
  size_t next_ = 0;
};

// SHA-256 of "abc", as FIPS 180-4 gives it.
constexpr const char* kHashOfAbc =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST(Gang, OfOneKeepsWhatItIsGiven) {
  SoloGang gang;
  EXPECT_EQ(gang.broadcast(bytes_of("abc"), {}).value(), bytes_of("abc"));
  std::array<double, 2> values = {1.5, 2};
  EXPECT_TRUE(gang.sum(values, {}).ok() && gang.largest(values, {}).ok() && gang.meet({}).ok());
  EXPECT_EQ(values, (std::array<double, 2>{1.5, 2}));
}

TEST(ReadOnce, TheFirstRankReads) {
  SoloGang gang;
  EXPECT_EQ(read_once(gang, [] { return bytes_of("abc"); }, {}).value(), bytes_of("abc"));
  const auto failed = read_once(gang,
                                []() -> Result<std::vector<std::byte>> {
                                  return make_error(Code::invalid_input, "There is no such thing.");
                                },
                                {});
  EXPECT_EQ(failed.error().code, Code::invalid_input);
}

TEST(ReadOnce, OthersDoNotReadAndCompareTheHash) {
  const auto never = []() -> Result<std::vector<std::byte>> {
    ADD_FAILURE() << "rank 1 read";
    return std::vector<std::byte>();
  };
  SecondRank good({bytes_of("abc"), bytes_of(kHashOfAbc)});
  EXPECT_EQ(read_once(good, never, {}).value(), bytes_of("abc"));
  SecondRank bad({bytes_of("abd"), bytes_of(kHashOfAbc)});
  EXPECT_EQ(read_once(bad, never, {}).error().code, Code::corrupt);
  SecondRank none({bytes_of("abc"), {}});
  EXPECT_EQ(read_once(none, never, {}).error().code, Code::corrupt);
}

}  // namespace
}  // namespace atelier::engine
