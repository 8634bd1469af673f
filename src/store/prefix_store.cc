// SPDX-License-Identifier: Apache-2.0
#include "store/prefix_store.h"

#include "store/names.h"

namespace atelier {

Result<std::optional<ObjectInfo>> PrefixStore::head(std::string_view key) {
  TRY(check_key(key));
  std::optional<ObjectInfo> info = TRY(inner_->head(whole(key)));
  if (info) info->key = key;
  return info;
}

Result<std::vector<std::byte>> PrefixStore::get(std::string_view key, ByteRange range,
                                                std::string_view if_match) {
  TRY(check_key(key));
  return inner_->get(whole(key), range, if_match);
}

Result<PutOutcome> PrefixStore::put(std::string_view key, std::span<const std::byte> bytes,
                                    const Condition& condition) {
  TRY(check_key(key));
  return inner_->put(whole(key), bytes, condition);
}

Result<std::unique_ptr<Upload>> PrefixStore::begin_upload(std::string_view key) {
  TRY(check_key(key));
  return inner_->begin_upload(whole(key));
}

Result<ListPage> PrefixStore::list(std::string_view prefix, std::string_view after, size_t limit) {
  const std::string from = after.empty() ? std::string() : whole(after);
  ListPage page = TRY(inner_->list(whole(prefix), from, limit));
  for (ObjectInfo& info : page.objects) info.key.erase(0, prefix_.size());
  if (!page.next.empty()) page.next.erase(0, prefix_.size());
  if (page.unnamed > 0) page.first_unnamed.erase(0, prefix_.size());
  return page;
}

Result<bool> PrefixStore::remove(std::string_view key) {
  TRY(check_key(key));
  return inner_->remove(whole(key));
}

}  // namespace atelier
