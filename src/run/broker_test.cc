// SPDX-License-Identifier: Apache-2.0
#include "run/broker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>

#include "store/faulty_store.h"
#include "store/memory_store.h"

namespace atelier::run {
namespace {

class BrokerTest : public testing::Test {
 protected:
  BrokerTest() {
    manifest_.run_id = "run";
    EXPECT_TRUE(store_->put("run/manifest.json", as_bytes("{}"), Condition::always()).ok());
    for (int i = 0; i < 3; ++i)
      manifest_.chunks.push_back({i, i, i + 1, std::nullopt, 0, 1, std::nullopt, i});
  }
  Ledger ledger(const std::string& worker) {
    Ledger::Setup setup;
    setup.run_id = "run";
    setup.worker = worker;
    setup.chunks = 3;
    return {*store_, clock_, setup};
  }
  void commit(int chunk) {
    MemorySource none({});
    ChunkCommit record;
    record.index = chunk;
    ASSERT_TRUE(folder_.commit_chunk(record, none).ok());
  }
  void commit_by(Broker& broker, int chunk) {
    ChunkCommit record;
    record.index = chunk;
    const auto result = broker.open_result(manifest_.chunks.at(static_cast<size_t>(chunk))).value();
    ASSERT_TRUE(broker.commit(record, *result).ok());
    ASSERT_TRUE(broker.settle().ok());
  }
  bool beat_says(const std::string& worker, const std::string& text) {
    const auto bytes = store_->get("run/workers/" + worker + ".beat", {}, {});
    return bytes.ok() && as_text(*bytes).find(text) != std::string_view::npos;
  }

  std::unique_ptr<ObjectStore> store_ = make_memory_store();
  RunFolder folder_{*store_, "run"};
  SystemClock clock_;
  Manifest manifest_;
  Progress progress_;
};

TEST_F(BrokerTest, HandsOutOnlyWhatIsNotDone) {
  commit(1);
  Ledger a = ledger("a");
  Broker broker(folder_, manifest_, a, testing::TempDir());
  EXPECT_EQ(broker.next({}).value()->index, 0);
  EXPECT_EQ(broker.next({}).value()->index, 2);
  commit_by(broker, 0);
  EXPECT_EQ(broker.next({}).value(), std::nullopt);
}

TEST_F(BrokerTest, NoMoreThanTwoChunksAreInWork) {
  Ledger a = ledger("a");
  Broker broker(folder_, manifest_, a, testing::TempDir());
  EXPECT_EQ(broker.next({}).value()->index, 0);
  EXPECT_EQ(broker.next({}).value()->index, 1);
  std::latch asks{1};
  std::atomic<bool> done = false;
  std::jthread third([&] {
    asks.count_down();
    EXPECT_EQ(broker.next({}).value()->index, 2);
    EXPECT_TRUE(done) << "while two were in work";
  });
  asks.wait();
  for (int i = 0; i < 20; ++i) {  // for the other thread to have asked
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_FALSE(store_->head("run/chunks/000002.claim.1").value());
  }
  done = true;
  commit_by(broker, 0);
}

TEST_F(BrokerTest, ACommitSaysWhoScoredItAndAtWhichAttempt) {
  Ledger a = ledger("a");
  const Claim first = a.claim()->claim;
  ASSERT_TRUE(a.give_back(first, true, "It broke.").ok());
  Ledger b = ledger("b");
  Broker broker(folder_, manifest_, b, testing::TempDir());
  while (broker.next({}).value()->index != first.chunk) {
  }
  ChunkCommit record;
  record.index = first.chunk;
  auto result = ScratchFile::create(testing::TempDir()).value();
  ASSERT_TRUE(broker.commit(record, *result).ok());
  ASSERT_TRUE(broker.settle().ok());
  const auto read = folder_.read_commit(first.chunk).value().value();
  EXPECT_EQ(read.worker, "b");
  EXPECT_EQ(read.attempt, 2);
}

TEST_F(BrokerTest, WaitsForWhatOthersHoldAndEndsWhenTheyCommit) {
  Ledger a = ledger("a");
  const auto heart = Heart::start(a, progress_).value();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(a.claim()->claim.chunk, i);
  Ledger b = ledger("b");
  Broker waiting(folder_, manifest_, b, testing::TempDir());
  std::optional<ChunkPlan> got = ChunkPlan{};
  std::jthread helper([&] { got = waiting.next({}).value(); });
  for (int i = 0; i < 3; ++i) commit(i);
  helper.join();
  EXPECT_EQ(got, std::nullopt);
}

TEST_F(BrokerTest, WaitingEndsWhenStopped) {
  Ledger a = ledger("a");
  const auto heart = Heart::start(a, progress_).value();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(a.claim()->claim.chunk, i);
  std::stop_source stop;
  Ledger b = ledger("b");
  Broker waiting(folder_, manifest_, b, testing::TempDir());
  std::optional<Code> code;
  std::jthread helper([&] {
    const auto answer = waiting.next(stop.get_token());
    if (!answer.ok()) code = answer.error().code;
  });
  stop.request_stop();
  helper.join();
  EXPECT_EQ(code, Code::cancelled);
}

TEST_F(BrokerTest, ACancelledRunIsSaidSo) {
  Ledger a = ledger("a");
  ASSERT_TRUE(a.cancel("by hand").ok());
  Broker broker(folder_, manifest_, a, testing::TempDir());
  EXPECT_EQ(broker.next({}).error().code, Code::cancelled);
}

// A store that holds each put back until it is opened; then every put fails as `fault` says.
class SlowStoreTest : public BrokerTest {
 protected:
  void open(Fault fault) {
    fault_ = fault;
    gate_.count_down();
  }
  Result<void> commit_by(Broker& broker, int chunk) {
    ChunkCommit record;
    record.index = chunk;
    const auto result = broker.open_result(manifest_.chunks.at(static_cast<size_t>(chunk))).value();
    return broker.commit(record, *result);
  }

