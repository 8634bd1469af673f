// SPDX-License-Identifier: Apache-2.0
#include "store/encrypting_store.h"

#include <algorithm>

#include "base/mutex.h"
#include "store/encrypted_object.h"
#include "store/names.h"

namespace atelier {
namespace {

using encrypted::Frames;
using encrypted::kFrameSize;
using encrypted::kHeaderSize;
using encrypted::ObjectOpener;
using encrypted::ObjectSealer;

using Bytes = std::vector<std::byte>;

// How often a read without an etag starts anew because the object was replaced meanwhile.
constexpr int kAttempts = 10;
// Objects whose data keys are kept.
constexpr size_t kMostOpened = 64;

bool is_hidden(std::string_view key) { return key.starts_with(kKeysName); }

Result<void> check_user_key(std::string_view key) {
  TRY(check_key(key));
  if (!is_hidden(key)) return {};
  return make_error(Code::invalid_argument,
                    "'{}' cannot name an object: names that begin with '{}' belong to the keys of "
                    "an encrypted store; take another.",
                    percent_encode(key), kKeysName);
}

// An object at one etag, ready to be read.
struct Opened {
  std::string etag;
  ObjectOpener opener;
};
// Shared: a read goes on with what another thread drops from the list.
using OpenedPtr = std::shared_ptr<const Opened>;

// The objects last opened, one etag each. Safe from several threads.
class OpenedObjects {
 public:
  // Null if it is not among them.
  OpenedPtr find(std::string_view key) {
    MutexLock lock(mutex_);
    const auto found = std::ranges::find(entries_, key, &Entry::key);
    if (found == entries_.end()) return nullptr;
    std::rotate(found, found + 1, entries_.end());
    return entries_.back().opened;
  }

  void remember(std::string_view key, OpenedPtr opened) {
    MutexLock lock(mutex_);
    std::erase_if(entries_, [&](const Entry& entry) { return entry.key == key; });
    if (entries_.size() == kMostOpened) entries_.erase(entries_.begin());
    entries_.push_back({std::string(key), std::move(opened)});
  }

  void forget(std::string_view key) {
    MutexLock lock(mutex_);
    std::erase_if(entries_, [&](const Entry& entry) { return entry.key == key; });
  }

 private:
  struct Entry {
    std::string key;
    OpenedPtr opened;
  };
  Mutex mutex_;
  std::vector<Entry> entries_ GUARDED_BY(mutex_);  // last used last
};

class EncryptingStore final : public ObjectStore {
 public:
  EncryptingStore(ObjectStore& inner, MasterKey master, KeyRing ring)
      : inner_(inner),
        master_(std::move(master)),
        ring_(std::make_shared<const KeyRing>(std::move(ring))) {}

  Result<std::optional<ObjectInfo>> head(std::string_view key) override;
  Result<Bytes> get(std::string_view key, ByteRange range, std::string_view if_match) override;
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
  std::shared_ptr<const KeyRing> ring() {
    MutexLock lock(mutex_);
    return ring_;
  }
  Result<std::shared_ptr<const KeyRing>> ring_with(const encrypted::KeyId& id,
                                                   std::string_view key);
  Result<ObjectOpener> open_header(std::string_view key, std::span<const std::byte> header);
  // At `if_match`, or at whatever etag the object has.
  Result<OpenedPtr> open_at(std::string_view key, std::string_view if_match);
  Result<Bytes> get_from_start(std::string_view key, ByteRange range, std::string_view if_match);
  Result<Bytes> get_from_inside(std::string_view key, ByteRange range, std::string_view if_match);
  Result<Bytes> nothing_after_end(std::string_view key, const Opened& opened, uint64_t offset);
  Result<bool> has_visible(std::string_view prefix, std::string after);

  ObjectStore& inner_;
  const MasterKey master_;
  OpenedObjects opened_;
  Mutex mutex_;
  std::shared_ptr<const KeyRing> ring_ GUARDED_BY(mutex_);
};

class EncryptedUpload final : public Upload {
 public:
  EncryptedUpload(ObjectSealer sealer, std::unique_ptr<Upload> inner, std::string url)
      : sealer_(std::move(sealer)), inner_(std::move(inner)), url_(std::move(url)) {}

  Result<void> append(std::span<const std::byte> bytes) override {
    if (ended_) return ended_error();
    Result<void> result = pass_on(sealer_.add(bytes, sealed_));
    broken_ = broken_ || !result.ok();
    return result;
  }

  Result<PutOutcome> commit(const Condition& condition) override {
    if (ended_) return ended_error();
    ended_ = true;
    if (broken_) {
      inner_->abort();
      return make_error(Code::internal,
                        "The upload of {} lacks bytes since an append failed; begin another one.",
                        url_);
    }
    sealer_.finish(sealed_);
    Result<void> rest = pass_on({});
    if (!rest.ok()) {
      inner_->abort();
      return rest.error();
    }
    return inner_->commit(condition);
  }

