// SPDX-License-Identifier: Apache-2.0
// Accidents that only are written down; real ones are tested by tests/e2e/drill_test.py.
#include "run/drill.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/hash.h"
#include "run/ledger.h"
#include "run/run_folder.h"
#include "store/counting_store.h"
#include "store/memory_store.h"
#include "store/retrying_store.h"

namespace atelier::run {
namespace {

using std::chrono::milliseconds;
using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr DrillChances kAll = {0.1, 0.1, 0.1};

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto view = as_bytes(text);
  return {view.begin(), view.end()};
}

DrillStep step_of(StoreVerb verb, std::string_view name, std::string_view text = {}) {
  return drill_place(verb, name, text).step;
}

TEST(DrillPlaceTest, EveryCallOfTheLedgerIsAStep) {
  using enum StoreVerb;
  EXPECT_EQ(step_of(get, "manifest.json"), DrillStep::manifest);
  EXPECT_EQ(step_of(head, "removing.json"), DrillStep::removal);
  EXPECT_EQ(step_of(head, "cancel.json"), DrillStep::cancel);
  EXPECT_EQ(step_of(list, "chunks/"), DrillStep::list);
  EXPECT_EQ(step_of(list, "failed/"), DrillStep::list);
  EXPECT_EQ(step_of(head, "chunks/000007.json"), DrillStep::look);
  EXPECT_EQ(step_of(head, "failed/000007.json"), DrillStep::look);
  EXPECT_EQ(step_of(put, "chunks/000007.claim.1", R"({"worker":"a"})"), DrillStep::claim);
  EXPECT_EQ(step_of(put, "chunks/000007.claim.12", R"({"worker":"a"})"), DrillStep::take_over);
  EXPECT_EQ(step_of(put, "chunks/000007.claim.2", R"({"worker":""})"), DrillStep::give_back);
  EXPECT_EQ(step_of(get, "chunks/000007.claim.1"), DrillStep::read_claim);
  EXPECT_EQ(step_of(put, "workers/a.beat", R"({"left":false})"), DrillStep::beat);
  EXPECT_EQ(step_of(put, "workers/a.beat", R"({"left":true})"), DrillStep::leave);
  EXPECT_EQ(step_of(head, "workers/a.beat"), DrillStep::read_beat);
  for (const StoreVerb verb : {begin_upload, append, commit}) {
    EXPECT_EQ(step_of(verb, "chunks/000007-ab.nut"), DrillStep::result);
  }
  EXPECT_EQ(step_of(put, "chunks/000007.json"), DrillStep::commit);
  EXPECT_EQ(drill_place(put, "chunks/000123.json", "").chunk, 123);
  EXPECT_EQ(drill_place(append, "chunks/000007-ab.nut", "").chunk, 7);
  EXPECT_EQ(drill_place(head, "cancel.json", "").chunk, -1);
}

TEST(DrillPlaceTest, OtherCallsAreNone) {
  using enum StoreVerb;
  for (const char* name : {"logs/a/000001.log", "report.json", "chunks/x", "frames/1.png", ""}) {
    EXPECT_EQ(step_of(put, name), DrillStep::other) << name;
  }
  EXPECT_EQ(step_of(remove, "chunks/000007.json"), DrillStep::other);
  EXPECT_EQ(step_of(put, "cancel.json"), DrillStep::other);
  EXPECT_EQ(step_of(list, ""), DrillStep::other);
}

// What the ledger really calls, so that no new record goes unnoticed.
TEST(DrillPlaceTest, TheLedgerMakesNoOtherCalls) {
  class Spy final : public DrillHands {
   public:
    bool hurt(bool, Accident, milliseconds) override { return false; }
    bool has_scorer() override { return false; }
    bool is_first(DrillStep) override { return false; }
    void tell(const DrillEvent& event) override { steps.insert(event.place.step); }
    std::set<DrillStep> steps;
  } spy;
  const auto memory = make_memory_store();
  CountingStore counted(*memory);
  FakeClock clock;
  DrillOrders orders;
  orders.chances.store_faults = 1;  // so that each step is told of
  Drill drill(orders, spy, clock);
  DrillStore faulty(counted, drill, "run");
  RetryingStore store(faulty, clock);
  ASSERT_TRUE(memory->put("run/manifest.json", as_bytes("{}"), Condition::always()).ok());
  const auto ledger_of = [&](const char* worker) {
    Ledger::Setup setup;
    setup.run_id = "run";
    setup.worker = worker;
    setup.chunks = 1;
    setup.is_dead = [](const Origin&) { return false; };
    return std::make_unique<Ledger>(store, clock, setup);
  };
  auto first = ledger_of("first");
  auto second = ledger_of("second");
  for (const auto& ledger : {first.get(), second.get()}) ASSERT_TRUE(ledger->beat(0).ok());
  ASSERT_EQ(first->claim()->next, Ledger::Next::claimed);
  ASSERT_EQ(second->claim()->next, Ledger::Next::wait);
  clock.advance(std::chrono::minutes(1));
  const auto taken = second->claim().value();
  ASSERT_EQ(taken.next, Ledger::Next::claimed);
  ASSERT_TRUE(second->give_back(taken.claim, true, "why").ok());
  RunFolder folder(store, "run");
  MemorySource chunk(bytes_of("bytes"));
  ChunkCommit commit;
  commit.frames = 1;
  commit.sha256 = sha256_hex(as_bytes("bytes"));
  ASSERT_TRUE(folder.commit_chunk(commit, chunk).ok());
  ASSERT_TRUE(second->beat(1, true).ok());
  using Step = DrillStep;
  EXPECT_THAT(spy.steps, testing::ElementsAre(Step::manifest, Step::removal, Step::cancel,
                                              Step::list, Step::look, Step::claim, Step::take_over,
                                              Step::read_claim, Step::read_beat, Step::give_back,
                                              Step::beat, Step::leave, Step::result, Step::commit));
}

TEST(DrillDrawTest, TheSameOrdersDrawTheSame) {
  DrillOrders orders;
  orders.chances = kAll;
  std::set<std::vector<int>> drawn;
  for (const uint64_t seed : {1u, 2u}) {
    for (const int life : {0, 1}) {
      orders.seed = seed;
      orders.life = life;
      std::vector<int> once;
      std::vector<int> again;
      for (uint64_t n = 0; n < 100; ++n) {
        once.push_back(static_cast<int>(draw_accident(orders, DrillStep::claim, n).accident));
        again.push_back(static_cast<int>(draw_accident(orders, DrillStep::claim, n).accident));
      }
      EXPECT_EQ(once, again);
      drawn.insert(once);
    }
  }
  EXPECT_EQ(drawn.size(), 4u) << "seed and life make no difference";
}

TEST(DrillDrawTest, ChancesAreKept) {
  DrillOrders orders;
  orders.chances = {0.05, 0.1, 0.2};
  std::map<Accident, int> counts;
  int stage_faults = 0;
  for (uint64_t n = 0; n < 5000; ++n) {
    ++counts[draw_accident(orders, DrillStep::beat, n).accident];
    stage_faults += draw_accident(orders, DrillStep::score, n).accident == Accident::fault;
  }
  EXPECT_NEAR(counts[Accident::killed], 250, 75);
  EXPECT_NEAR(counts[Accident::frozen], 500, 100);
  EXPECT_NEAR(counts[Accident::fault], 1000, 150);
  EXPECT_EQ(stage_faults, 0);
}

TEST(DrillDrawTest, AFreezeIsLongerThanTheTimeOutOfAClaim) {
  for (const double length : {0.0, 0.3, 0.99}) {
    for (const bool scorer : {false, true}) {
      DrillDraw draw;
      draw.scorer = scorer;
      draw.length = length;
      EXPECT_GT(freeze_length(draw, milliseconds(100)), milliseconds(100));
    }
  }
  DrillDraw stuck;
  stuck.scorer = true;
  EXPECT_GT(freeze_length(stuck, milliseconds(100)), drill_hang_timeout(milliseconds(100)));
}

TEST(DrillAimsTest, FiveSeedsAimAtEveryStepAndFifteenWithEveryKind) {
  for (const uint64_t first : {uint64_t{0}, uint64_t{1}, uint64_t{77}, UINT64_MAX / 8}) {
    std::set<DrillStep> steps;
    std::set<std::pair<DrillStep, Accident>> kinds;
    for (uint64_t seed = first; seed < first + 15; ++seed) {
      for (const auto& aim : drill_aims(seed, kAll)) {
        if (seed < first + 5) steps.insert(aim.first);
        kinds.insert(aim);
      }
    }
    EXPECT_EQ(steps.size(), kDrillSteps) << first;
    const size_t stages = 3;  // without a store call
    EXPECT_EQ(kinds.size(), kDrillSteps * kAccidents - stages) << first;
  }
}

TEST(DrillAimsTest, NothingIsAimedThatHasNoChance) {
  EXPECT_THAT(drill_aims(3, {}), IsEmpty());
  for (uint64_t seed = 0; seed < 20; ++seed) {
    for (const auto& [step, accident] : drill_aims(seed, {0, 0, 0.5})) {
      EXPECT_EQ(accident, Accident::fault);
      EXPECT_FALSE(is_stage(step));
    }
  }
}

TEST(DrillOrdersTest, TheyAreReadStrictly) {
  DrillOrders orders;
  orders.seed = UINT64_MAX;
  orders.worker = 3;
  orders.life = 4;
  orders.mortal = false;
  orders.chances = {0.25, 0.5, 0.125};
  orders.claim_timeout = milliseconds(70);
  orders.folder = "/a b";
  const std::string text = to_json(orders);
  EXPECT_EQ(to_json(drill_orders_from_json(text).value()), text);
  const auto refused = [](std::string bad) {
    const auto result = drill_orders_from_json(bad);
    return !result.ok() && result.error().code == Code::invalid_argument;
  };
  const auto with = [&](const char* old, const char* now) {
    std::string bad = text;
    bad.replace(bad.find(old), std::string_view(old).size(), now);
    return bad;
  };
  for (const auto& bad :
       {std::string("x"), std::string("[]"), std::string("{}"), with("\"seed\"", "\"sead\""),
        with("0.5", "0.75"), with("0.5", "-0.5"), with(":70", ":0"), with("/a b", "a b"),
        with("false", "0"), with("{", "{\"more\":1,"), with("\"worker\":3", "\"worker\":0")}) {
    EXPECT_TRUE(refused(bad)) << bad;
  }
}

TEST(DrillOrdersTest, ALifeOfAWorkerIsMortalInTheBeginning) {
  DrillOrders all;
  all.seed = 7;
  const DrillOrders first = orders_of_life(all, 3, 0);
  EXPECT_EQ(std::tuple(first.seed, first.worker, first.life, first.mortal),
            std::tuple(7u, 3, 0, true));
  EXPECT_FALSE(orders_of_life(all, 3, 20).mortal) << "every run ends";
  all.mortal = false;
  EXPECT_FALSE(orders_of_life(all, 3, 0).mortal);
}

TEST(DrillEventTest, LinesAreReadBack) {
  DrillEvent killed;
  killed.accident = Accident::killed;
  killed.place = {DrillStep::take_over, 12};
  killed.after = true;
  killed.worker = 2;
  killed.life = 1;
  DrillEvent frozen;
  frozen.accident = Accident::frozen;
  frozen.place = {DrillStep::score, -1};
  frozen.scorer = true;
  frozen.length = milliseconds(30);
  frozen.at = milliseconds(5);
  const auto events = drill_events(to_line(killed) + to_line(frozen)).value();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(to_line(events[0]), to_line(killed));
  EXPECT_EQ(to_line(events[1]), to_line(frozen));
  EXPECT_EQ(describe(killed), "worker 2.1: broker killed after take over of chunk 12");
  EXPECT_EQ(describe(frozen), "worker 1.0: scorer frozen during score for 30 ms");
  EXPECT_THAT(drill_events("").value(), IsEmpty());
  std::string unknown = to_line(killed);
  unknown.replace(unknown.find("take over"), 9, "take off!");
  for (const std::string& bad : {std::string("{}\n"), std::string("x"), unknown}) {
    EXPECT_EQ(drill_events(bad).error().code, Code::corrupt) << bad;
  }
}

class DrillTest : public testing::Test, protected DrillHands {
 protected:
  bool hurt(bool scorer, Accident accident, milliseconds) override {
    done_.push_back({scorer, accident, told_.size()});
    return !scorer || scorer_lives_;
  }
  bool has_scorer() override { return has_scorer_; }
  bool is_first(DrillStep step) override { return aims_ && firsts_.insert(step).second; }
  void tell(const DrillEvent& event) override { told_.push_back(event); }

