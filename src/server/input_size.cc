// SPDX-License-Identifier: Apache-2.0
#include "server/input_size.h"

#include <algorithm>
#include <filesystem>

namespace atelier::server {

std::optional<int64_t> size_of_file(const std::string& url) {
  const auto place = parse_location(url);
  if (!place.ok() || !place->is_file()) return std::nullopt;
  std::error_code error;
  const auto size = std::filesystem::file_size(place->path, error);
  if (error) return std::nullopt;
  return static_cast<int64_t>(size);
}

Result<std::optional<int64_t>> InputSizes::of(const std::string& url, Clock::Duration now) {
  constexpr std::chrono::seconds kLeftAlone(60);
  const Location place = TRY(parse_location(url));
  if (place.is_file()) return size_of_file(url);
  const std::string written = place.url();
  const std::string server = written.substr(0, written.find('/', written.find("//") + 2));
  if (const auto away = away_.find(server); away != away_.end()) {
    if (now < away->second.until) return away->second.error;
    away_.erase(away);
  }
  auto size = ask(place);
  if (!size.ok() && size.error().code == Code::unavailable) {
    away_[server] = {size.error(), now + kLeftAlone};
  }
  return size;
}

Result<std::optional<int64_t>> InputSizes::ask(const Location& place) {
  const auto store = TRY(open_(place.folder()));
  const auto info = TRY(store->head(place.name()));
  if (!info) return std::optional<int64_t>();
  return std::optional<int64_t>(static_cast<int64_t>(std::min<uint64_t>(info->size, INT64_MAX)));
}

}  // namespace atelier::server
