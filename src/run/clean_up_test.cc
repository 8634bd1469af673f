// SPDX-License-Identifier: Apache-2.0
#include "run/clean_up.h"

#include <gtest/gtest.h>

#include "base/hash.h"
#include "run/gang_marks.h"
#include "run/gang_record.h"
#include "run/run_folder.h"
#include "store/faulty_store.h"
#include "store/memory_store.h"

namespace atelier::run {
namespace {

using std::chrono::hours;

constexpr const char* kRun = "00000000000000aa";
constexpr int kChunks = 3;
const WallTime kNow = std::chrono::system_clock::now();

RunFacts facts(const std::string& run_id, int hours_old, uint64_t bytes) {
  RunFacts made;
  made.run_id = run_id;
  made.state = RunFacts::State::done;
  made.changed = kNow - hours(hours_old);
  made.bytes = bytes;
  return made;
}

// The names of the runs that go.
std::string chosen(const std::vector<RunFacts>& runs, const CleanUpPolicy& policy) {
  std::string names;
  const auto choices = choose_runs_to_remove(runs, policy, kNow);
  for (size_t i = 0; i < runs.size(); ++i) names += choices[i].remove ? runs[i].run_id : "";
  return names;
}

TEST(ChooseRuns, WhatIsOlderGoes) {
  const std::vector<RunFacts> runs = {facts("a", 1, 10), facts("b", 3, 10), facts("c", 2, 10)};
  EXPECT_EQ(chosen(runs, {hours(2), {}}), "b") << "just as old is not older";
  EXPECT_EQ(chosen(runs, {hours(0), {}}), "abc");
  EXPECT_EQ(chosen(runs, {hours(9), {}}), "");
  EXPECT_EQ(chosen(runs, {}), "");
}

TEST(ChooseRuns, TheOldestGoUntilTheRestIsSmallEnough) {
  const std::vector<RunFacts> runs = {facts("a", 1, 10), facts("b", 3, 10), facts("c", 2, 10)};
  EXPECT_EQ(chosen(runs, {{}, 30}), "");
  EXPECT_EQ(chosen(runs, {{}, 29}), "b");
  EXPECT_EQ(chosen(runs, {{}, 19}), "bc");
  EXPECT_EQ(chosen(runs, {{}, 0}), "abc");
}

TEST(ChooseRuns, WhatGoesByAgeCountsNoMore) {
  const std::vector<RunFacts> runs = {facts("a", 1, 10), facts("b", 9, 50), facts("c", 2, 10)};
  EXPECT_EQ(chosen(runs, {hours(5), 20}), "b");
  EXPECT_EQ(chosen(runs, {hours(5), 10}), "bc");
}

TEST(ChooseRuns, ARunInUseStaysAndCounts) {
  std::vector<RunFacts> runs = {facts("a", 1, 10), facts("b", 9, 50), facts("c", 2, 10)};
  runs[1].in_use = "worker w";
  EXPECT_EQ(chosen(runs, {hours(0), {}}), "ac");
  EXPECT_EQ(chosen(runs, {{}, 60}), "c");
  EXPECT_EQ(chosen(runs, {{}, 0}), "ac");
}

TEST(ChooseRuns, ForeignFoldersStay) {
  std::vector<RunFacts> runs = {facts("a", 9, 10)};
  runs[0].state = RunFacts::State::foreign;
  EXPECT_EQ(chosen(runs, {hours(0), 0}), "");
}

TEST(ChooseRuns, ATimeInTheFutureIsYoung) {
  EXPECT_EQ(chosen({facts("a", -5, 10)}, {hours(0), {}}), "");
}

// A worker's life, in steps that may lie apart.
class Scoring {
 public:
  Scoring(ObjectStore& store, int number)
      : store_(store), folder_(store, kRun), ledger_(store, clock_, setup(number)) {}

  static constexpr int kSteps = 4;
  void step(int number) {
    if (!error_.empty()) return;
    const auto result = do_step(number);
    if (!result.ok()) error_ = result.error().message;
    if (!result.ok()) {
      EXPECT_TRUE(ledger_.beat(0, true).ok());
    }
  }
  const std::string& error() const { return error_; }
  const std::string& published() const { return published_; }

