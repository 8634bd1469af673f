// SPDX-License-Identifier: Apache-2.0
#include "store/retrying_store.h"

namespace atelier {
namespace {

constexpr uint64_t kPiece = uint64_t{8} << 20;

}  // namespace

Result<std::optional<ObjectInfo>> RetryingStore::find_same(std::string_view key, uint64_t size,
                                                           const std::string& sha256) {
  std::optional<ObjectInfo> info = TRY(head(key));
  if (!info || info->size != size) return std::optional<ObjectInfo>();
  Sha256 hash;
  for (uint64_t offset = 0; offset < size;) {
    auto piece = get(key, {offset, kPiece}, info->etag);
    if (is_unavailable(piece)) return piece.error();
    // Changed or removed since head: what is there now is not ours.
    if (!piece.ok() || piece->empty()) return std::optional<ObjectInfo>();
    hash.update(*piece);
    offset += piece->size();
  }
  if (hash.finish_hex() != sha256) return std::optional<ObjectInfo>();
  return info;
}

Result<std::optional<ObjectInfo>> RetryingStore::head(std::string_view key) {
  return repeated([&] { return inner_.head(key); });
}

Result<std::vector<std::byte>> RetryingStore::get(std::string_view key, ByteRange range,
                                                  std::string_view if_match) {
  return repeated([&] { return inner_.get(key, range, if_match); });
}

Result<PutOutcome> RetryingStore::put(std::string_view key, std::span<const std::byte> bytes,
                                      const Condition& condition) {
  bool lost = false;  // an earlier answer: the put may have happened
  auto outcome = repeated([&] {
    auto result = inner_.put(key, bytes, condition);
    lost = lost || is_unavailable(result);
    return result;
  });
  const bool doubtful = is_unavailable(outcome) || (outcome.ok() && !outcome->written && lost);
  if (!doubtful) return outcome;
  auto same = find_same(key, bytes.size(), sha256_hex(bytes));
  if (same.ok() && *same) return PutOutcome{true, (*same)->etag};
  if (!same.ok() && outcome.ok()) return same.error();
  return outcome;
}

class RetryingStore::RetryingUpload final : public Upload {
 public:
  RetryingUpload(RetryingStore& store, std::string_view key, std::unique_ptr<Upload> inner)
      : store_(store), key_(key), inner_(std::move(inner)) {}

  Result<void> append(std::span<const std::byte> bytes) override {
    hash_.update(bytes);
    size_ += bytes.size();
    return inner_->append(bytes);
  }

  Result<PutOutcome> commit(const Condition& condition) override {
    auto outcome = inner_->commit(condition);
    if (!is_unavailable(outcome) || finished_) return outcome;
    finished_ = true;
    auto same = store_.find_same(key_, size_, hash_.finish_hex());
    if (same.ok() && *same) return PutOutcome{true, (*same)->etag};
    // Not ours: either it was never made, or somebody else wrote since. Only for if_absent does
    // another's object settle it.
    if (same.ok() && condition.kind == Condition::Kind::if_absent && TRY(store_.head(key_))) {
      return PutOutcome{};
    }
    return outcome;
  }

  void abort() override { inner_->abort(); }

 private:
  RetryingStore& store_;
  const std::string key_;
  std::unique_ptr<Upload> inner_;
  Sha256 hash_;
  uint64_t size_ = 0;
  bool finished_ = false;  // the hash can be taken once
};

Result<std::unique_ptr<Upload>> RetryingStore::begin_upload(std::string_view key) {
  auto upload = repeated([&] { return inner_.begin_upload(key); });
  if (!upload.ok()) return upload;
  return std::unique_ptr<Upload>(
      std::make_unique<RetryingUpload>(*this, key, std::move(upload).value()));
}

Result<ListPage> RetryingStore::list(std::string_view prefix, std::string_view after,
                                     size_t limit) {
  return repeated([&] { return inner_.list(prefix, after, limit); });
}

Result<bool> RetryingStore::remove(std::string_view key) {
  return repeated([&] { return inner_.remove(key); });
}

}  // namespace atelier
