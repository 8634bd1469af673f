// SPDX-License-Identifier: Apache-2.0
// Repeats calls that answer `unavailable`, and finds out what became of a write whose answer was
// lost.
//
// A conditional put that is repeated after a lost answer may meet its own first write as a
// conflict. The object is then read back: if it holds the bytes of this put (size and SHA-256), the
// answer is written. So two writers of the same bytes may both be told "written": who must know
// whether it was them puts something of their own into the bytes, as a claim does. A write whose
// answer was lost and that another replaced before it was read back is told as a conflict.
#pragma once

#include "base/clock.h"
#include "base/hash.h"
#include "store/object_store.h"
#include "store/retry.h"

namespace atelier {

// Keeps references to `inner` and `clock`, which must outlive it; its uploads must not outlive it.
// Not repeated: append (nobody knows whether the bytes arrived; begin another upload) and a commit
// that turns out not to have been made (the upload is gone): both answer unavailable. After a lost
// answer, remove may say false about an object that it removed itself.
class RetryingStore final : public ObjectStore {
 public:
  RetryingStore(ObjectStore& inner, Clock& clock, RetryPolicy policy = {})
      : inner_(inner), clock_(clock), policy_(policy) {}
  // Keeps `inner` itself.
  RetryingStore(std::unique_ptr<ObjectStore> inner, Clock& clock, RetryPolicy policy = {})
      : owned_(std::move(inner)), inner_(*owned_), clock_(clock), policy_(policy) {}

  Result<std::optional<ObjectInfo>> head(std::string_view key) override;
  Result<std::vector<std::byte>> get(std::string_view key, ByteRange range,
                                     std::string_view if_match) override;
  Result<PutOutcome> put(std::string_view key, std::span<const std::byte> bytes,
                         const Condition& condition) override;
  Result<std::unique_ptr<Upload>> begin_upload(std::string_view key) override;
  Result<ListPage> list(std::string_view prefix, std::string_view after, size_t limit) override;
  Result<bool> remove(std::string_view key) override;
  Result<bool> decides_conditions(std::string_view key) override {
    return repeated([&] { return inner_.decides_conditions(key); });
  }
  RetryPolicy retries() const override { return policy_; }
  std::string url(std::string_view key) const override { return inner_.url(key); }

 private:
  class RetryingUpload;
  template <class Call>
  auto repeated(Call call) -> decltype(call()) {
    return with_retries(policy_, clock_, std::move(call));
  }
  // The object now under `key`, if it has this size and hash.
  Result<std::optional<ObjectInfo>> find_same(std::string_view key, uint64_t size,
                                              const std::string& sha256);

  std::unique_ptr<ObjectStore> owned_;
  ObjectStore& inner_;
  Clock& clock_;
  const RetryPolicy policy_;
};

}  // namespace atelier