 private:
  static Ledger::Setup setup(int number) {
    Ledger::Setup made;
    made.run_id = kRun;
    made.worker = fmt::format("w{}", number);
    made.chunks = kChunks;
    return made;
  }
  Result<void> do_step(int number) {
    switch (number) {
      case 0: {  // prepare
        if (TRY(folder_.read_manifest())) return {};
        Manifest manifest;
        manifest.run_id = kRun;
        for (int i = 0; i < kChunks; ++i)
          manifest.chunks.push_back({i, i, i + 1, std::nullopt, 0, 1, std::nullopt, i});
        TRY(folder_.write_manifest(manifest));
        return {};
      }
      case 1: return ledger_.beat(0);
      case 2: return check_stands(store_, kRun);
      default: return score_and_finish();
    }
  }
  Result<void> score_and_finish() {
    for (;;) {
      const auto answer = TRY(ledger_.claim());
      if (answer.next == Ledger::Next::settled) break;
      if (answer.next != Ledger::Next::claimed) return Error{Code::internal, "Not claimed."};
      const std::string content = fmt::format("chunk {}", answer.claim.chunk);
      ChunkCommit commit;
      commit.index = answer.claim.chunk;
      commit.sha256 = sha256_hex(as_bytes(content));
      commit.bytes = content.size();
      commit.frames = 1;
      const auto view = as_bytes(content);
      MemorySource source({view.begin(), view.end()});
      TRY(folder_.commit_chunk(commit, source));
      (void)ledger_.give_back(answer.claim, false, "");
    }
    std::string joined;
    for (int i = 0; i < kChunks; ++i) {
      const auto commit = TRY(folder_.read_commit(i));
      if (!commit) return make_error(Code::corrupt, "Chunk {} has not been scored.", i);
      const auto source = TRY(folder_.open_chunk(*commit));
      joined += as_text(TRY(read_all(*source, 100, "chunk")));
    }
    TRY(ledger_.beat(0, true));
    TRY(folder_.put_report("{\"state\":\"done\"}"));
    published_ = joined;
    return {};
  }

  ObjectStore& store_;
  FakeClock clock_;
  RunFolder folder_;
  Ledger ledger_;
  std::string error_;
  std::string published_;
};

const char* const kWhole = "chunk 0chunk 1chunk 2";

class CleanUpTest : public testing::Test {
 protected:
  void SetUp() override { score(0); }
  void score(int number) {
    Scoring scoring(*store_, number);
    for (int i = 0; i < Scoring::kSteps; ++i) scoring.step(i);
    ASSERT_EQ(scoring.error(), "");
    ASSERT_EQ(scoring.published(), kWhole);
  }
  RunFacts look(Liveness others = Liveness::dead, WallTime now = kNow) {
    const auto runs = look_at_runs(*store_, now, [=](const Origin&) { return others; }).value();
    EXPECT_EQ(runs.size(), 1u);
    return runs.at(0);
  }
  void put(const std::string& key, std::string_view text) {
    ASSERT_TRUE(store_->put(key, as_bytes(text), Condition::always()).ok());
  }
  void beat(const std::string& worker) {
    Ledger::Setup setup;
    setup.run_id = kRun;
    setup.worker = worker;
    ASSERT_TRUE(Ledger(*store_, clock_, setup).beat(7).ok());
  }
  std::string in_run(const char* name) const { return fmt::format("{}/{}", kRun, name); }
  size_t objects() { return list_all(*store_, "").value().size(); }

