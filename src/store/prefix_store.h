// SPDX-License-Identifier: Apache-2.0
// The part of a store below a prefix, as a store of its own.
#pragma once

#include <memory>
#include <string>

#include "store/object_store.h"

namespace atelier {

// `prefix` is "a/b/". Keeps `inner`; uploads must not outlive it. Keys are checked before the
// prefix is put before them, so that none leads out of it. Threads as the inner store's.
class PrefixStore final : public ObjectStore {
 public:
  PrefixStore(std::unique_ptr<ObjectStore> inner, std::string prefix)
      : inner_(std::move(inner)), prefix_(std::move(prefix)) {}

  Result<std::optional<ObjectInfo>> head(std::string_view key) override;
  Result<std::vector<std::byte>> get(std::string_view key, ByteRange range,
                                     std::string_view if_match) override;
  Result<PutOutcome> put(std::string_view key, std::span<const std::byte> bytes,
                         const Condition& condition) override;
  Result<std::unique_ptr<Upload>> begin_upload(std::string_view key) override;
  Result<ListPage> list(std::string_view prefix, std::string_view after, size_t limit) override;
  Result<bool> remove(std::string_view key) override;
  Result<bool> decides_conditions(std::string_view key) override {
    return inner_->decides_conditions(whole(key));
  }
  RetryPolicy retries() const override { return inner_->retries(); }
  std::string url(std::string_view key) const override { return inner_->url(whole(key)); }

 private:
  std::string whole(std::string_view key) const { return prefix_ + std::string(key); }

  const std::unique_ptr<ObjectStore> inner_;
  const std::string prefix_;
};

}  // namespace atelier
