// SPDX-License-Identifier: Apache-2.0
#include "store/memory_store.h"

#include <algorithm>
#include <map>

#include "base/mutex.h"
#include "store/names.h"

namespace atelier {
namespace {

class MemoryStore final : public ObjectStore {
 public:
  Result<std::optional<ObjectInfo>> head(std::string_view key) override {
    TRY(check_key(key));
    MutexLock lock(mutex_);
    const auto found = objects_.find(key);
    if (found == objects_.end()) return std::optional<ObjectInfo>();
    return std::optional(info_of(found->first, found->second));
  }

  Result<std::vector<std::byte>> get(std::string_view key, ByteRange range,
                                     std::string_view if_match) override {
    TRY(check_key(key));
    MutexLock lock(mutex_);
    const auto found = objects_.find(key);
    if (found == objects_.end()) {
      return make_error(Code::invalid_input, "{} does not exist; check its name.", url(key));
    }
    const Object& object = found->second;
    if (!if_match.empty() && object.etag != if_match) {
      return make_error(Code::conflict, "{} has changed since it was looked at; start again.",
                        url(key));
    }
    const uint64_t begin = std::min<uint64_t>(range.offset, object.bytes.size());
    const uint64_t length = std::min<uint64_t>(range.length, object.bytes.size() - begin);
    const std::span part = std::span(object.bytes).subspan(begin, length);
    return std::vector<std::byte>(part.begin(), part.end());
  }

  Result<PutOutcome> put(std::string_view key, std::span<const std::byte> bytes,
                         const Condition& condition) override {
    TRY(check_key(key));
    MutexLock lock(mutex_);
    const auto found = objects_.find(key);
    const bool exists = found != objects_.end();
    if (condition.kind == Condition::Kind::if_absent && exists) return PutOutcome{};
    if (condition.kind == Condition::Kind::if_match &&
        (!exists || found->second.etag != condition.etag)) {
      return PutOutcome{};
    }
    Object object{{bytes.begin(), bytes.end()},
                  fmt::format("m{:x}", ++writes_),
                  std::chrono::system_clock::now()};
    PutOutcome outcome{true, object.etag};
    objects_.insert_or_assign(std::string(key), std::move(object));
    return outcome;
  }

  Result<std::unique_ptr<Upload>> begin_upload(std::string_view key) override;

  Result<ListPage> list(std::string_view prefix, std::string_view after, size_t limit) override {
    if (limit == 0) return Error{Code::invalid_argument, "A list needs a limit of at least 1."};
    MutexLock lock(mutex_);
    ListPage page;
    auto at = std::max(prefix, after) == after && !after.empty() ? objects_.upper_bound(after)
                                                                 : objects_.lower_bound(prefix);
    for (; at != objects_.end() && at->first.starts_with(prefix); ++at) {
      if (page.objects.size() == limit) {
        page.next = page.objects.back().key;
        break;
      }
      page.objects.push_back(info_of(at->first, at->second));
    }
    return page;
  }

  Result<bool> remove(std::string_view key) override {
    TRY(check_key(key));
    MutexLock lock(mutex_);
    const auto found = objects_.find(key);
    if (found == objects_.end()) return false;
    objects_.erase(found);
    return true;
  }

  Result<bool> decides_conditions(std::string_view /*key*/) override { return true; }
  std::string url(std::string_view key) const override { return "memory:/" + percent_encode(key); }

 private:
  struct Object {
    std::vector<std::byte> bytes;
    std::string etag;
    std::chrono::system_clock::time_point modified;
  };

  static ObjectInfo info_of(const std::string& key, const Object& object) {
    return {key, object.bytes.size(), object.etag, object.modified};
  }

  Mutex mutex_;
  std::map<std::string, Object, std::less<>> objects_ GUARDED_BY(mutex_);
  uint64_t writes_ GUARDED_BY(mutex_) = 0;
};

class MemoryUpload final : public Upload {
 public:
  MemoryUpload(MemoryStore& store, std::string key) : store_(store), key_(std::move(key)) {}

  Result<void> append(std::span<const std::byte> bytes) override {
    if (ended_) return ended_error();
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return {};
  }

  Result<PutOutcome> commit(const Condition& condition) override {
    if (ended_) return ended_error();
    ended_ = true;
    return store_.put(key_, bytes_, condition);
  }

  void abort() override { ended_ = true; }

 private:
  Error ended_error() const {
    return make_error(Code::internal, "The upload of {} has already ended; begin another one.",
                      store_.url(key_));
  }

  MemoryStore& store_;
  const std::string key_;
  std::vector<std::byte> bytes_;
  bool ended_ = false;
};

Result<std::unique_ptr<Upload>> MemoryStore::begin_upload(std::string_view key) {
  TRY(check_key(key));
  return std::unique_ptr<Upload>(std::make_unique<MemoryUpload>(*this, std::string(key)));
}

}  // namespace

std::unique_ptr<ObjectStore> make_memory_store() { return std::make_unique<MemoryStore>(); }

}  // namespace atelier
