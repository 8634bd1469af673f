// SPDX-License-Identifier: Apache-2.0
// Counts what goes through a store, for tests: that no read is done twice, and that a job does not
// cost more calls than it did.
#pragma once

#include <array>
#include <atomic>

#include "store/object_store.h"
#include "store/store_verb.h"

namespace atelier {

struct StoreCounts {
  std::array<uint64_t, kStoreVerbs> calls{};
  uint64_t errors = 0;         // calls answered by an Error
  uint64_t conflicts = 0;      // puts and commits that did not write
  uint64_t bytes_read = 0;     // that get returned
  uint64_t bytes_written = 0;  // of puts that wrote, and of appends
  uint64_t of(StoreVerb verb) const { return calls[static_cast<size_t>(verb)]; }
};

// Keeps a reference to `inner`, which must outlive it; its uploads must not outlive it.
class CountingStore final : public ObjectStore {
 public:
  explicit CountingStore(ObjectStore& inner) : inner_(inner) {}
  // Each number is right; together they are one moment's only while no call is under way.
  StoreCounts counts() const;

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
  class CountedUpload;
  void count(StoreVerb verb, bool ok);
  void count_outcome(StoreVerb verb, const Result<PutOutcome>& outcome);

  ObjectStore& inner_;
  std::array<std::atomic<uint64_t>, kStoreVerbs> calls_{};
  std::atomic<uint64_t> errors_{0};
  std::atomic<uint64_t> conflicts_{0};
  std::atomic<uint64_t> bytes_read_{0};
  std::atomic<uint64_t> bytes_written_{0};
};

}  // namespace atelier
