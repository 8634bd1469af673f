// SPDX-License-Identifier: Apache-2.0
#include "run/drill.h"

namespace atelier::run {

bool DrillStore::may_fail(StoreVerb verb, std::string_view key, bool fails) {
  // Retries must always do: a store that stays away is another matter.
  constexpr int kMost = 2;
  // An upload is repeated as a whole, so that its pieces have a most in all.
  const bool of_upload = verb == StoreVerb::append || verb == StoreVerb::commit;
  MutexLock lock(mutex_);
  int& count = failures_[{verb, std::string(key)}];
  if (!fails || count >= kMost) {
    if (!of_upload) count = 0;
    return false;
  }
  ++count;
  return true;
}

template <class Call>
auto DrillStore::around(StoreVerb verb, std::string_view key, std::string_view text, Call call)
    -> decltype(call()) {
  if (!key.starts_with(prefix_)) return call();
  const DrillPlace place = drill_place(verb, key.substr(prefix_.size()), text);
  const DrillDraw draw = drill_.next(place);
  const bool fails = may_fail(verb, key, draw.accident == Accident::fault);
  const bool happens = fails || draw.accident != Accident::fault;
  if (happens && !draw.after) drill_.happen(draw, place);
  if (fails && !draw.after) {
    return make_error(Code::unavailable, "The store did not take the call for {} (drill).",
                      inner_.url(key));
  }
  auto result = call();
  if (happens && draw.after) drill_.happen(draw, place);
  if (result.ok() && place.step == DrillStep::commit) drill_.progressed();
  if (!fails || !draw.after || !result.ok()) return result;
  return make_error(Code::unavailable, "The answer about {} was lost (drill).", inner_.url(key));
}

class DrillStore::DrillUpload final : public Upload {
 public:
  DrillUpload(DrillStore& store, std::string_view key, std::unique_ptr<Upload> inner)
      : store_(store), key_(key), inner_(std::move(inner)) {}

  Result<void> append(std::span<const std::byte> bytes) override {
    auto result = store_.around(StoreVerb::append, key_, {}, [&] { return inner_->append(bytes); });
    broken_ = broken_ || !result.ok();
    return result;
  }

  Result<PutOutcome> commit(const Condition& condition) override {
    if (broken_) {
      inner_->abort();
      return make_error(Code::internal,
                        "The upload of {} lacks bytes since an append failed; begin another one.",
                        store_.url(key_));
    }
    auto outcome =
        store_.around(StoreVerb::commit, key_, {}, [&] { return inner_->commit(condition); });
    inner_->abort();
    return outcome;
  }

  void abort() override { inner_->abort(); }

 private:
  DrillStore& store_;
  const std::string key_;
  std::unique_ptr<Upload> inner_;
  bool broken_ = false;
};

Result<std::optional<ObjectInfo>> DrillStore::head(std::string_view key) {
  return around(StoreVerb::head, key, {}, [&] { return inner_.head(key); });
}

Result<std::vector<std::byte>> DrillStore::get(std::string_view key, ByteRange range,
                                               std::string_view if_match) {
  return around(StoreVerb::get, key, {}, [&] { return inner_.get(key, range, if_match); });
}

Result<PutOutcome> DrillStore::put(std::string_view key, std::span<const std::byte> bytes,
                                   const Condition& condition) {
  return around(StoreVerb::put, key, as_text(bytes),
                [&] { return inner_.put(key, bytes, condition); });
}

Result<std::unique_ptr<Upload>> DrillStore::begin_upload(std::string_view key) {
  auto upload = around(StoreVerb::begin_upload, key, {}, [&] { return inner_.begin_upload(key); });
  if (!upload.ok()) return upload;
  return std::unique_ptr<Upload>(
      std::make_unique<DrillUpload>(*this, key, std::move(upload).value()));
}

Result<ListPage> DrillStore::list(std::string_view prefix, std::string_view after, size_t limit) {
  return around(StoreVerb::list, prefix, {}, [&] { return inner_.list(prefix, after, limit); });
}

Result<bool> DrillStore::remove(std::string_view key) {
  return around(StoreVerb::remove, key, {}, [&] { return inner_.remove(key); });
}

}  // namespace atelier::run
