// SPDX-License-Identifier: Apache-2.0
// The calls of the store that `atelier plan` counts (engine::StoreUse) are those that the ledger
// and the run folder make.
#include <gtest/gtest.h>

#include "engine/simulation.h"
#include "run/ledger.h"
#include "run/run_folder.h"
#include "run/waiting.h"
#include "store/counting_store.h"
#include "store/memory_store.h"

namespace atelier {
namespace {

struct Calls {
  uint64_t writes = 0;
  uint64_t reads = 0;
};

class PlanCalls : public testing::Test {
 protected:
  PlanCalls() {
    EXPECT_TRUE(inner_->put("run/manifest.json", as_bytes("{}"), Condition::always()).ok());
  }
  std::unique_ptr<run::Ledger> worker(const std::string& name, int k) {
    run::Ledger::Setup setup;
    setup.run_id = "run";
    setup.worker = name;
    setup.chunks = 12;
    setup.share = {k, 2};
    setup.origin = {"machine of " + name, "boot", "", 7, 7};
    setup.is_dead = [](const run::Origin&) { return false; };
    auto made = std::make_unique<run::Ledger>(store_, clock_, setup);
    EXPECT_TRUE(made->beat(0).ok());
    return made;
  }
  // What has been called since this was asked last.
  Calls calls() {
    const StoreCounts now = store_.counts();
    const auto of = [&](StoreVerb verb) { return now.of(verb) - before_.of(verb); };
    const Calls made = {of(StoreVerb::put) + of(StoreVerb::commit),
                        of(StoreVerb::head) + of(StoreVerb::get) + of(StoreVerb::list)};
    before_ = now;
    return made;
  }
  void claim(run::Ledger& ledger, run::Ledger::Next expected = run::Ledger::Next::claimed) {
    const auto answer = ledger.claim();
    ASSERT_TRUE(answer.ok());
    EXPECT_EQ(answer->next, expected);
  }

  std::unique_ptr<ObjectStore> inner_ = make_memory_store();
  CountingStore store_{*inner_};
  StoreCounts before_;
  FakeClock clock_;
  engine::StoreUse use_;
};

TEST_F(PlanCalls, OfAnOwnChunkFromItsClaimToItsRecord) {
  const auto a = worker("a", 0);
  claim(*a);  // the first claim looks around, too
  calls();
  claim(*a);
  const Calls claimed = calls();
  EXPECT_EQ(claimed.reads, 0u) << "it was looked for cancel.json just before";
  run::RunFolder folder(store_, "run", clock_);
  run::ChunkCommit commit;
  commit.index = 1;
  commit.frames = 1;
  commit.sha256 = "ab";
  MemorySource result(std::vector<std::byte>(8));
  ASSERT_TRUE(folder.commit_chunk(commit, result).ok());
  const Calls committed = calls();
  EXPECT_EQ(claimed.writes + committed.writes, use_.writes_per_chunk);
  EXPECT_EQ(committed.reads, 0u);
  clock_.advance(std::chrono::duration_cast<Clock::Duration>(
      std::chrono::duration<double>(use_.look_seconds)));
  claim(*a);
  EXPECT_EQ(calls().reads, 1u);
}

TEST_F(PlanCalls, OfHelpingWaitingAndTakingOver) {
  const auto a = worker("a", 0);
  const auto b = worker("b", 1);
  for (int i = 0; i < 3; ++i) claim(*a);
  for (int i = 0; i < 6; ++i) claim(*b);
  calls();
  claim(*b);
  const Calls help = calls();
  EXPECT_EQ(help.writes, 1u);
  EXPECT_EQ(help.reads, 2u) << "both folders are listed";
  claim(*b);
  claim(*b);
  claim(*b, run::Ledger::Next::wait);  // sees those that `a` holds for the first time
  calls();
  for (int i = 0; i < 3; ++i) {
    claim(*b, run::Ledger::Next::wait);
    EXPECT_EQ(calls().reads, 2u + 3u) << "of each of three chunks whether its holder lives";
  }
  ASSERT_TRUE(a->beat(0).ok());
  calls();
  claim(*b, run::Ledger::Next::wait);
  EXPECT_EQ(calls().reads, 2u + 3u + 1u) << "and its beat, which has changed";
  clock_.advance(std::chrono::seconds(31));
  claim(*b);
  const Calls taken = calls();
  EXPECT_EQ(taken.reads, 1 + 2 + 3u);
  EXPECT_EQ(taken.writes, 1u);
}

TEST_F(PlanCalls, WhoWaitsRestsAsThePlanSays) {
  const auto seconds = [](std::chrono::milliseconds rest) {
    return std::chrono::duration<double>(rest).count();
  };
  EXPECT_EQ(seconds(run::kShortestRest), use_.poll_seconds);
  EXPECT_EQ(run::kRestOfLook, use_.poll_rest);
  EXPECT_EQ(seconds(run::kLongestRest), use_.poll_most_seconds);
}

}  // namespace
}  // namespace atelier