  std::unique_ptr<ObjectStore> store_ = make_memory_store();
  FakeClock clock_;
};

TEST_F(CleanUpTest, ARunIsSeenAsItIs) {
  RunFacts seen = look();
  EXPECT_EQ(seen.state, RunFacts::State::done);
  EXPECT_EQ(seen.frames, 3u);
  EXPECT_EQ(seen.frames_expected, 3u);
  EXPECT_EQ(seen.in_use, "");
  EXPECT_FALSE(seen.silent_workers);
  uint64_t bytes = 0;
  for (const auto& object : list_all(*store_, "").value()) bytes += object.size;
  EXPECT_EQ(seen.bytes, bytes);
  ASSERT_TRUE(store_->remove(in_run("report.json")).value());
  ASSERT_TRUE(store_->remove(in_run("chunks/000001.json")).value());
  seen = look(Liveness::dead, kNow + hours(1));
  EXPECT_EQ(seen.state, RunFacts::State::unfinished);
  EXPECT_EQ(seen.frames, 2u);
  put(in_run("manifest.json"), "{\"format_version\":999}");
  EXPECT_EQ(look().state, RunFacts::State::unreadable);
  ASSERT_TRUE(store_->remove(in_run("manifest.json")).value());
  EXPECT_EQ(look().state, RunFacts::State::remains);
  put(in_run("letter.txt"), "mine");
  EXPECT_EQ(look().state, RunFacts::State::foreign);
}

TEST_F(CleanUpTest, WhatOnlySomeRunsHoldIsNotForeign) {
  put(in_run("engine.json"), "{}");
  put(in_run("unpainted/000001.json"), "{}");
  EXPECT_NE(look().state, RunFacts::State::foreign);
  // Of a gang of ranks that Slurm started.
  ASSERT_TRUE(put_gang(*store_, kRun, {"head-7.12.0", {{"frames", 3}}}).ok());
  EXPECT_NE(look().state, RunFacts::State::foreign);
  ASSERT_TRUE(put_mark(*store_, kRun, "head-7.12.0", "n1", 1).ok());
  EXPECT_NE(look().state, RunFacts::State::foreign);
}

TEST_F(CleanUpTest, WhatIsNotNamedLikeARunIsPassedOver) {
  for (const char* key : {"00000000000000aa0", "00000000000000ab", "00000000000000AA/x", "a/b/c",
                          "00000000000000a/manifest.json", "zz", "00000000000000aa.b/x"}) {
    put(key, "x");
  }
  EXPECT_EQ(look().run_id, kRun);
}

TEST_F(CleanUpTest, AWorkerThatMayBeAtWorkMakesARunUsed) {
  beat("busy");
  put(in_run("report.json"), "{}");
  EXPECT_EQ(look(Liveness::dead).in_use, "");
  EXPECT_NE(look(Liveness::alive, kNow + hours(99)).in_use, "") << "stopped, but there";
  EXPECT_NE(look(Liveness::unknown).in_use, "");
  EXPECT_NE(look(Liveness::unknown, kNow - hours(5)).in_use, "") << "its clock goes before ours";
  const RunFacts later = look(Liveness::unknown, kNow + hours(1));
  EXPECT_EQ(later.in_use, "");
  EXPECT_TRUE(later.silent_workers);
  put(in_run("workers/busy.beat"), "no JSON");
  EXPECT_NE(look(Liveness::unknown).in_use, "") << "whoever cannot be read may be alive";
}

TEST_F(CleanUpTest, ARunThatChangedAMomentAgoAndWasNotPublishedSinceIsUsed) {
  beat("late");
  EXPECT_NE(look().in_use, "") << "perhaps somebody joins it";
  EXPECT_EQ(look(Liveness::dead, kNow + hours(1)).in_use, "");
  put(in_run("report.json"), "{}");
  EXPECT_EQ(look().in_use, "");
  ASSERT_TRUE(store_->remove(in_run("report.json")).value());
  EXPECT_NE(look().in_use, "");
  EXPECT_EQ(look(Liveness::dead, kNow + hours(1)).in_use, "");
}

TEST_F(CleanUpTest, ARemovedRunIsGoneAndItsNeighbourStays) {
  put("00000000000000ab/manifest.json", "{}");
  EXPECT_EQ(remove_run(*store_, look_at_runs(*store_, kNow).value().at(0), kNow).value(),
            std::nullopt);
  EXPECT_EQ(objects(), 1u);
}

TEST_F(CleanUpTest, ARunThatChangedSinceIsKept) {
  const RunFacts seen = look();
  beat("new");
  const size_t before = objects();
  EXPECT_TRUE(remove_run(*store_, seen, kNow).value().has_value());
  EXPECT_EQ(objects(), before) << "removing.json was left";
  score(1);
}

TEST_F(CleanUpTest, AnotherRemoverIsLeftAlone) {
  put(in_run(kRemovingName), "{\"origin\":{}}");
  const size_t before = objects();
  const RunFacts seen = look(Liveness::unknown);
  EXPECT_NE(seen.in_use, "");
  EXPECT_TRUE(remove_run(*store_, seen, kNow).value().has_value());
  EXPECT_EQ(objects(), before);
  // Nobody removes for days.
  EXPECT_EQ(look(Liveness::unknown, kNow + hours(30)).in_use, "");
  EXPECT_EQ(remove_run(*store_, seen, kNow + hours(30)).value(), std::nullopt);
  EXPECT_EQ(objects(), 0u);
}

// Whatever step of a removal it dies after, the run can be scored and published, or removed.
TEST_F(CleanUpTest, ARemoverMayDieAtAnyStep) {
  for (uint64_t calls = 0;; ++calls) {
    SCOPED_TRACE(calls);
    store_ = make_memory_store();
    score(0);
    const RunFacts seen = look();
    std::atomic<uint64_t> made{0};
    FaultyStore dying(
        *store_, [&](StoreVerb, uint64_t) { return made++ < calls ? Fault::none : Fault::before; });
    const bool survived = remove_run(dying, seen, kNow).ok();
    const auto dead = [](const Origin&) { return Liveness::dead; };
    const auto standing = RunFolder(*store_, kRun).read_manifest().value();
    const auto stands = check_stands(*store_, kRun, dead);
    EXPECT_EQ(stands.ok(), standing.has_value());
    score(1);
    EXPECT_EQ(remove_run(*store_, look(), kNow, dead).value(), std::nullopt);
    EXPECT_EQ(objects(), 0u);
    if (survived) break;
    ASSERT_LT(calls, 100u);
  }
}

// A worker's steps fall between any two calls of a removal, in two parts. Whoever was let in
// publishes everything; nobody publishes less; and what is left is good for the next run.
TEST_F(CleanUpTest, AWorkerThatBeginsMeanwhileWorksWholeOrNotAtAll) {
  int let_in = 0;
  int sent_away = 0;
  for (int split = 0; split <= Scoring::kSteps; ++split) {
    bool more = true;
    for (uint64_t first = 0; more; ++first) {
      for (const uint64_t gap : {0, 1, 3, 7, 15, 23}) {
        const uint64_t second = first + gap;
        SCOPED_TRACE(fmt::format("{} steps at call {}, the others at {}", split, first, second));
        store_ = make_memory_store();
        score(0);
        const RunFacts seen = look();
        Scoring worker(*store_, 1);
        int done = 0;
        std::atomic<uint64_t> calls{0};
        const auto work_until = [&](int end) {
          for (; done < end; ++done) worker.step(done);
        };
        FaultyStore watched(*store_, [&](StoreVerb, uint64_t) {
          const uint64_t call = calls++;
          if (call == first) work_until(split);
          if (call == second) work_until(Scoring::kSteps);
          return Fault::none;
        });
        const auto kept = remove_run(watched, seen, kNow);
        ASSERT_TRUE(kept.ok()) << kept.error().message;
        more = first < calls;
        work_until(Scoring::kSteps);
        if (worker.error().empty()) {
          ASSERT_EQ(worker.published(), kWhole);
          ++let_in;
        } else {
          ASSERT_NE(worker.error().find("Run "), std::string::npos)
              << "not at the door: " << worker.error();
          ++sent_away;
        }
        score(2);
      }
    }
  }
  EXPECT_GT(let_in, 100);
  EXPECT_GT(sent_away, 100);
}

}  // namespace
}  // namespace atelier::run