  // Everything that the chances alone give at a step.
  std::vector<DrillDraw> meet(Drill& drill, DrillStep step, int times) {
    std::vector<DrillDraw> draws;
    for (int i = 0; i < times; ++i) {
      const DrillDraw draw = drill.next({step, 3});
      drill.happen(draw, {step, 3});
      if (draw.accident != Accident::none) draws.push_back(draw);
    }
    return draws;
  }
  static DrillOrders with(DrillChances chances) {
    DrillOrders orders;
    orders.seed = 1;
    orders.chances = chances;
    orders.folder = "/";
    return orders;
  }

  struct Done {
    bool scorer;
    Accident accident;
    size_t told;  // before
  };
  FakeClock clock_;
  bool has_scorer_ = false;
  bool scorer_lives_ = true;
  bool aims_ = false;
  std::set<DrillStep> firsts_;
  std::vector<Done> done_;
  std::vector<DrillEvent> told_;
  std::unique_ptr<ObjectStore> memory_ = make_memory_store();
};

TEST_F(DrillTest, ABrokerTellsBeforeItDies) {
  Drill drill(with({1, 0, 0}), *this, clock_);
  meet(drill, DrillStep::claim, 1);
  ASSERT_EQ(done_.size(), 1u);
  EXPECT_FALSE(done_[0].scorer);
  EXPECT_EQ(done_[0].told, 1u);
  EXPECT_EQ(told_[0].place.chunk, 3);
}

TEST_F(DrillTest, AScorerThatIsGoneIsNoVictim) {
  has_scorer_ = true;
  scorer_lives_ = false;
  DrillOrders orders = with({1, 0, 0});
  orders.mortal = false;
  Drill drill(orders, *this, clock_);
  meet(drill, DrillStep::score, 20);
  EXPECT_FALSE(done_.empty());
  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(DrillTest, OneThatMayNotDieIsSpared) {
  DrillOrders orders = with({1, 0, 0});
  orders.mortal = false;
  Drill drill(orders, *this, clock_);
  EXPECT_THAT(meet(drill, DrillStep::commit, 50), IsEmpty());
}

TEST_F(DrillTest, ALifeHasAMostOfAccidents) {
  Drill frozen(with({0, 1, 0}), *this, clock_);
  EXPECT_EQ(meet(frozen, DrillStep::beat, 100).size(), 8u);
  has_scorer_ = true;
  DrillOrders orders = with({1, 0, 0});
  orders.mortal = false;
  Drill killed(orders, *this, clock_);
  const auto before = meet(killed, DrillStep::score, 100);
  EXPECT_EQ(before.size(), 5u);
  killed.progressed();
  EXPECT_EQ(meet(killed, DrillStep::score, 100).size(), 5u) << "a commit begins anew";
}

TEST_F(DrillTest, AnAimIsMetOnceWhateverTheChance) {
  aims_ = true;
  Drill drill(with({1e-12, 1e-12, 1e-12}), *this, clock_);
  std::set<DrillStep> met;
  for (int step = 0; step < static_cast<int>(kDrillSteps); ++step) {
    const auto draws = meet(drill, static_cast<DrillStep>(step), 10);
    if (!draws.empty()) met.insert(static_cast<DrillStep>(step));
    EXPECT_LE(draws.size(), 1u);
  }
  std::set<DrillStep> aimed;
  for (const auto& [step, accident] : drill_aims(1, kAll)) aimed.insert(step);
  EXPECT_EQ(met, aimed);
}

TEST_F(DrillTest, NothingHappensOffTheLedger) {
  aims_ = true;
  Drill drill(with({0.5, 0.5, 0}), *this, clock_);
  EXPECT_THAT(meet(drill, DrillStep::other, 10), IsEmpty());
  DrillStore store(*memory_, drill, "run");
  ASSERT_TRUE(store.put("run/logs/a/1.log", as_bytes("x"), Condition::always()).ok());
  ASSERT_TRUE(store.put("other/chunks/000000.json", as_bytes("x"), Condition::always()).ok());
  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(DrillTest, AFaultIsBeforeOrAfterTheCall) {
  Drill drill(with({0, 0, 1}), *this, clock_);
  DrillStore store(*memory_, drill, "run");
  std::set<bool> seen;
  for (int chunk = 0; chunk < 40; ++chunk) {
    const std::string key = fmt::format("run/chunks/{:06}.json", chunk);
    const auto put = store.put(key, as_bytes("x"), Condition::if_absent());
    ASSERT_EQ(put.error().code, Code::unavailable);
    const bool after = told_.back().after;
    EXPECT_EQ(memory_->head(key).value().has_value(), after);
    EXPECT_THAT(put.error().message, HasSubstr(after ? "was lost" : "did not take"));
    seen.insert(after);
  }
  EXPECT_EQ(seen.size(), 2u);
}

TEST_F(DrillTest, RetriesAlwaysDo) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    DrillOrders orders = with({0, 0, 1});
    orders.seed = seed;
    Drill drill(orders, *this, clock_);
    DrillStore faulty(*memory_, drill, "run");
    RetryingStore store(faulty, clock_);
    RunFolder folder(store, "run", clock_);
    const std::string text(seed == 0 ? 9 << 20 : 20, 'x');  // once in two pieces
    MemorySource result(bytes_of(text));
    ChunkCommit commit;
    commit.index = static_cast<int>(seed);
    commit.frames = 1;
    commit.bytes = text.size();
    commit.sha256 = sha256_hex(as_bytes(text));
    const auto done = folder.commit_chunk(commit, result);
    ASSERT_TRUE(done.ok()) << seed << ": " << done.error().message;
    EXPECT_TRUE(folder.open_chunk(*done).ok());
    EXPECT_TRUE(folder.read_commit(commit.index).value().has_value());
  }
  EXPECT_GT(told_.size(), 400u);
}

}  // namespace
}  // namespace atelier::run
