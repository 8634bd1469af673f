// SPDX-License-Identifier: Apache-2.0
#include "store/faulty_store.h"

namespace atelier {
namespace {

// SplitMix64's finaliser (Steele, Lea, Flood 2014): every bit of the input reaches every bit of the
// output.
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

}  // namespace

FaultPlan scripted_faults(std::vector<ScriptedFault> script) {
  return [script = std::move(script)](StoreVerb verb, uint64_t nth) {
    for (const ScriptedFault& fault : script) {
      if (fault.verb == verb && fault.nth == nth) return fault.fault;
    }
    return Fault::none;
  };
}

FaultPlan seeded_faults(uint64_t seed, const std::array<FaultRates, kStoreVerbs>& rates) {
  return [seed, rates](StoreVerb verb, uint64_t nth) {
    const auto index = static_cast<size_t>(verb);
    const uint64_t bits = mix(mix(mix(seed) + index) + nth);
    const double draw = static_cast<double>(bits >> 11) * 0x1p-53;  // uniform in [0, 1)
    if (draw < rates[index].before) return Fault::before;
    if (draw < rates[index].before + rates[index].after) return Fault::after;
    return Fault::none;
  };
}

template <class Call>
auto FaultyStore::attempt(StoreVerb verb, std::string_view key, Call call) -> decltype(call()) {
  const Fault fault = plan_(verb, calls_[static_cast<size_t>(verb)]++);
  if (fault == Fault::none) return call();
  ++faults_;
  if (fault == Fault::before) {
    return make_error(code_, "The store did not take the call for {} (planned fault).",
                      inner_.url(key));
  }
  auto result = call();
  if (!result.ok()) return result;
  return make_error(code_, "The answer about {} was lost (planned fault).", inner_.url(key));
}

class FaultyStore::FaultyUpload final : public Upload {
 public:
  FaultyUpload(FaultyStore& store, std::string_view key, std::unique_ptr<Upload> inner)
      : store_(store), key_(key), inner_(std::move(inner)) {}

  Result<void> append(std::span<const std::byte> bytes) override {
    auto result = store_.attempt(StoreVerb::append, key_, [&] { return inner_->append(bytes); });
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
        store_.attempt(StoreVerb::commit, key_, [&] { return inner_->commit(condition); });
    // A commit ends the upload whatever the answer, also when it never reached the inner store.
    inner_->abort();
    return outcome;
  }

  void abort() override { inner_->abort(); }

 private:
  FaultyStore& store_;
  const std::string key_;
  std::unique_ptr<Upload> inner_;
  bool broken_ = false;  // what arrived is not what was meant
};

Result<std::optional<ObjectInfo>> FaultyStore::head(std::string_view key) {
  return attempt(StoreVerb::head, key, [&] { return inner_.head(key); });
}

Result<std::vector<std::byte>> FaultyStore::get(std::string_view key, ByteRange range,
                                                std::string_view if_match) {
  return attempt(StoreVerb::get, key, [&] { return inner_.get(key, range, if_match); });
}

Result<PutOutcome> FaultyStore::put(std::string_view key, std::span<const std::byte> bytes,
                                    const Condition& condition) {
  return attempt(StoreVerb::put, key, [&] { return inner_.put(key, bytes, condition); });
}

Result<std::unique_ptr<Upload>> FaultyStore::begin_upload(std::string_view key) {
  auto upload = attempt(StoreVerb::begin_upload, key, [&] { return inner_.begin_upload(key); });
  if (!upload.ok()) return upload;
  return std::unique_ptr<Upload>(
      std::make_unique<FaultyUpload>(*this, key, std::move(upload).value()));
}

Result<ListPage> FaultyStore::list(std::string_view prefix, std::string_view after, size_t limit) {
  return attempt(StoreVerb::list, prefix, [&] { return inner_.list(prefix, after, limit); });
}

Result<bool> FaultyStore::remove(std::string_view key) {
  return attempt(StoreVerb::remove, key, [&] { return inner_.remove(key); });
}

}  // namespace atelier
