// SPDX-License-Identifier: Apache-2.0
#include "server/rate_limit.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace atelier::server {
namespace {

using namespace std::chrono_literals;

// How many of `tries` were let through.
int taken(RateLimiter& limiter, std::string_view key, int tries) {
  int count = 0;
  for (int i = 0; i < tries; ++i) count += limiter.take(key).ok() ? 1 : 0;
  return count;
}

TEST(RateLimiter, ABurstAndThenTheRate) {
  FakeClock clock;
  RateLimiter limiter(clock, {2, 5});
  EXPECT_EQ(taken(limiter, "a", 10), 5);
  clock.advance(499ms);
  EXPECT_EQ(taken(limiter, "a", 10), 0);
  clock.advance(1ms);
  EXPECT_EQ(taken(limiter, "a", 10), 1);
  clock.advance(1500ms);
  EXPECT_EQ(taken(limiter, "a", 10), 3);
  clock.advance(24h);
  EXPECT_EQ(taken(limiter, "a", 10), 5);
}

TEST(RateLimiter, WhoIsRefusedHearsWhenToComeAgain) {
  FakeClock clock;
  RateLimiter limiter(clock, {0.5, 1});
  ASSERT_TRUE(limiter.take("a").ok());
  clock.advance(500ms);
  const auto refused = limiter.take("a");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::unavailable);
  EXPECT_EQ(refused.error().retry_after, 1500ms);
  clock.advance(refused.error().retry_after);
  EXPECT_TRUE(limiter.take("a").ok());
}

TEST(RateLimiter, KeysDoNotShare) {
  FakeClock clock;
  RateLimiter limiter(clock, {1, 2});
  EXPECT_EQ(taken(limiter, "a", 5), 2);
  EXPECT_EQ(taken(limiter, "b", 5), 2);
  EXPECT_EQ(taken(limiter, "", 5), 2);
}

TEST(RateLimiter, WhoAskedLongestAgoMakesRoom) {
  FakeClock clock;
  RateLimiter limiter(clock, {1, 1}, 3);
  for (const char* key : {"a", "b", "c"}) ASSERT_TRUE(limiter.take(key).ok());
  EXPECT_FALSE(limiter.take("a").ok());  // used again, though refused
  EXPECT_TRUE(limiter.take("d").ok());   // in place of b
  EXPECT_EQ(limiter.keys(), 3U);
  EXPECT_FALSE(limiter.take("a").ok());
  EXPECT_FALSE(limiter.take("c").ok());
  EXPECT_TRUE(limiter.take("b").ok());
  for (int i = 0; i < 1000; ++i) (void)limiter.take(std::to_string(i));
  EXPECT_EQ(limiter.keys(), 3U);
}

TEST(RateLimiter, ThreadsTogetherGetNoMore) {
  FakeClock clock;
  RateLimiter limiter(clock, {1, 100}, 2);
  std::atomic<int> count = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) threads.emplace_back([&] { count += taken(limiter, "a", 100); });
  }
  EXPECT_EQ(count, 100);
}

TEST(RateGate, FailuresAreLimitedHarderAndHurtNoGoodToken) {
  FakeClock clock;
  RateGate gate(clock, {{10, 100}, {10, 50}, {0.1, 3}, {}});
  Call call;
  call.address = "192.0.2.1";
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(gate.admit_failure(call).ok());
  EXPECT_EQ(gate.admit_failure(call).error().retry_after, 10s);
  EXPECT_TRUE(gate.admit_address(call).ok());
  EXPECT_TRUE(gate.admit({"anna", Role::reader, {}, {}}).ok());
  call.address = "192.0.2.2";
  EXPECT_TRUE(gate.admit_failure(call).ok());
}

TEST(RateGate, AddressesAndTokensHaveTheirOwnLimits) {
  FakeClock clock;
  RateGate gate(clock, {{1, 2}, {1, 3}, {1, 1}, {}});
  Call call;
  call.address = "192.0.2.1";
  int addresses = 0, tokens = 0;
  for (int i = 0; i < 9; ++i) {
    addresses += gate.admit_address(call).ok() ? 1 : 0;
    tokens += gate.admit({"192.0.2.1", Role::reader, {}, {}}).ok() ? 1 : 0;
  }
  EXPECT_EQ(addresses, 2);
  EXPECT_EQ(tokens, 3);
}

TEST(RateGate, SomeNamesHaveRatesOfTheirOwn) {
  FakeClock clock;
  RateLimits limits;
  limits.token = {1, 1};
  limits.by_name["nightly"] = {10, 5};
  RateGate gate(clock, limits);
  const Principal nightly{"nightly", Role::submitter, {}, {}}, ann{"ann", Role::submitter, {}, {}};
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(gate.admit(nightly).ok());
  EXPECT_FALSE(gate.admit(nightly).ok());
  EXPECT_TRUE(gate.admit(ann).ok());
  EXPECT_FALSE(gate.admit(ann).ok());
}

TEST(RateGate, ANetworkOfOnePersonIsOneAddress) {
  EXPECT_EQ(address_key("2001:db8:1:2:aaaa::1"), address_key("2001:db8:1:2:bbbb::2"));
  EXPECT_NE(address_key("2001:db8:1:2::1"), address_key("2001:db8:1:3::1"));
  EXPECT_EQ(address_key("::ffff:192.0.2.1"), "192.0.2.1");
  EXPECT_NE(address_key("192.0.2.1"), address_key("192.0.2.2"));
  EXPECT_EQ(address_key("unix"), "unix");
}

}  // namespace
}  // namespace atelier::server
