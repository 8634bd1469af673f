// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/counting_store.h"
#include "store/faulty_store.h"
#include "store/memory_store.h"
#include "store/retrying_store.h"

namespace atelier {
namespace {

// Memory behind planned faults behind retries, with a clock that only counts.
struct Shaky {
  explicit Shaky(std::vector<ScriptedFault> script, RetryPolicy policy = {})
      : faulty(*memory, scripted_faults(std::move(script))), retrying(faulty, clock, policy) {}
  std::unique_ptr<ObjectStore> memory = make_memory_store();
  FaultyStore faulty;
  FakeClock clock;
  RetryingStore retrying;
};

std::string text_of(ObjectStore& store, std::string_view key) {
  return std::string(as_text(store.get(key, {}, {}).value()));
}

TEST(FaultyStore, AFaultBeforeChangesNothingAndAFaultAfterLosesOnlyTheAnswer) {
  Shaky shaky({{StoreVerb::put, 0, Fault::before}, {StoreVerb::put, 1, Fault::after}});
  EXPECT_EQ(shaky.faulty.put("k", as_bytes("x"), Condition::always()).error().code,
            Code::unavailable);
  EXPECT_FALSE(shaky.memory->head("k").value().has_value());
  EXPECT_EQ(shaky.faulty.put("k", as_bytes("x"), Condition::always()).error().code,
            Code::unavailable);
  EXPECT_TRUE(shaky.memory->head("k").value().has_value());
  EXPECT_TRUE(shaky.faulty.put("k", as_bytes("y"), Condition::always()).value().written);
  EXPECT_EQ(shaky.faulty.faults(), 2U);
}

TEST(FaultyStore, TheCodeIsChosen) {
  auto memory = make_memory_store();
  FaultyStore full(*memory, scripted_faults({{StoreVerb::append, 1, Fault::before}}),
                   Code::no_space);
  auto upload = full.begin_upload("k").value();
  EXPECT_TRUE(upload->append(as_bytes("x")).ok());
  EXPECT_EQ(upload->append(as_bytes("x")).error().code, Code::no_space);
  EXPECT_FALSE(upload->commit(Condition::always()).ok()) << "half an object was published";
  EXPECT_FALSE(memory->head("k").value().has_value());
}

TEST(FaultyStore, ASeedGivesOnePlanWithItsRates) {
  std::array<FaultRates, kStoreVerbs> rates{};
  rates[static_cast<size_t>(StoreVerb::get)] = {0.25, 0.5};
  const FaultPlan plan = seeded_faults(1, rates);
  const FaultPlan same = seeded_faults(1, rates);
  const FaultPlan other = seeded_faults(2, rates);
  std::array<int, 3> counts{};
  int different = 0;
  for (uint64_t nth = 0; nth < 4000; ++nth) {
    const Fault fault = plan(StoreVerb::get, nth);
    ++counts.at(static_cast<size_t>(fault));
    EXPECT_EQ(fault, same(StoreVerb::get, nth));
    EXPECT_EQ(plan(StoreVerb::put, nth), Fault::none);
    different += fault != other(StoreVerb::get, nth);
  }
  EXPECT_NEAR(counts[0], 1000, 150);
  EXPECT_NEAR(counts[1], 1000, 150);
  EXPECT_NEAR(counts[2], 2000, 150);
  EXPECT_GT(different, 1000);
}

TEST(RetryingStore, WaitsLongerEachTimeUpToTheCap) {
  std::vector<ScriptedFault> script;
  for (uint64_t nth = 0; nth < 5; ++nth) script.push_back({StoreVerb::head, nth, Fault::before});
  RetryPolicy policy{6, std::chrono::milliseconds(100), std::chrono::milliseconds(500)};
  Shaky shaky(script, policy);
  EXPECT_TRUE(shaky.retrying.head("k").ok());
  const auto whole = std::chrono::milliseconds(100 + 200 + 400 + 500 + 500);
  EXPECT_LE(shaky.clock.now(), whole);
  EXPECT_GE(shaky.clock.now(), whole / 2);
}

TEST(WithRetries, WaitsAsLongAsItIsAskedTo) {
  FakeClock clock;
  int calls = 0;
  const auto call = [&]() -> Result<int> {
    if (++calls == 2) return 7;
    return Error{Code::unavailable, "Busy.", std::chrono::seconds(20)};
  };
  EXPECT_EQ(with_retries({}, clock, call).value(), 7);
  EXPECT_EQ(clock.now(), std::chrono::seconds(20));
}

TEST(WithRetries, DoesNotBeginAnAttemptPastItsBudget) {
  FakeClock clock;
  int calls = 0;
  RetryPolicy policy;
  policy.attempts = 1000;
  policy.budget = std::chrono::seconds(30);
  const auto call = [&]() -> Result<int> {
    ++calls;
    clock.advance(std::chrono::seconds(1));
    return Error{Code::unavailable, "Busy."};
  };
  EXPECT_EQ(with_retries(policy, clock, call).error().message, "Busy.");
  EXPECT_LE(clock.now(), std::chrono::seconds(31));
  EXPECT_GT(calls, 5);
  calls = 0;
  const auto far = [&]() -> Result<int> {
    ++calls;
    return Error{Code::unavailable, "Busy.", std::chrono::seconds(31)};
  };
  EXPECT_FALSE(with_retries(policy, clock, far).ok());
  EXPECT_EQ(calls, 1);
}

TEST(WithRetries, DelaysOfTwoCallersDiffer) {
  const auto waited = [] {
    FakeClock clock;
    EXPECT_FALSE(with_retries({}, clock, []() -> Result<int> {
                   return Error{Code::unavailable, "Busy."};
                 }).ok());
    return clock.now();
  };
  EXPECT_NE(waited(), waited());
}

TEST(RetryingStore, GivesUpAfterItsAttempts) {
  Shaky shaky({{StoreVerb::list, 0, Fault::before}, {StoreVerb::list, 1, Fault::after}},
              {2, std::chrono::seconds(1), std::chrono::seconds(9)});
  EXPECT_EQ(shaky.retrying.list("", "", 1).error().code, Code::unavailable);
  EXPECT_GE(shaky.clock.now(), std::chrono::milliseconds(500));
  EXPECT_LE(shaky.clock.now(), std::chrono::seconds(1));
}

TEST(RetryingStore, OtherErrorsAreNotRepeated) {
  Shaky shaky({});
  EXPECT_EQ(shaky.retrying.get("absent", {}, {}).error().code, Code::invalid_input);
  EXPECT_EQ(shaky.retrying.put("../x", {}, Condition::always()).error().code,
            Code::invalid_argument);
  EXPECT_EQ(shaky.clock.now(), Clock::Duration(0));
}

TEST(RetryingStore, APutIfAbsentWhoseAnswerWasLostIsOurs) {
  Shaky shaky({{StoreVerb::put, 0, Fault::after}, {StoreVerb::head, 0, Fault::before}});
  const auto outcome = shaky.retrying.put("k", as_bytes("mine"), Condition::if_absent()).value();
  EXPECT_TRUE(outcome.written);
  EXPECT_EQ(outcome.etag, shaky.memory->head("k").value().value().etag);
}

TEST(RetryingStore, APutIfAbsentThatAnotherWonIsAConflict) {
  Shaky shaky({{StoreVerb::put, 0, Fault::before}});
  ASSERT_TRUE(shaky.memory->put("k", as_bytes("them"), Condition::always()).ok());
  const auto outcome = shaky.retrying.put("k", as_bytes("mine"), Condition::if_absent()).value();
  EXPECT_FALSE(outcome.written);
  EXPECT_EQ(text_of(*shaky.memory, "k"), "them");
}

TEST(RetryingStore, AConflictThatFollowsNoLostAnswerIsNotReadBack) {
  Shaky shaky({});
  ASSERT_TRUE(shaky.memory->put("k", as_bytes("same"), Condition::always()).ok());
  EXPECT_FALSE(shaky.retrying.put("k", as_bytes("same"), Condition::if_absent()).value().written);
}

TEST(RetryingStore, APutIfMatchWhoseAnswerWasLostIsOurs) {
  Shaky shaky({{StoreVerb::put, 0, Fault::after}});
  const auto first = shaky.memory->put("k", as_bytes("1"), Condition::always()).value().etag;
  const auto outcome = shaky.retrying.put("k", as_bytes("2"), Condition::if_match(first)).value();
  EXPECT_TRUE(outcome.written);
  EXPECT_EQ(outcome.etag, shaky.memory->head("k").value().value().etag);
}

TEST(RetryingStore, APutWhoseEveryAnswerIsLostIsFoundByReadingBack) {
  Shaky shaky({{StoreVerb::put, 0, Fault::after}, {StoreVerb::put, 1, Fault::before}},
              {2, std::chrono::seconds(1), std::chrono::seconds(1)});
  EXPECT_TRUE(shaky.retrying.put("k", as_bytes("x"), Condition::if_absent()).value().written);
}

TEST(RetryingStore, APutThatNeverHappenedIsUnavailable) {
  Shaky shaky({{StoreVerb::put, 0, Fault::before}, {StoreVerb::put, 1, Fault::before}},
              {2, std::chrono::seconds(1), std::chrono::seconds(1)});
  EXPECT_EQ(shaky.retrying.put("k", as_bytes("x"), Condition::if_absent()).error().code,
            Code::unavailable);
}

TEST(RetryingStore, ACommitWhoseAnswerWasLostIsFoundByReadingBack) {
  Shaky shaky({{StoreVerb::commit, 0, Fault::after}, {StoreVerb::get, 0, Fault::before}});
  auto upload = shaky.retrying.begin_upload("k").value();
  ASSERT_TRUE(upload->append(as_bytes("hello ")).ok());
  ASSERT_TRUE(upload->append(as_bytes("world")).ok());
  const auto outcome = upload->commit(Condition::if_absent()).value();
  EXPECT_TRUE(outcome.written);
  EXPECT_EQ(outcome.etag, shaky.memory->head("k").value().value().etag);
}

TEST(RetryingStore, ACommitThatWasNotMadeSaysSo) {
  Shaky shaky({{StoreVerb::commit, 0, Fault::before}, {StoreVerb::commit, 1, Fault::before}});
  auto upload = shaky.retrying.begin_upload("k").value();
  ASSERT_TRUE(upload->append(as_bytes("mine")).ok());
  EXPECT_EQ(upload->commit(Condition::if_absent()).error().code, Code::unavailable);
  EXPECT_FALSE(shaky.memory->head("k").value().has_value());
  ASSERT_TRUE(shaky.memory->put("k", as_bytes("them"), Condition::always()).ok());
  upload = shaky.retrying.begin_upload("k").value();
  ASSERT_TRUE(upload->append(as_bytes("mine")).ok());
  EXPECT_FALSE(upload->commit(Condition::if_absent()).value().written);
  EXPECT_EQ(text_of(*shaky.memory, "k"), "them");
}

TEST(RetryingStore, AnAppendThatFailedCannotBeCommitted) {
  Shaky shaky({{StoreVerb::append, 0, Fault::after}});
  auto upload = shaky.retrying.begin_upload("k").value();
  EXPECT_EQ(upload->append(as_bytes("x")).error().code, Code::unavailable);
  EXPECT_FALSE(upload->commit(Condition::always()).ok());
  EXPECT_FALSE(shaky.memory->head("k").value().has_value());
}

TEST(CountingStore, CountsCallsBytesConflictsAndErrors) {
  auto memory = make_memory_store();
  CountingStore store(*memory);
  ASSERT_TRUE(store.put("k", as_bytes("12345"), Condition::if_absent()).ok());
  ASSERT_TRUE(store.put("k", as_bytes("1234567"), Condition::if_absent()).ok());
  ASSERT_TRUE(store.get("k", {1, 2}, {}).ok());
  ASSERT_FALSE(store.get("absent", {}, {}).ok());
  auto upload = store.begin_upload("u").value();
  ASSERT_TRUE(upload->append(as_bytes("abc")).ok());
  ASSERT_TRUE(upload->commit(Condition::always()).ok());
  ASSERT_TRUE(store.list("", "", 10).ok());
  ASSERT_TRUE(store.remove("k").ok());
  ASSERT_TRUE(open_object(store, "u").ok());
  const StoreCounts counts = store.counts();
  EXPECT_EQ(counts.of(StoreVerb::put), 2U);
  EXPECT_EQ(counts.of(StoreVerb::get), 2U);
  EXPECT_EQ(counts.of(StoreVerb::begin_upload), 1U);
  EXPECT_EQ(counts.of(StoreVerb::append), 1U);
  EXPECT_EQ(counts.of(StoreVerb::commit), 1U);
  EXPECT_EQ(counts.of(StoreVerb::list), 1U);
  EXPECT_EQ(counts.of(StoreVerb::remove), 1U);
  EXPECT_EQ(counts.of(StoreVerb::head), 1U);
  EXPECT_EQ(counts.conflicts, 1U);
  EXPECT_EQ(counts.errors, 1U);
  EXPECT_EQ(counts.bytes_read, 2U);
  EXPECT_EQ(counts.bytes_written, 8U);
}

}  // namespace
}  // namespace atelier