  void abort() override {
    ended_ = true;
    inner_->abort();
  }

 private:
  Result<void> pass_on(const Result<void>& sealing) {
    if (!sealing.ok()) return sealing;
    if (sealed_.empty()) return {};
    Result<void> result = inner_->append(sealed_);
    sealed_.clear();
    return result;
  }
  Error ended_error() const {
    return make_error(Code::internal, "The upload of {} has already ended; begin another one.",
                      url_);
  }

  ObjectSealer sealer_;
  std::unique_ptr<Upload> inner_;
  const std::string url_;
  Bytes sealed_;  // not yet with the inner upload
  bool ended_ = false;
  bool broken_ = false;  // what arrived is not what was meant
};

// Of the plain bytes from the beginning of frame `first` on, those in the range.
Bytes cut(Bytes bytes, uint64_t first, ByteRange range) {
  const uint64_t begin = std::min<uint64_t>(range.offset - first * kFrameSize, bytes.size());
  const uint64_t length = std::min<uint64_t>(range.length, bytes.size() - begin);
  bytes.resize(begin + length);
  bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(begin));
  return bytes;
}

Error size_error(std::string_view url, uint64_t size) {
  return make_error(Code::corrupt,
                    "{} is not encrypted or was cut: no encrypted object has its {} bytes; restore "
                    "it from a copy, or remove it and make it again.",
                    url, size);
}

// The ring that has the store key; read anew if another process may have added it.
Result<std::shared_ptr<const KeyRing>> EncryptingStore::ring_with(const encrypted::KeyId& id,
                                                                  std::string_view key) {
  std::shared_ptr<const KeyRing> known = ring();
  if (known->find(id) != nullptr) return known;
  auto fresh = std::make_shared<const KeyRing>(TRY(read_key_ring(inner_, master_, &id)));
  {
    MutexLock lock(mutex_);
    ring_ = fresh;
  }
  if (fresh->find(id) != nullptr) return fresh;
  return make_error(Code::corrupt,
                    "{} was encrypted with a store key that this store does not have: it is "
                    "damaged, or was copied here from another store; restore it from a copy.",
                    url(key));
}

Result<ObjectOpener> EncryptingStore::open_header(std::string_view key,
                                                  std::span<const std::byte> header) {
  const encrypted::KeyId id = TRY(encrypted::store_key_of(header, url(key)));
  const std::shared_ptr<const KeyRing> keys = TRY(ring_with(id, key));
  return ObjectOpener::create(header, *keys->find(id), key, url(key));
}

Result<OpenedPtr> EncryptingStore::open_at(std::string_view key, std::string_view if_match) {
  OpenedPtr known = opened_.find(key);
  if (known && (if_match.empty() || if_match == known->etag)) return known;
  std::string etag(if_match);
  if (etag.empty()) {
    const std::optional<ObjectInfo> info = TRY(inner_.head(key));
    if (!info) {
      return make_error(Code::invalid_input, "{} does not exist; check its name.", url(key));
    }
    etag = info->etag;
  }
  const Bytes header = TRY(inner_.get(key, {0, kHeaderSize}, etag));
  ObjectOpener opener = TRY(open_header(key, header));
  auto opened = std::make_shared<const Opened>(Opened{std::move(etag), std::move(opener)});
  opened_.remember(key, opened);
  return OpenedPtr(opened);
}

Result<std::optional<ObjectInfo>> EncryptingStore::head(std::string_view key) {
  TRY(check_user_key(key));
  std::optional<ObjectInfo> info = TRY(inner_.head(key));
  if (!info) return info;
  const std::optional<uint64_t> size = encrypted::plain_size(info->size);
  if (!size) return size_error(url(key), info->size);
  info->size = *size;
  return info;
}

Result<Bytes> EncryptingStore::get(std::string_view key, ByteRange range,
                                   std::string_view if_match) {
  TRY(check_user_key(key));
  if (range.offset < kFrameSize) return get_from_start(key, range, if_match);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    auto bytes = get_from_inside(key, range, if_match);
    if (bytes.ok() || bytes.error().code != Code::conflict) return bytes;
    opened_.forget(key);
    if (!if_match.empty()) return bytes;
  }
  return make_error(Code::unavailable, "{} changes faster than it can be read; try again.",
                    url(key));
}

Result<Bytes> EncryptingStore::get_from_start(std::string_view key, ByteRange range,
                                              std::string_view if_match) {
  const Frames frames = encrypted::frames_of(range);
  const Bytes stored = TRY(inner_.get(key, encrypted::sealed_range(frames), if_match));
  ObjectOpener opener = TRY(open_header(key, stored));
  auto part = TRY(opener.open(frames, std::span(stored).subspan(kHeaderSize)));
  if (!if_match.empty()) {
    opened_.remember(
        key, std::make_shared<const Opened>(Opened{std::string(if_match), std::move(opener)}));
  }
  return cut(std::move(part.bytes), frames.first, range);
}

