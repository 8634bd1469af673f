// SPDX-License-Identifier: Apache-2.0
// Random schedules of claim, commit, fail, leave, die, freeze and failing store calls. Whatever
// happens, the run ends, every chunk is committed or given up for a reason, and what was committed
// first is never replaced.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <set>

#include "run/ledger.h"
#include "store/faulty_store.h"
#include "store/memory_store.h"
#include "store/retrying_store.h"

namespace atelier::run {
namespace {

using std::chrono::seconds;

class Schedule {
 public:
  explicit Schedule(uint32_t seed) : random_(seed) {
    chunks_ = number(1, 12);
    workers_wanted_ = number(1, 5);
    if (chance(0.5)) {
      std::array<FaultRates, kStoreVerbs> rates;
      rates.fill({0.2, 0.13});  // a third of the calls
      faulty_ = std::make_unique<FaultyStore>(*memory_, seeded_faults(seed, rates));
      retrying_ = std::make_unique<RetryingStore>(*faulty_, store_clock_);
    }
    EXPECT_TRUE(memory_->put("run/manifest.json", as_bytes("{}"), Condition::always()).ok());
    bad_chunk_ = chance(0.3) ? number(0, chunks_ - 1) : -1;
  }

  void run() {
    for (int i = 0; i < workers_wanted_; ++i) start(i);
    for (int step = 0; !over(); ++step) {
      ASSERT_LT(step, 20000) << "it does not end";
      clock_.advance(std::chrono::milliseconds(number(1, 4000)));
      act(workers_[static_cast<size_t>(number(0, static_cast<int>(workers_.size()) - 1))]);
    }
    check();
  }

 private:
  struct Worker {
    std::string name;
    int k = 0;
    std::unique_ptr<Ledger> ledger;
    std::optional<Claim> claim;
    Clock::Duration asleep_until{};
    bool settled = false;
  };

  int number(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  bool chance(double p) { return std::bernoulli_distribution(p)(random_); }
  ObjectStore& store() { return retrying_ ? static_cast<ObjectStore&>(*retrying_) : *memory_; }

  void start(int k) {
    Worker worker;
    worker.k = k;
    renew(worker);
    workers_.push_back(std::move(worker));
  }

  // Another process in the same place.
  void renew(Worker& worker) {
    worker.name = fmt::format("w{}", ++names_);
    worker.claim.reset();
    worker.settled = false;
    Ledger::Setup setup;
    setup.run_id = "run";
    setup.worker = worker.name;
    setup.chunks = chunks_;
    setup.share = {worker.k, workers_wanted_};
    setup.origin = {worker.name, "boot", "", 1, 1};
    const bool sees = chance(0.5);  // on the same machine as the others
    setup.is_dead = [this, sees](const Origin& origin) {
      return sees && dead_.contains(origin.machine);
    };
    worker.ledger = std::make_unique<Ledger>(store(), clock_, setup);
  }

  void act(Worker& worker) {
    if (clock_.now() < worker.asleep_until || worker.settled) return;
    if (!worker.ledger->beat(0).ok()) return;
    if (chance(0.04)) {  // killed
      dead_.insert(worker.name);
      return renew(worker);
    }
    if (chance(0.05)) {  // frozen, perhaps for longer than the time-out
      worker.asleep_until = clock_.now() + seconds(number(1, 120));
      return;
    }
    if (!worker.claim) return claim(worker);
    if (chance(0.05)) return leave(worker);
    if (worker.claim->chunk == bad_chunk_ || chance(0.02)) return fail(worker);
    if (chance(0.6)) commit(worker);
  }

  void claim(Worker& worker) {
    const auto answer = worker.ledger->claim();
    if (!answer.ok()) {
      EXPECT_EQ(answer.error().code, Code::unavailable) << answer.error().message;
      return;
    }
    if (answer->next == Ledger::Next::claimed) worker.claim = answer->claim;  // one at a time
    worker.settled = answer->next == Ledger::Next::settled;
  }

  void leave(Worker& worker) {
    if (!worker.ledger->give_back(*worker.claim, false, "").ok()) return;
    if (worker.ledger->beat(0, true).ok()) renew(worker);
  }

  void fail(Worker& worker) {
    if (worker.ledger->give_back(*worker.claim, true, "it cannot be scored").ok()) {
      failures_.insert(worker.claim->chunk);
      worker.claim.reset();
    }
  }

  void commit(Worker& worker) {
    const std::string key = fmt::format("run/chunks/{:06d}.json", worker.claim->chunk);
    const std::string record = "{\"by\": \"" + worker.name + "\"}";
    const auto outcome = store().put(key, as_bytes(record), Condition::if_absent());
    // What stands after the first put that got through, its answer lost or not, stands for good.
    if (const auto standing = memory_->get(key, {}, {}); standing.ok()) {
      committed_.emplace(key, as_text(*standing));
    }
    if (outcome.ok()) worker.claim.reset();
  }

  bool over() const {
    return std::all_of(workers_.begin(), workers_.end(),
                       [](const Worker& worker) { return worker.settled; });
  }

  void check() {
    for (const auto& [key, record] : committed_) {
      const auto bytes = memory_->get(key, {}, {});
      ASSERT_TRUE(bytes.ok()) << key << " was lost";
      EXPECT_EQ(as_text(*bytes), record) << key << " was replaced";
    }
    Ledger::Setup setup;
    setup.run_id = "run";
    setup.worker = "judge";
    setup.chunks = chunks_;
    Ledger judge(*memory_, clock_, setup);
    const auto failures = judge.failures();
    ASSERT_TRUE(failures.ok());
    EXPECT_EQ(committed_.size() + failures->size(), static_cast<size_t>(chunks_));
    for (const ChunkFailure& failure : *failures) {
      EXPECT_TRUE(failures_.contains(failure.chunk) || failure.losses > 12)
          << "chunk " << failure.chunk << " was given up without a failure";
    }
  }

  std::mt19937 random_;
  int chunks_ = 0;
  int workers_wanted_ = 0;
  int bad_chunk_ = -1;
  int names_ = 0;
  FakeClock clock_;
  FakeClock store_clock_;  // retries take no time of the schedule
  std::unique_ptr<ObjectStore> memory_ = make_memory_store();
  std::unique_ptr<FaultyStore> faulty_;
  std::unique_ptr<RetryingStore> retrying_;
  std::vector<Worker> workers_;
  std::set<std::string> dead_;
  std::set<int> failures_;
  std::map<std::string, std::string> committed_;
};

TEST(LedgerRandom, EveryScheduleEndsWithEveryChunkSettledOnce) {
  const char* wanted = std::getenv("ATELIER_SCHEDULES");
  const uint32_t schedules =
      wanted ? static_cast<uint32_t>(std::strtoul(wanted, nullptr, 10)) : 400;
  for (uint32_t seed = 0; seed < schedules && !HasFatalFailure(); ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Schedule(seed).run();
  }
}

}  // namespace
}  // namespace atelier::run
