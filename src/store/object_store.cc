// SPDX-License-Identifier: Apache-2.0
#include "store/object_store.h"

#include <algorithm>

#include "store/retry.h"

namespace atelier {
namespace {

constexpr size_t kPiece = size_t{8} << 20;

// Reads through get(), so that decorators see, count and repeat every read.
class StoreSource final : public ByteSource {
 public:
  StoreSource(ObjectStore& store, ObjectInfo info) : store_(store), info_(std::move(info)) {}
  uint64_t size() const override { return info_.size; }

  Result<size_t> read_at(uint64_t offset, std::span<std::byte> into) override {
    if (into.empty() || offset >= info_.size) return size_t{0};
    Result<std::vector<std::byte>> bytes = store_.get(info_.key, {offset, into.size()}, info_.etag);
    if (!bytes.ok()) {
      // Absent now, there when it was opened: it changed.
      if (bytes.error().code != Code::invalid_input) return bytes.error();
      return make_error(Code::conflict, "{} was removed while it was being read; start again.",
                        store_.url(info_.key));
    }
    const size_t count = std::min(bytes->size(), into.size());
    std::copy_n(bytes->begin(), count, into.begin());
    return count;
  }

 private:
  ObjectStore& store_;
  const ObjectInfo info_;
};

}  // namespace

Result<std::unique_ptr<ByteSource>> ObjectStore::open_source(std::string_view key,
                                                             std::string_view if_match) {
  std::optional<ObjectInfo> info = TRY(head(key));
  if (!info) {
    return make_error(Code::invalid_input, "{} does not exist; check its name.", url(key));
  }
  if (!if_match.empty() && info->etag != if_match) {
    return make_error(Code::conflict, "{} has changed since it was looked at; start again.",
                      url(key));
  }
  return open_seen(*this, *std::move(info));
}

Result<std::unique_ptr<ByteSource>> open_object(ObjectStore& store, std::string_view key) {
  return store.open_source(key, {});
}

Result<std::unique_ptr<ByteSource>> open_object_at(ObjectStore& store, std::string_view key,
                                                   std::string_view etag) {
  return store.open_source(key, etag);
}

std::unique_ptr<ByteSource> open_seen(ObjectStore& store, ObjectInfo info) {
  return std::make_unique<StoreSource>(store, std::move(info));
}

Result<std::optional<std::vector<std::byte>>> read_object(ObjectStore& store, std::string_view key,
                                                          uint64_t limit) {
  auto bytes = store.get(key, {0, limit + 1});
  if (!bytes.ok() && bytes.error().code == Code::invalid_input) {
    return std::optional<std::vector<std::byte>>();
  }
  std::vector<std::byte> all = TRY(std::move(bytes));
  if (all.size() > limit) {
    return make_error(Code::corrupt, "{} is longer than the {} bytes it may have.", store.url(key),
                      limit);
  }
  return std::optional(std::move(all));
}

Result<std::optional<bool>> same_bytes(ObjectStore& store, std::string_view key,
                                       ByteSource& wanted) {
  const auto info = TRY(store.head(key));
  if (!info) return std::optional<bool>();
  if (info->size != wanted.size()) return std::optional<bool>(false);
  std::vector<std::byte> piece(static_cast<size_t>(std::min<uint64_t>(wanted.size(), kPiece)));
  for (uint64_t offset = 0; offset < wanted.size();) {
    const size_t count = TRY(wanted.read_at(offset, piece));
    const auto there = store.get(key, {offset, count}, info->etag);
    if (!there.ok() && there.error().code == Code::unavailable) return there.error();
    const auto ours = std::span(piece).first(count);
    // Changed or removed since head: what is there now is another object.
    if (count == 0 || !there.ok() || !std::ranges::equal(*there, ours)) {
      return std::optional<bool>(false);
    }
    offset += count;
  }
  return std::optional<bool>(true);
}

Result<std::vector<ObjectInfo>> list_all(ObjectStore& store, std::string_view prefix) {
  ListPage whole = TRY(list_whole(store, prefix));
  return std::move(whole.objects);
}

Result<ListPage> list_whole(ObjectStore& store, std::string_view prefix, size_t at_once) {
  ListPage whole;
  do {
    ListPage page = TRY(store.list(prefix, whole.next, at_once));
    std::move(page.objects.begin(), page.objects.end(), std::back_inserter(whole.objects));
    if (whole.unnamed == 0) whole.first_unnamed = std::move(page.first_unnamed);
    whole.unnamed += page.unnamed;
    whole.next = std::move(page.next);
  } while (!whole.next.empty());
  return whole;
}

Result<PutOutcome> put_source(ObjectStore& store, std::string_view key, ByteSource& source,
                              const Condition& condition) {
  const uint64_t size = source.size();
  std::unique_ptr<Upload> upload = TRY(store.begin_upload(key));
  std::vector<std::byte> piece(static_cast<size_t>(std::min<uint64_t>(size, kPiece)));
  for (uint64_t offset = 0; offset < size;) {
    const size_t wanted = static_cast<size_t>(std::min<uint64_t>(size - offset, piece.size()));
    const size_t count = TRY(source.read_at(offset, std::span(piece).first(wanted)));
    if (count == 0) {
      return make_error(Code::corrupt,
                        "The source of {} ended after {} of {} bytes; make it again.",
                        store.url(key), offset, size);
    }
    TRY(upload->append(std::span(piece).first(count)));
    offset += count;
  }
  return upload->commit(condition);
}

Result<PutOutcome> put_source_repeatedly(ObjectStore& store, std::string_view key,
                                         ByteSource& source, const Condition& condition,
                                         Clock& clock) {
  RetryPolicy policy = store.retries();
  policy.attempts = std::max(policy.attempts, 12);
  return with_retries(policy, clock, [&] { return put_source(store, key, source, condition); });
}

}  // namespace atelier