Result<Bytes> EncryptingStore::get_from_inside(std::string_view key, ByteRange range,
                                               std::string_view if_match) {
  const Frames frames = encrypted::frames_of(range);
  const OpenedPtr opened = TRY(open_at(key, if_match));
  if (frames.first >= encrypted::kMaxFrames) return nothing_after_end(key, *opened, range.offset);
  const Bytes stored = TRY(inner_.get(key, encrypted::sealed_range(frames), opened->etag));
  if (stored.empty()) return nothing_after_end(key, *opened, range.offset);
  auto part = TRY(opened->opener.open(frames, stored));
  return cut(std::move(part.bytes), frames.first, range);
}

// That the object ends before `offset` is believed when its last frame says so, too: it may have
// been cut.
Result<Bytes> EncryptingStore::nothing_after_end(std::string_view key, const Opened& opened,
                                                 uint64_t offset) {
  const std::optional<ObjectInfo> info = TRY(inner_.head(key));
  if (!info) {
    return make_error(Code::invalid_input, "{} does not exist; check its name.", url(key));
  }
  if (info->etag != opened.etag) {
    return make_error(Code::conflict, "{} has changed since it was looked at; start again.",
                      url(key));
  }
  const std::optional<uint64_t> size = encrypted::plain_size(info->size);
  if (!size || *size > offset) return size_error(url(key), info->size);
  const Frames last = encrypted::frames_of({*size == 0 ? 0 : *size - 1, 1});
  const Bytes stored = TRY(inner_.get(key, encrypted::sealed_range(last), opened.etag));
  const size_t skipped = last.first == 0 ? std::min(kHeaderSize, stored.size()) : 0;
  const auto part = TRY(opened.opener.open(last, std::span(stored).subspan(skipped)));
  if (!part.to_end) return size_error(url(key), info->size);
  return Bytes();
}

Result<PutOutcome> EncryptingStore::put(std::string_view key, std::span<const std::byte> bytes,
                                        const Condition& condition) {
  TRY(check_user_key(key));
  ObjectSealer sealer = TRY(ObjectSealer::create(ring()->newest(), key));
  Bytes sealed;
  sealed.reserve(encrypted::sealed_size(bytes.size()));
  TRY(sealer.add(bytes, sealed));
  sealer.finish(sealed);
  return inner_.put(key, sealed, condition);
}

Result<std::unique_ptr<Upload>> EncryptingStore::begin_upload(std::string_view key) {
  TRY(check_user_key(key));
  ObjectSealer sealer = TRY(ObjectSealer::create(ring()->newest(), key));
  std::unique_ptr<Upload> inner = TRY(inner_.begin_upload(key));
  return std::unique_ptr<Upload>(
      std::make_unique<EncryptedUpload>(std::move(sealer), std::move(inner), url(key)));
}

// Whether a page after `after` would show anything.
Result<bool> EncryptingStore::has_visible(std::string_view prefix, std::string after) {
  while (!after.empty()) {
    ListPage page = TRY(inner_.list(prefix, after, 2));
    for (const ObjectInfo& info : page.objects) {
      if (!is_hidden(info.key)) return true;
    }
    after = std::move(page.next);
  }
  return false;
}

Result<ListPage> EncryptingStore::list(std::string_view prefix, std::string_view after,
                                       size_t limit) {
  if (limit > 0 && is_hidden(prefix)) return ListPage{};
  ListPage page;
  page.next = after;
  do {
    ListPage inner = TRY(inner_.list(prefix, page.next, limit - page.objects.size()));
    for (ObjectInfo& info : inner.objects) {
      if (is_hidden(info.key)) continue;
      // A page does not fail for one strange object: it is shown as empty, and reading it tells.
      info.size = encrypted::plain_size(info.size).value_or(0);
      page.objects.push_back(std::move(info));
    }
    page.next = std::move(inner.next);
    if (page.unnamed == 0) page.first_unnamed = std::move(inner.first_unnamed);
    page.unnamed += inner.unnamed;
  } while (!page.next.empty() && page.objects.size() < limit);
  // What follows a full page may be the keys alone, after which there is nothing.
  const bool keys_follow = page.next < kKeysName && kKeysName.starts_with(prefix);
  if (!page.next.empty() && keys_follow && !TRY(has_visible(prefix, page.next))) page.next.clear();
  return page;
}

Result<bool> EncryptingStore::remove(std::string_view key) {
  TRY(check_user_key(key));
  opened_.forget(key);
  return inner_.remove(key);
}

}  // namespace

Result<std::unique_ptr<ObjectStore>> open_encrypting_store(ObjectStore& inner, MasterKey master) {
  KeyRing ring = TRY(open_key_ring(inner, master));
  return std::unique_ptr<ObjectStore>(
      std::make_unique<EncryptingStore>(inner, std::move(master), std::move(ring)));
}

}  // namespace atelier