  std::latch gate_{1};
  std::atomic<Fault> fault_ = Fault::none;
  FaultyStore slow_{*store_, [this](StoreVerb verb, uint64_t) {
                      if (verb != StoreVerb::put) return Fault::none;
                      gate_.wait();
                      return fault_.load();
                    }};
  RunFolder slow_folder_{slow_, "run"};
  Ledger a_ = ledger("a");
};

TEST_F(SlowStoreTest, ACommitReturnsWhileItsUploadGoesOn) {
  Broker broker(slow_folder_, manifest_, a_, testing::TempDir());
  EXPECT_EQ(broker.next({}).value()->index, 0);
  ASSERT_TRUE(commit_by(broker, 0).ok());
  // The scorer goes on to the next chunk, whose commit is the first to wait.
  EXPECT_EQ(broker.next({}).value()->index, 1);
  EXPECT_EQ(broker.frames(), 0u);
  EXPECT_FALSE(folder_.read_commit(0).value());
  std::jthread second([&] { EXPECT_TRUE(commit_by(broker, 1).ok()); });
  open(Fault::none);
  second.join();
  EXPECT_TRUE(folder_.read_commit(0).value());
  ASSERT_TRUE(broker.settle().ok());
  EXPECT_TRUE(folder_.read_commit(1).value());
}

TEST_F(SlowStoreTest, WhatIsOnItsWayIsNoMoreInWork) {
  Broker broker(slow_folder_, manifest_, a_, testing::TempDir());
  EXPECT_EQ(broker.next({}).value()->index, 0);
  EXPECT_EQ(broker.next({}).value()->index, 1);
  ASSERT_TRUE(commit_by(broker, 0).ok());
  EXPECT_EQ(broker.next({}).value()->index, 2);
  open(Fault::none);
}

TEST_F(SlowStoreTest, TheNextCommitSaysWhatBecameOfTheUploadBefore) {
  Broker broker(slow_folder_, manifest_, a_, testing::TempDir());
  ASSERT_TRUE(broker.next({}).value());
  ASSERT_TRUE(commit_by(broker, 0).ok());
  open(Fault::before);
  EXPECT_EQ(commit_by(broker, 1).error().code, Code::unavailable);
  EXPECT_TRUE(broker.settle().ok()) << "it was said once";
}

TEST_F(SlowStoreTest, AScorerThatDiesLosesNotWhatIsOnItsWay) {
  Broker broker(slow_folder_, manifest_, a_, testing::TempDir());
  EXPECT_EQ(broker.next({}).value()->index, 0);
  ASSERT_TRUE(commit_by(broker, 0).ok());
  open(Fault::none);
  ASSERT_TRUE(broker.scorer_ended("It died.").ok());
  EXPECT_EQ(broker.next({}).value()->index, 1) << "chunk 0 is done, not a suspect";
}

TEST_F(SlowStoreTest, WhoWaitsForASuspectHearsThatItsUploadFailed) {
  Broker broker(slow_folder_, manifest_, a_, testing::TempDir());
  EXPECT_EQ(broker.next({}).value()->index, 0);
  EXPECT_EQ(broker.next({}).value()->index, 1);
  ASSERT_TRUE(broker.scorer_ended("It died.").ok());
  EXPECT_EQ(broker.next({}).value()->index, 0) << "a suspect, alone";
  ASSERT_TRUE(commit_by(broker, 0).ok());
  open(Fault::before);
  EXPECT_EQ(broker.next({}).error().code, Code::unavailable);
}

TEST_F(SlowStoreTest, WhoWaitsForOthersHearsThatItsUploadFailed) {
  Ledger b = ledger("b");
  const auto heart = Heart::start(b, progress_).value();
  ASSERT_EQ(b.claim()->claim.chunk, 0);
  ASSERT_TRUE(a_.beat(0).ok());
  Broker broker(slow_folder_, manifest_, a_, testing::TempDir());
  EXPECT_EQ(broker.next({}).value()->index, 1);
  EXPECT_EQ(broker.next({}).value()->index, 2);
  ASSERT_TRUE(commit_by(broker, 2).ok());
  open(Fault::before);
  EXPECT_EQ(broker.next({}).error().code, Code::unavailable) << "the other one holds chunk 0";
}

class DeathsTest : public BrokerTest {
 protected:
  int next() {
    const auto chunk = broker_.next({}).value();
    return chunk ? chunk->index : -1;
  }
  void done(int chunk) {
    ChunkCommit record;
    record.index = chunk;
    const auto file = broker_.open_result(manifest_.chunks.at(static_cast<size_t>(chunk))).value();
    ASSERT_TRUE(broker_.commit(record, *file).ok());
  }
  Ledger a_ = ledger("a");
  std::unique_ptr<Heart> heart_ = Heart::start(a_, progress_).value();
  Broker broker_{folder_, manifest_, a_, testing::TempDir()};
};

TEST_F(DeathsTest, OneOfTwoIsToBlameSoEachIsTriedAlone) {
  EXPECT_EQ(next(), 0);
  EXPECT_EQ(next(), 1);
  ASSERT_TRUE(broker_.scorer_ended("It died.").ok());
  EXPECT_EQ(next(), 0);
  std::atomic<int> second = -2;
  std::jthread asks([&] { second = next(); });
  done(0);
  asks.join();
  EXPECT_EQ(second, 1) << "handed out once the first was done";
  ASSERT_TRUE(broker_.scorer_ended("It died.").ok());
  // The blame is known now: chunk 1 has failed once and is tried again, alone, after the others.
  EXPECT_EQ(next(), 2);
  done(2);
  EXPECT_EQ(next(), 1);
  done(1);
  EXPECT_EQ(next(), -1);
  EXPECT_TRUE(a_.failures().value().empty());
}

TEST_F(DeathsTest, AChunkThatKillsEveryScorerIsGivenUpAndTheRestIsScored) {
  int deaths = 0;
  std::vector<int> scored;
  for (int chunk = next(); chunk >= 0; chunk = next()) {
    if (chunk == 1) {
      ++deaths;
      ASSERT_TRUE(broker_.scorer_ended("It was killed by signal 11.").ok());
    } else {
      done(chunk);
      scored.push_back(chunk);
    }
  }
  EXPECT_EQ(deaths, 3);
  EXPECT_EQ(scored, (std::vector<int>{0, 2}));
  const auto failures = a_.failures().value();
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_EQ(failures[0].chunk, 1);
  EXPECT_EQ(failures[0].attempts, 3);
  EXPECT_EQ(failures[0].error, "It was killed by signal 11.");
}

TEST_F(DeathsTest, OneThatHadNoChunkIsReplacedButNotForEver) {
  const std::string why = "The scorer ended by itself with code 1.";
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(broker_.scorer_ended(why).ok()) << i;
  EXPECT_EQ(next(), 0);
  done(0);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(broker_.scorer_ended(why).ok()) << i;
  EXPECT_EQ(broker_.scorer_ended(why).error().message, why);
}

TEST_F(BrokerTest, AHeartBeatsAndSaysThatItLeft) {
  Ledger a = ledger("a");
  {
    const auto heart = Heart::start(a, progress_, std::chrono::milliseconds(1)).value();
    EXPECT_TRUE(beat_says("a", "\"left\":false"));
    while (beat_says("a", "\"count\":1,")) std::this_thread::yield();
  }
  EXPECT_TRUE(beat_says("a", "\"left\":true"));
}

TEST(WorkerName, IsAKeyAndNoTwoAreAlike) {
  const std::string name = make_worker_name();
  EXPECT_NE(name, make_worker_name());
  EXPECT_EQ(
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"),
      std::string::npos);
}

}  // namespace
}  // namespace atelier::run
