// SPDX-License-Identifier: Apache-2.0
#include "run/ledger_view.h"

#include <gtest/gtest.h>

#include "store/memory_store.h"

namespace atelier::run {
namespace {

using State = ChunkView::State;

class LedgerViewTest : public testing::Test {
 protected:
  LedgerViewTest() { put("run/manifest.json", "{}"); }
  std::unique_ptr<Ledger> worker(const std::string& name) {
    Ledger::Setup setup;
    setup.run_id = "run";
    setup.worker = name;
    setup.chunks = 4;
    setup.origin = {"machine of " + name, "boot", "", 7, 7};
    setup.is_dead = [](const Origin&) { return false; };
    auto made = std::make_unique<Ledger>(*store_, clock_, setup);
    EXPECT_TRUE(made->beat(5).ok());
    return made;
  }
  LedgerView view(Liveness life = Liveness::unknown, std::chrono::seconds later = {}) {
    return read_ledger(*store_, "run", 4, std::chrono::system_clock::now() + later,
                       [=](const Origin&) { return life; })
        .value();
  }
  void put(const std::string& key, std::string_view text) {
    ASSERT_TRUE(store_->put(key, as_bytes(text), Condition::always()).ok());
  }

  std::unique_ptr<ObjectStore> store_ = make_memory_store();
  FakeClock clock_;
};

TEST_F(LedgerViewTest, AnEmptyRunWaits) {
  const LedgerView seen = view();
  ASSERT_EQ(seen.chunks.size(), 4u);
  for (const ChunkView& chunk : seen.chunks) {
    EXPECT_EQ(chunk.state, State::waiting);
    EXPECT_EQ(chunk.attempts, 0);
  }
  EXPECT_TRUE(seen.workers.empty());
  EXPECT_FALSE(seen.cancelled);
}

TEST_F(LedgerViewTest, AChunkIsBeingScoredAsLongAsItsWorkerMayLive) {
  const auto a = worker("a");
  ASSERT_EQ(a->claim()->claim.chunk, 0);
  const ChunkView held = view().chunks[0];
  EXPECT_EQ(held.state, State::scoring);
  EXPECT_EQ(held.worker, "a");
  EXPECT_EQ(held.attempts, 1);
  EXPECT_EQ(view(Liveness::dead).chunks[0].state, State::waiting);
  EXPECT_EQ(view(Liveness::unknown, 2 * kSilence).chunks[0].state, State::waiting);
  EXPECT_EQ(view(Liveness::alive, 2 * kSilence).chunks[0].state, State::scoring);
  EXPECT_EQ(view().workers[0].seconds, 0);
  clock_.advance(std::chrono::seconds(12));
  ASSERT_TRUE(a->beat(9, true).ok());
  const LedgerView left = view();
  EXPECT_EQ(left.workers[0].seconds, 12);
  EXPECT_EQ(left.chunks[0].state, State::waiting);
  ASSERT_EQ(left.workers.size(), 1u);
  EXPECT_TRUE(left.workers[0].left);
  EXPECT_EQ(left.workers[0].frames, 9u);
}

TEST_F(LedgerViewTest, CommittedChunksAreDoneWhateverElseLiesThere) {
  const auto a = worker("a");
  ASSERT_TRUE(a->claim().ok());
  put("run/chunks/000000.json", "{}");
  put("run/failed/000000.json", R"({"attempts":3,"losses":0,"worker":"a","error":"x"})");
  EXPECT_EQ(view().chunks[0].state, State::done);
}

TEST_F(LedgerViewTest, FailuresComeWithTheFirstCauseFirst) {
  const auto a = worker("a");
  const auto b = worker("b");
  const Claim first = a->claim()->claim;
  const Claim second = b->claim()->claim;
  ASSERT_TRUE(b->give_back(second, true, "The first cause.").ok());
  ASSERT_TRUE(a->give_back(first, false, "The worker had to go.").ok());
  EXPECT_EQ(view().chunks[static_cast<size_t>(second.chunk)].attempts, 1);
  std::optional<ChunkFailure> given_up;
  while (!given_up) {
    const auto answer = a->claim().value();
    ASSERT_EQ(answer.next, Ledger::Next::claimed);
    if (answer.claim.chunk != second.chunk) continue;
    given_up = a->give_back(answer.claim, true, "What followed.").value();
  }
  const LedgerView seen = view();
  ASSERT_EQ(seen.failures.size(), 3u) << "a worker that had to go is no failure";
  EXPECT_EQ(seen.failures[0].error, "The first cause.");
  EXPECT_EQ(seen.failures[0].worker, "b");
  EXPECT_EQ(seen.failures[0].attempt, 1);
  EXPECT_EQ(seen.failures[2].error, "What followed.");
  EXPECT_EQ(seen.failures[2].attempt, 3);
  const ChunkView& chunk = seen.chunks[static_cast<size_t>(second.chunk)];
  EXPECT_EQ(chunk.state, State::failed);
  EXPECT_EQ(chunk.attempts, 3);
  EXPECT_EQ(chunk.worker, "a");
}

TEST_F(LedgerViewTest, ADamagedRecordIsNamed) {
  put("run/chunks/000002.claim.1", "{\"worker\":7}");
  const auto seen = read_ledger(*store_, "run", 4);
  ASSERT_FALSE(seen.ok());
  EXPECT_EQ(seen.error().code, Code::corrupt);
  EXPECT_NE(seen.error().message.find("000002.claim.1"), std::string::npos);
}

TEST_F(LedgerViewTest, ACancelledRunIsSeen) {
  ASSERT_TRUE(worker("a")->cancel("by hand").ok());
  EXPECT_TRUE(view().cancelled);
}

}  // namespace
}  // namespace atelier::run
