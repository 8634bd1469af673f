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

Result<std::optional<int64_t>> size_of_input(
    const std::string& url,
    const std::function<Result<std::unique_ptr<ObjectStore>>(const Location&)>& open) {
  const Location place = TRY(parse_location(url));
  if (place.is_file()) return size_of_file(url);
  const auto store = TRY(open(place.folder()));
  const auto info = TRY(store->head(place.name()));
  if (!info) return std::optional<int64_t>();
  return std::optional<int64_t>(static_cast<int64_t>(std::min<uint64_t>(info->size, INT64_MAX)));
}

}  // namespace atelier::server
