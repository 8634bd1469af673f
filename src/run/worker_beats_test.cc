// SPDX-License-Identifier: Apache-2.0
#include "run/worker_beats.h"

#include <gtest/gtest.h>

#include "run/ledger.h"
#include "run/ledger_view.h"
#include "store/memory_store.h"

namespace atelier::run {
namespace {

class WorkerBeatsTest : public testing::Test {
 protected:
  WorkerBeatsTest() {
    EXPECT_TRUE(store_->put("run/manifest.json", as_bytes("{}"), Condition::always()).ok());
  }
  std::unique_ptr<Ledger> worker(const std::string& name) {
    Ledger::Setup setup;
    setup.run_id = "run";
    setup.worker = name;
    setup.chunks = 2;
    setup.is_dead = [](const Origin&) { return false; };
    auto ledger = std::make_unique<Ledger>(*store_, clock_, setup);
    EXPECT_TRUE(ledger->beat(0).ok());
    return ledger;
  }

  std::unique_ptr<ObjectStore> store_ = make_memory_store();
  FakeClock clock_;
};

TEST_F(WorkerBeatsTest, BeatsAreFoundByTheBeginningOfNamesAndChange) {
  const auto a = worker("job.1.0");
  const auto b = worker("job.1.1");
  const auto other = worker("job.2.0");
  const auto before = beats_of(*store_, "run", "job.1.").value();
  ASSERT_EQ(before.size(), 2U);
  ASSERT_TRUE(b->beat(3).ok());
  const auto after = beats_of(*store_, "run", "job.1.").value();
  EXPECT_EQ(after.at("job.1.0"), before.at("job.1.0"));
  EXPECT_NE(after.at("job.1.1"), before.at("job.1.1"));
  EXPECT_TRUE(beats_of(*store_, "another", "job").value().empty());
}

TEST_F(WorkerBeatsTest, TheChunkOfOneThatIsBuriedIsFreeAtOnceAndCountsAsALoss) {
  const auto dead = worker("dead");
  ASSERT_EQ(dead->claim()->claim.chunk, 0);
  const auto heir = worker("heir");
  ASSERT_EQ(heir->claim()->claim.chunk, 1);
  EXPECT_EQ(heir->claim()->next, Ledger::Next::wait) << "it may live";
  ASSERT_TRUE(bury(*store_, "run", "dead").ok());
  const auto taken = heir->claim();
  ASSERT_EQ(taken->next, Ledger::Next::claimed);
  EXPECT_EQ(taken->claim.chunk, 0);
  EXPECT_EQ(taken->claim.losses, 1);
  const auto view = read_ledger(*store_, "run", 2).value();
  for (const WorkerView& seen : view.workers) EXPECT_EQ(seen.left, seen.name == "dead");
}

TEST_F(WorkerBeatsTest, OneThatLivesAfterAllSaysSo) {
  const auto buried = worker("buried");
  ASSERT_EQ(buried->claim()->claim.chunk, 0);
  ASSERT_TRUE(bury(*store_, "run", "buried").ok());
  ASSERT_TRUE(buried->beat(1).ok());
  const auto heir = worker("heir");
  ASSERT_EQ(heir->claim()->claim.chunk, 1);
  EXPECT_EQ(heir->claim()->next, Ledger::Next::wait);
}

TEST_F(WorkerBeatsTest, WhoLeftInGoodOrderOrNeverCameIsLeftAlone) {
  const auto gone = worker("gone");
  ASSERT_TRUE(gone->beat(1, true).ok());
  const auto before = beats_of(*store_, "run", "gone").value();
  ASSERT_TRUE(bury(*store_, "run", "gone").ok());
  ASSERT_TRUE(bury(*store_, "run", "nobody").ok());
  EXPECT_EQ(beats_of(*store_, "run", "gone").value(), before);
  EXPECT_TRUE(beats_of(*store_, "run", "nobody").value().empty());
}

}  // namespace
}  // namespace atelier::run
