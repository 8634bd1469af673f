// SPDX-License-Identifier: Apache-2.0
#include "server/triggers/trigger_scan.h"

#include <algorithm>

namespace atelier::server {
namespace {

// The local store walks the folder for each page, services give 1,000 to 5,000 at most.
constexpr size_t kPage = 5000;

}  // namespace

Result<int64_t> TriggerScan::scan(const std::function<bool()>& go_on) {
  ++scans_;
  listing_ = 0;
  int64_t added = 0;
  std::string after;
  do {
    if (!go_on()) return added;
    ListPage page = TRY(store_.list(trigger_.prefix, after, kPage));
    after = std::move(page.next);
    added += TRY(take(std::move(page.objects), false, false));
  } while (!after.empty());
  listed_ = listing_;
  // What was not listed is not there any more, or is known.
  std::erase_if(settling_, [&](const auto& entry) { return entry.second.scan != scans_; });
  return added;
}

Result<int64_t> TriggerScan::look(const std::set<std::string>& paths, bool whole) {
  std::vector<ObjectInfo> infos;
  for (const std::string& path : paths) {
    if (!wants_path(trigger_, path)) continue;
    std::optional<ObjectInfo> info = TRY(store_.head(path));
    if (info) {
      infos.push_back(*std::move(info));
    } else {
      settling_.erase(path);
    }
  }
  return take(std::move(infos), whole, true);
}

Result<int64_t> TriggerScan::look_at_settled() {
  std::set<std::string> due;
  for (const auto& [path, entry] : settling_) {
    if (clock_.now() - entry.since >= trigger_.settle) due.insert(path);
  }
  return look(due, false);
}

std::optional<Clock::Duration> TriggerScan::next_settled() const {
  std::optional<Clock::Duration> next;
  for (const auto& [path, entry] : settling_) {
    const Clock::Duration at = entry.since + trigger_.settle;
    if (!next || at < *next) next = at;
  }
  return next;
}

Result<int64_t> TriggerScan::take(std::vector<ObjectInfo> infos, bool whole, bool has_metadata) {
  std::vector<Blob> wanted;
  // Those of them that go on settling come back; what is known by now, or is not wanted, does not.
  std::map<std::string, Settling> before;
  for (ObjectInfo& info : infos) {
    if (auto node = settling_.extract(info.key)) before.insert(std::move(node));
    if (!wants_path(trigger_, info.key) || !wants_size(trigger_, info.size)) continue;
    Blob blob{place_below(trigger_, info.key),
              {},
              info.size,
              std::move(info.etag),
              std::move(info.metadata)};
    blob.path = std::move(info.key);
    wanted.push_back(std::move(blob));
  }
  listing_ += static_cast<int64_t>(wanted.size());
  std::vector<Blob> due;
  for (Blob& blob : TRY(receipts_.unknown(trigger_, std::move(wanted)))) {
    if (whole || is_settled(blob, before)) due.push_back(std::move(blob));
  }
  if (!has_metadata && trigger_.uses_metadata()) due = TRY(with_metadata(std::move(due)));
  return receipts_.record_seen(trigger_, due);
}

bool TriggerScan::is_settled(const Blob& blob, const std::map<std::string, Settling>& before) {
  if (trigger_.settle.count() == 0) return true;
  const auto seen = before.find(blob.path);
  const bool same =
      seen != before.end() && seen->second.etag == blob.etag && seen->second.size == blob.size;
  const Clock::Duration since = same ? seen->second.since : clock_.now();
  if (clock_.now() - since >= trigger_.settle) return true;
  settling_[blob.path] = {blob.size, blob.etag, since, scans_};
  return false;
}

// What changed since it was listed is left to the next scan.
Result<std::vector<Blob>> TriggerScan::with_metadata(std::vector<Blob> blobs) {
  std::vector<Blob> same;
  for (Blob& blob : blobs) {
    std::optional<ObjectInfo> info = TRY(store_.head(blob.path));
    if (!info || info->etag != blob.etag) continue;
    blob.metadata = std::move(info->metadata);
    same.push_back(std::move(blob));
  }
  return same;
}

}  // namespace atelier::server
