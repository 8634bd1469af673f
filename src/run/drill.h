// SPDX-License-Identifier: Apache-2.0
// What `atelier drill` does to a worker: at the steps of the ledger, by chance, it kills or freezes
// the broker or its scorer, or lets a store call fail. DrillStore stands between the ledger and the
// store and knows from key and verb which step a call is; what the scorer does between two calls is
// seen by its progress (drill_worker.h).
//
// Chance is a pure function of seed, worker, life, step and how often that step came: a seed draws
// the same again, though not at the same moment, since processes race. Besides, each seed aims at a
// few steps, another seed at others, so that a range of seeds meets every step; an aimed accident
// happens once in a run, when the first worker comes to that step.
// However high the chances are, a run ends: no call fails more than twice in a row (a piece of an
// upload: twice in all), and a life of a
// worker has a most of accidents (see Drill).
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "store/object_store.h"
#include "store/store_verb.h"

namespace atelier::run {

enum class DrillStep {
  manifest,    // reads it
  removal,     // looks for removing.json
  cancel,      // looks for cancel.json
  list,        // lists the records
  look,        // looks whether a chunk is committed or given up
  claim,       // puts the first claim on a chunk
  take_over,   // puts a later one
  read_claim,  // of whoever holds a chunk
  read_beat,   // likewise
  give_back,   // puts that a chunk is free
  beat,        // puts its own
  leave,       // puts its last one
  decode,      // the scorer has decoded a frame; no store call
  score,
  encode,
  result,  // puts the bytes of a chunk
  commit,  // puts the record that names them
  other,   // what is no step of the ledger: nothing happens there
};
inline constexpr size_t kDrillSteps = 17;  // without `other`
const char* to_string(DrillStep step);
inline bool is_stage(DrillStep step) {
  return step == DrillStep::decode || step == DrillStep::score || step == DrillStep::encode;
}

struct DrillPlace {
  DrillStep step = DrillStep::other;
  int chunk = -1;  // if one is meant
};
// `name`: the key inside the run folder. `text`: what is put, else empty.
DrillPlace drill_place(StoreVerb verb, std::string_view name, std::string_view text);

enum class Accident { none, killed, frozen, fault };
inline constexpr size_t kAccidents = 3;  // without `none`
const char* to_string(Accident accident);

// Of an accident at one step, each from 0 to 1, together at most 1.
struct DrillChances {
  double kill = 0;
  double freeze = 0;
  double store_faults = 0;
};

// What one worker is told.
struct DrillOrders {
  uint64_t seed = 0;
  int worker = 1;      // of the engine's, from 1
  int life = 0;        // how often that one was started before
  bool mortal = true;  // its broker may be killed
  DrillChances chances;
  std::chrono::milliseconds claim_timeout = std::chrono::seconds(1);
  std::string folder;  // an existing one, the same for every worker of the run
};
std::string to_json(const DrillOrders& orders);
// Those of an engine that says the same to every worker: for that worker's life. Its broker may be
// killed in the first few of them.
DrillOrders orders_of_life(DrillOrders orders, int worker, int life);
// Errors: invalid_argument.
Result<DrillOrders> drill_orders_from_json(std::string_view text);

struct DrillDraw {
  Accident accident = Accident::none;
  bool scorer = false;  // its victim, else the broker; of a fault neither
  bool after = false;   // once the call took effect: its answer is lost
  double length = 0;    // of a freeze, from 0 to below 1: see freeze_length
};
// Pure; by `orders` without its folder. A stage has no store fault.
DrillDraw draw_accident(const DrillOrders& orders, DrillStep step, uint64_t nth);
// A scorer that is silent for so long is taken for stuck.
std::chrono::milliseconds drill_hang_timeout(std::chrono::milliseconds claim_timeout);
// Longer than the time-out of a claim; a scorer's may be so long that it is taken for stuck.
std::chrono::milliseconds freeze_length(const DrillDraw& draw, std::chrono::milliseconds timeout);

// What a seed aims at. Five seeds in a row aim at every step, fifteen at each with every kind of
// accident that has a chance and can happen there.
std::vector<std::pair<DrillStep, Accident>> drill_aims(uint64_t seed, const DrillChances& chances);

struct DrillEvent {
  Accident accident = Accident::none;
  DrillPlace place;
  bool scorer = false;
  bool after = false;
  int worker = 1;
  int life = 0;
  std::chrono::milliseconds length{0};  // of a freeze
  std::chrono::milliseconds at{0};      // by the clock of the machine
};
// "worker 2.1: broker killed after claim of chunk 3"
std::string describe(const DrillEvent& event);
std::string to_line(const DrillEvent& event);
// The lines of the whole log. Errors: corrupt.
Result<std::vector<DrillEvent>> drill_events(std::string_view lines);

// What accidents really do. Called from several threads.
class DrillHands {
 public:
  virtual ~DrillHands() = default;
  // False if there is no such process: nothing happened then. Does not return if the broker, this
  // process, is killed.
  virtual bool hurt(bool scorer, Accident accident, std::chrono::milliseconds length) = 0;
  virtual bool has_scorer() = 0;
  // True once in the run for each step, whichever worker asks.
  virtual bool is_first(DrillStep step) = 0;
  // Keeps the event, whatever happens to this process next.
  virtual void tell(const DrillEvent& event) = 0;
};

// The accidents of one life of a worker. Safe from several threads.
class Drill {
 public:
  // The references must outlive it.
  Drill(DrillOrders orders, DrillHands& hands, const Clock& clock);
  const DrillOrders& orders() const { return orders_; }

