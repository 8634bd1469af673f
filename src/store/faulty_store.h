// SPDX-License-Identifier: Apache-2.0
// A store that fails as a network does, to a plan: before the call reaches the inner store, or
// after it took effect (a lost answer). For tests and drills.
#pragma once

#include <array>
#include <atomic>
#include <functional>

#include "store/object_store.h"
#include "store/store_verb.h"

namespace atelier {

enum class Fault {
  none,
  before,  // nothing happened
  after,   // it happened, and the answer is lost
};

// Asked once per call; `nth` counts the calls of that verb from 0. Must be safe from several
// threads.
using FaultPlan = std::function<Fault(StoreVerb verb, uint64_t nth)>;

struct ScriptedFault {
  StoreVerb verb;
  uint64_t nth;
  Fault fault;
};
// Just these faults.
FaultPlan scripted_faults(std::vector<ScriptedFault> script);

// Chances from 0 to 1; before + after must not exceed 1.
struct FaultRates {
  double before = 0;
  double after = 0;
};
// The fault of a call depends on seed, verb and nth alone, so that threads cannot change the plan.
FaultPlan seeded_faults(uint64_t seed, const std::array<FaultRates, kStoreVerbs>& rates);

// Keeps a reference to `inner`, which must outlive it; its uploads must not outlive it. A failing
// call answers `code`. Threads as the inner store's.
class FaultyStore final : public ObjectStore {
 public:
  FaultyStore(ObjectStore& inner, FaultPlan plan, Code code = Code::unavailable)
      : inner_(inner), plan_(std::move(plan)), code_(code) {}
  uint64_t faults() const { return faults_; }

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
  class FaultyUpload;
  template <class Call>
  auto attempt(StoreVerb verb, std::string_view key, Call call) -> decltype(call());

  ObjectStore& inner_;
  const FaultPlan plan_;
  const Code code_;
  std::array<std::atomic<uint64_t>, kStoreVerbs> calls_{};
  std::atomic<uint64_t> faults_{0};
};

}  // namespace atelier
