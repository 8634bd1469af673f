// SPDX-License-Identifier: Apache-2.0
#include "run/ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/faulty_store.h"
#include "store/memory_store.h"
#include "store/retrying_store.h"

namespace atelier::run {
namespace {

using std::chrono::seconds;

class LedgerTest : public testing::Test {
 protected:
  LedgerTest() { put("run/manifest.json", "{}"); }
  Ledger::Setup setup(const std::string& worker, int k = 0, int n = 1) {
    Ledger::Setup made;
    made.run_id = "run";
    made.worker = worker;
    made.chunks = chunks_;
    made.share = {k, n};
    made.origin = {"machine of " + worker, "boot", "", 7, 7};
    made.is_dead = [this](const Origin& origin) { return dead_ == origin.machine; };
    return made;
  }
  std::unique_ptr<Ledger> worker(const std::string& name, int k = 0, int n = 1) {
    auto made = std::make_unique<Ledger>(*store_, clock_, setup(name, k, n));
    EXPECT_TRUE(made->beat(0).ok());
    return made;
  }
  // "7" a chunk was claimed, "7/3" the third attempt; else "wait", "settled", "cancelled".
  static std::string next(Ledger& ledger, Claim* claim = nullptr) {
    const auto answer = ledger.claim();
    if (!answer.ok()) return answer.error().message;
    if (claim) *claim = answer->claim;
    switch (answer->next) {
      case Ledger::Next::wait: return "wait";
      case Ledger::Next::settled: return "settled";
      case Ledger::Next::cancelled: return "cancelled";
      case Ledger::Next::claimed: break;
    }
    const Claim& c = answer->claim;
    return c.attempt == 1 ? std::to_string(c.chunk) : fmt::format("{}/{}", c.chunk, c.attempt);
  }
  void put(const std::string& key, std::string_view text) {
    ASSERT_TRUE(store_->put(key, as_bytes(text), Condition::always()).ok());
  }
  void commit(int chunk) { put(fmt::format("run/chunks/{:06d}.json", chunk), "{}"); }