  // Called at a step: what is to happen there, now or (`after`) when the step is done.
  DrillDraw next(const DrillPlace& place);
  // Kills or freezes; a fault is only told.
  void happen(const DrillDraw& draw, const DrillPlace& place);
  // A chunk was committed.
  void progressed();

 private:
  // A broker gives up when scorer after scorer dies, and a worker that is frozen again and again
  // does not end.
  static constexpr int kMostScorers = 5;  // hurt since the last commit
  static constexpr int kMostFreezes = 8;  // in a life
  Accident aimed_at(DrillStep step) const;
  bool is_spared(const DrillDraw& draw);

  const DrillOrders orders_;
  DrillHands& hands_;
  const Clock& clock_;
  const std::vector<std::pair<DrillStep, Accident>> aims_;
  std::array<std::atomic<uint64_t>, kDrillSteps> seen_{};
  std::atomic<int> scorers_{0};
  std::atomic<int> freezes_{0};
};

// Keeps references to `inner` and `drill`, which must outlive it; its uploads must not outlive it.
// A failing call answers unavailable. Threads as the inner store's.
class DrillStore final : public ObjectStore {
 public:
  DrillStore(ObjectStore& inner, Drill& drill, const std::string& run_id)
      : inner_(inner), drill_(drill), prefix_(run_id + "/") {}

  Result<std::optional<ObjectInfo>> head(std::string_view key) override;
  Result<std::vector<std::byte>> get(std::string_view key, ByteRange range,
                                     std::string_view if_match) override;
  Result<PutOutcome> put(std::string_view key, std::span<const std::byte> bytes,
                         const Condition& condition) override;
  Result<std::unique_ptr<Upload>> begin_upload(std::string_view key) override;
  Result<ListPage> list(std::string_view prefix, std::string_view after, size_t limit) override;
  Result<bool> remove(std::string_view key) override;
  Result<bool> decides_conditions(std::string_view key) override {
    return inner_.decides_conditions(key);
  }
  RetryPolicy retries() const override { return inner_.retries(); }
  std::string url(std::string_view key) const override { return inner_.url(key); }

 private:
  class DrillUpload;
  template <class Call>
  auto around(StoreVerb verb, std::string_view key, std::string_view text, Call call)
      -> decltype(call());
  bool may_fail(StoreVerb verb, std::string_view key, bool fails);

  ObjectStore& inner_;
  Drill& drill_;
  const std::string prefix_;
  Mutex mutex_;
  std::map<std::pair<StoreVerb, std::string>, int> failures_ GUARDED_BY(mutex_);
};

}  // namespace atelier::run
