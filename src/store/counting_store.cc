// SPDX-License-Identifier: Apache-2.0
#include "store/counting_store.h"

namespace atelier {

class CountingStore::CountedUpload final : public Upload {
 public:
  CountedUpload(CountingStore& store, std::unique_ptr<Upload> inner)
      : store_(store), inner_(std::move(inner)) {}

  Result<void> append(std::span<const std::byte> bytes) override {
    Result<void> result = inner_->append(bytes);
    store_.count(StoreVerb::append, result.ok());
    if (result.ok()) store_.bytes_written_ += bytes.size();
    return result;
  }

  Result<PutOutcome> commit(const Condition& condition) override {
    Result<PutOutcome> outcome = inner_->commit(condition);
    store_.count_outcome(StoreVerb::commit, outcome);
    return outcome;
  }

  void abort() override { inner_->abort(); }

 private:
  CountingStore& store_;
  std::unique_ptr<Upload> inner_;
};

StoreCounts CountingStore::counts() const {
  StoreCounts counts;
  for (size_t verb = 0; verb < kStoreVerbs; ++verb) counts.calls[verb] = calls_[verb];
  counts.errors = errors_;
  counts.conflicts = conflicts_;
  counts.bytes_read = bytes_read_;
  counts.bytes_written = bytes_written_;
  return counts;
}

void CountingStore::count(StoreVerb verb, bool ok) {
  ++calls_[static_cast<size_t>(verb)];
  if (!ok) ++errors_;
}

void CountingStore::count_outcome(StoreVerb verb, const Result<PutOutcome>& outcome) {
  count(verb, outcome.ok());
  if (outcome.ok() && !outcome->written) ++conflicts_;
}

Result<std::optional<ObjectInfo>> CountingStore::head(std::string_view key) {
  auto result = inner_.head(key);
  count(StoreVerb::head, result.ok());
  return result;
}

Result<std::vector<std::byte>> CountingStore::get(std::string_view key, ByteRange range,
                                                  std::string_view if_match) {
  auto result = inner_.get(key, range, if_match);
  count(StoreVerb::get, result.ok());
  if (result.ok()) bytes_read_ += result->size();
  return result;
}

Result<PutOutcome> CountingStore::put(std::string_view key, std::span<const std::byte> bytes,
                                      const Condition& condition) {
  auto outcome = inner_.put(key, bytes, condition);
  count_outcome(StoreVerb::put, outcome);
  if (outcome.ok() && outcome->written) bytes_written_ += bytes.size();
  return outcome;
}

Result<std::unique_ptr<Upload>> CountingStore::begin_upload(std::string_view key) {
  auto upload = inner_.begin_upload(key);
  count(StoreVerb::begin_upload, upload.ok());
  if (!upload.ok()) return upload;
  return std::unique_ptr<Upload>(std::make_unique<CountedUpload>(*this, std::move(upload).value()));
}

Result<ListPage> CountingStore::list(std::string_view prefix, std::string_view after,
                                     size_t limit) {
  auto page = inner_.list(prefix, after, limit);
  count(StoreVerb::list, page.ok());
  return page;
}

Result<bool> CountingStore::remove(std::string_view key) {
  auto removed = inner_.remove(key);
  count(StoreVerb::remove, removed.ok());
  return removed;
}

}  // namespace atelier