  int chunks_ = 4;
  std::unique_ptr<ObjectStore> store_ = make_memory_store();
  FakeClock clock_;
  std::string dead_;
};

TEST_F(LedgerTest, OneWorkerClaimsEveryChunkInOrder) {
  auto a = worker("a");
  for (const char* chunk : {"0", "1", "2", "3"}) EXPECT_EQ(next(*a), chunk);
  EXPECT_EQ(next(*a), "settled") << "all are ours";
  EXPECT_EQ(next(*worker("b")), "wait");
  for (int chunk = 0; chunk < 4; ++chunk) commit(chunk);
  EXPECT_EQ(next(*a), "settled");
}

TEST_F(LedgerTest, CommittedChunksAreNotClaimed) {
  commit(0);
  commit(2);
  auto a = worker("a");
  EXPECT_EQ(next(*a), "1");
  EXPECT_EQ(next(*a), "3");
}

TEST_F(LedgerTest, NothingIsClaimedInARunThatWasRemoved) {
  auto a = worker("a");
  EXPECT_EQ(next(*a), "0");
  ASSERT_TRUE(store_->remove("run/manifest.json").value());
  EXPECT_EQ(worker("b")->claim().error().code, Code::corrupt);
  EXPECT_EQ(next(*a), "1") << "whoever was let in goes on";
}

TEST_F(LedgerTest, TwoClaimantsNeverGetTheSameChunk) {
  auto a = worker("a");
  auto b = worker("b");
  EXPECT_EQ(next(*a), "0");
  EXPECT_EQ(next(*b), "1");
  EXPECT_EQ(next(*a), "2");
  EXPECT_EQ(next(*b), "3");
  EXPECT_EQ(next(*b), "wait");
}

TEST_F(LedgerTest, EachBeginsWithItsEvenShareAndThenHelpsFromTheFarEnd) {
  chunks_ = 9;
  auto a = worker("a", 0, 3);
  auto b = worker("b", 1, 3);
  EXPECT_EQ(next(*b), "3");
  EXPECT_EQ(next(*b), "4");
  EXPECT_EQ(next(*b), "5");
  EXPECT_EQ(next(*a), "0");
  // Worker 2 never came: most is left of its share.
  EXPECT_EQ(next(*b), "8");
  EXPECT_EQ(next(*b), "2");
  EXPECT_EQ(next(*a), "1");
  EXPECT_EQ(next(*a), "7");
  EXPECT_EQ(next(*b), "6");
}

TEST_F(LedgerTest, MoreWorkersThanChunksWait) {
  chunks_ = 1;
  auto a = worker("a", 0, 5);
  auto b = worker("b", 4, 5);
  EXPECT_EQ(next(*b), "0");
  EXPECT_EQ(next(*a), "wait");
}

TEST_F(LedgerTest, ClaimsOfAWorkerWhoseBeatStandsStillAreTakenOver) {
  chunks_ = 1;
  auto a = worker("a");
  auto b = worker("b");
  EXPECT_EQ(next(*a), "0");
  EXPECT_EQ(next(*b), "wait");
  clock_.advance(seconds(29));
  EXPECT_EQ(next(*b), "wait");
  ASSERT_TRUE(a->beat(5).ok());  // alive after all
  clock_.advance(seconds(29));
  EXPECT_EQ(next(*b), "wait");
  clock_.advance(seconds(29));
  EXPECT_EQ(next(*b), "wait") << "the beat was first seen 29 s ago";
  clock_.advance(seconds(1));
  Claim claim;
  EXPECT_EQ(next(*b, &claim), "0");
  EXPECT_EQ(claim.generation, 2);
  EXPECT_EQ(claim.attempt, 1) << "a machine that is switched off is no fault of the chunk's";
  EXPECT_EQ(claim.losses, 1);
}

// Whoever waits and looks again and again, at whatever moment the holder fell silent.
TEST_F(LedgerTest, ATakeoverIsNoLaterThanTheTimeoutAndALookAfterTheLastBeatWasSeen) {
  chunks_ = 1;
  const Clock::Duration timeout = LedgerPolicy().claim_timeout;
  for (const auto& look : {std::chrono::milliseconds(250), std::chrono::milliseconds(7000)}) {
    for (const auto& offset : {Clock::Duration(0), Clock::Duration(look / 3)}) {
      SCOPED_TRACE(fmt::format("a look every {} ms", look.count()));
      store_ = make_memory_store();
      put("run/manifest.json", "{}");
      auto holder = worker("holder");
      auto waiting = worker("waiting");
      EXPECT_EQ(next(*holder), "0");
      EXPECT_EQ(next(*waiting), "wait");
      clock_.advance(offset);
      ASSERT_TRUE(holder->beat(3).ok());
      const Clock::Duration last_beat = clock_.now();
      clock_.advance(look - offset);
      const Clock::Duration seen = clock_.now();  // by the first look since
      while (next(*waiting) == "wait") {
        clock_.advance(look);
        ASSERT_LT(clock_.now() - seen, timeout + look) << "the look that takes it over";
      }
      EXPECT_GE(clock_.now() - last_beat, timeout) << "it may have been alive";
      EXPECT_LT(clock_.now() - last_beat, timeout + 2 * look);
    }
  }
}

TEST_F(LedgerTest, AFrozenWorkerMayCommitLateAndGoOn) {
  chunks_ = 2;
  auto a = worker("a");
  auto b = worker("b");
  EXPECT_EQ(next(*a), "0");
  EXPECT_EQ(next(*b), "1");
  EXPECT_EQ(next(*b), "wait");
  clock_.advance(seconds(31));
  EXPECT_EQ(next(*b), "0");
  commit(0);  // by a, which woke up
  commit(1);
  EXPECT_EQ(next(*a), "settled");
  EXPECT_EQ(next(*b), "settled");
}

TEST_F(LedgerTest, TheDeadOfTheSameMachineAreReplacedAtOnce) {
  chunks_ = 1;
  auto a = worker("a");
  EXPECT_EQ(next(*a), "0");
  dead_ = "machine of a";
  auto b = worker("b");
  EXPECT_EQ(next(*b), "0");
}

TEST_F(LedgerTest, WhatAWorkerHeldThatLeftIsFreeAndNoLoss) {
  chunks_ = 1;
  auto a = worker("a");
  EXPECT_EQ(next(*a), "0");
  ASSERT_TRUE(a->beat(0, true).ok());
  auto b = worker("b");
  Claim claim;
  EXPECT_EQ(next(*b, &claim), "0");
  EXPECT_EQ(claim.losses, 0);
}

TEST_F(LedgerTest, AChunkGivenBackIsFreeAtOnceAndItsAttemptDoesNotCount) {
  chunks_ = 1;
  auto a = worker("a");
  auto b = worker("b");
  Claim claim;
  EXPECT_EQ(next(*a, &claim), "0");
  ASSERT_TRUE(a->give_back(claim, false, "").ok());
  EXPECT_EQ(next(*b), "0");
}

TEST_F(LedgerTest, AChunkThatFailsEveryAttemptIsSetAsideAndNamed) {
  chunks_ = 2;
  auto a = worker("a");
  Claim claim;
  EXPECT_EQ(next(*a, &claim), "0");
  EXPECT_FALSE(a->give_back(claim, true, "first").value());
  EXPECT_EQ(next(*a), "1");
  commit(1);
  EXPECT_EQ(next(*a, &claim), "0/2");
  EXPECT_FALSE(a->give_back(claim, true, "second").value());
  EXPECT_EQ(next(*a, &claim), "0/3");
  const auto given_up = a->give_back(claim, true, "third");
  ASSERT_TRUE(given_up.ok() && *given_up);
  EXPECT_EQ(next(*a), "settled");
  const auto failures = worker("b")->failures();
  ASSERT_TRUE(failures.ok());
  ASSERT_EQ(failures->size(), 1u);
  EXPECT_EQ(failures->front().chunk, 0);
  EXPECT_EQ(failures->front().attempts, 3);
  EXPECT_EQ(failures->front().error, "third");
}

TEST_F(LedgerTest, ACommitThatComesAfterTheChunkWasGivenUpStands) {
  chunks_ = 1;
  put("run/failed/000000.json", R"({"attempts": 3, "losses": 0, "worker": "a", "error": "no"})");
  commit(0);
  EXPECT_TRUE(worker("b")->failures()->empty());
}

TEST_F(LedgerTest, AChunkThatTakesEveryWorkerWithItIsSetAside) {
  chunks_ = 1;
  std::vector<std::string> seen;
  for (int i = 0; i < 20; ++i) {
    auto doomed = worker(fmt::format("w{}", i));
    seen.push_back(next(*doomed));
    if (seen.back() != "0") break;
    dead_ = fmt::format("machine of w{}", i);
  }
  EXPECT_EQ(seen.size(), 14u);
  EXPECT_EQ(seen.back(), "settled");
  EXPECT_THAT(worker("z")->failures()->front().error, testing::HasSubstr("13 workers vanished"));
}

TEST_F(LedgerTest, WhatWasGivenUpIsTriedAgainWhenSomebodyAsks) {
  chunks_ = 2;
  for (int i = 0; i < 20; ++i) {  // every worker vanishes with chunk 0
    auto doomed = worker(fmt::format("w{}", i), 0, 2);
    next(*doomed);
    dead_ = fmt::format("machine of w{}", i);
  }
  ASSERT_EQ(worker("a")->failures()->size(), 1u);
  ASSERT_TRUE(worker("a")->cancel("by hand").ok());
  auto b = worker("b");
  EXPECT_EQ(b->retry_failures().value(), 1u);
  EXPECT_TRUE(b->failures()->empty());
  Claim claim;
  EXPECT_EQ(next(*b, &claim), "0");
  EXPECT_EQ(claim.losses, 0);
}

TEST_F(LedgerTest, AWorkerNeverTakesItsOwnChunkAgain) {
  chunks_ = 1;
  auto a = worker("a");
  auto b = worker("b");
  EXPECT_EQ(next(*a), "0");
  dead_ = "machine of a";  // so b believes
  EXPECT_EQ(next(*b), "0");
  dead_ = "machine of b";  // and a of b
  EXPECT_EQ(next(*a), "settled") << "it is at work on the chunk";
  EXPECT_EQ(store_->head("run/chunks/000000.claim.3").value(), std::nullopt);
}

TEST_F(LedgerTest, CancelStopsEveryWorker) {
  auto a = worker("a");
  auto b = worker("b");
  EXPECT_EQ(next(*a), "0");
  ASSERT_TRUE(b->cancel("by hand").ok());
  clock_.advance(std::chrono::seconds(2));  // nobody looks for it more often
  EXPECT_EQ(next(*a), "cancelled");
  EXPECT_EQ(next(*b), "cancelled");
}

TEST_F(LedgerTest, ALostAnswerIsStillOurClaim) {
  chunks_ = 1;
  FaultyStore faulty(*store_, scripted_faults({{StoreVerb::put, 1, Fault::after}}));
  RetryingStore retrying(faulty, clock_);
  Ledger a(retrying, clock_, setup("a"));
  ASSERT_TRUE(a.beat(0).ok());
  EXPECT_EQ(next(a), "0");
  EXPECT_EQ(faulty.faults(), 1u);
}

TEST_F(LedgerTest, AnErrorOfTheStoreLosesNothing) {
  FaultyStore faulty(*store_, scripted_faults({{StoreVerb::put, 1, Fault::before},
                                               {StoreVerb::put, 4, Fault::after}}));
  Ledger a(faulty, clock_, setup("a"));
  ASSERT_TRUE(a.beat(0).ok());
  EXPECT_FALSE(a.claim().ok());
  EXPECT_EQ(next(a), "0");
  EXPECT_EQ(next(a), "1");
  EXPECT_FALSE(a.claim().ok()) << "the claim on 2 was put and its answer lost";
  EXPECT_EQ(next(a), "3");
  EXPECT_EQ(next(a), "2") << "the name in its record is our own";
  EXPECT_EQ(next(a), "settled");
}

TEST_F(LedgerTest, DamagedRecordsAreErrorsAndStrangeNamesAreNot) {
  chunks_ = 1;
  put("run/chunks/notes.txt", "");
  put("run/chunks/000009.json", "{}");
  put("run/chunks/000000.claim.x", "");
  auto a = worker("a");
  EXPECT_EQ(next(*a), "0");
  put("run/chunks/000000.claim.2", "][");
  EXPECT_THAT(next(*worker("b")), testing::HasSubstr("000000.claim.2' is damaged"));
  put("run/chunks/000000.claim.2", R"({"worker": 3})");
  EXPECT_THAT(next(*worker("c")), testing::HasSubstr("is damaged"));
}

TEST(Origin, ALivingProcessIsNotDeadAndAnEndedOneIs) {
  EXPECT_FALSE(certainly_dead(this_process()));
  EXPECT_FALSE(certainly_dead({}));
  Origin ended = this_process();
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ended.pid = child;
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  EXPECT_TRUE(certainly_dead(ended)) << "not yet waited for";
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(certainly_dead(ended));
}

TEST(Origin, APidOfAnotherBootOrTimeIsAnotherProcess) {
  Origin other = this_process();
  other.started += 1;
  EXPECT_TRUE(certainly_dead(other));
  other.space = "another container";
  EXPECT_FALSE(certainly_dead(other));
  other = this_process();
  if (other.machine.empty()) GTEST_SKIP() << "this machine has no name";
  other.boot = "earlier";
  EXPECT_TRUE(certainly_dead(other));
  other.machine = "elsewhere";
  EXPECT_FALSE(certainly_dead(other));
}

}  // namespace
}  // namespace atelier::run
