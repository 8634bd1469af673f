// SPDX-License-Identifier: Apache-2.0
#include "store/remote_store.h"

#include <utility>

#include "store/names.h"

namespace atelier {
namespace {

// Far beyond any object: what begins there is past its end, and no server need be asked for it.
constexpr uint64_t kBeyondAll = uint64_t{1} << 62;

}  // namespace

void UnnamedObjects::see(std::string_view key, uint64_t size) {
  const bool marks_folder = size == 0 && key.ends_with('/');
  const bool is_ours = key.starts_with(kReservedName) ||
                       key.find("/" + std::string(kReservedName)) != std::string_view::npos;
  if (marks_folder || is_ours) return;
  if (count_++ == 0) first_ = key;
}

void UnnamedObjects::tell(ListPage& page) {
  if (count_ > 0 && page.unnamed == 0) page.first_unnamed = std::move(first_);
  page.unnamed += std::exchange(count_, 0);
}

Error RemoteStore::absent(std::string_view key) const {
  return make_error(Code::invalid_input, "{} does not exist; check its name.", url(key));
}

Error RemoteStore::changed(std::string_view key) const {
  return make_error(Code::conflict, "{} has changed since it was looked at; start again.",
                    url(key));
}

Result<std::vector<std::byte>> RemoteStore::get(std::string_view key, ByteRange range,
                                                std::string_view if_match) {
  TRY(check_key(key));
  if (range.length == 0 || range.offset >= kBeyondAll) {
    const auto info = TRY(head(key));
    if (!info) return absent(key);
    if (!if_match.empty() && info->etag != if_match) return changed(key);
    return std::vector<std::byte>();
  }
  return fetch_range(
      range, if_match,
      [&](uint64_t offset, uint64_t length, const std::string& etag) {
        return fetch(key, offset, length, etag);
      },
      largest_fetch());
}

Result<PutOutcome> RemoteStore::put(std::string_view key, std::span<const std::byte> bytes,
                                    const Condition& condition) {
  TRY(check_key(key));
  if (bytes.size() <= kRemotePiece) return put_piece(key, bytes, condition);
  const auto upload = TRY(begin_upload(key));
  TRY(upload->append(bytes));
  return upload->commit(condition);
}

}  // namespace atelier
