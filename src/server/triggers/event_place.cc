// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "server/triggers/event_body.h"
#include "store/names.h"

namespace atelier::server {
namespace {

constexpr size_t kLongestUrl = 8192;

bool is_name(std::string_view text, std::string_view others) {
  return !text.empty() && text.size() <= 255 && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           others.find(c) != std::string_view::npos;
  });
}

// What stands before the first `separator`, which is taken off with it.
std::string_view next_part(std::string_view& rest, char separator) {
  const size_t end = std::min(rest.find(separator), rest.size());
  const std::string_view part = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return part;
}

// ACCOUNT.blob.core.windows.net, ACCOUNT.z01.blob.storage.azure.net; empty if the host has no such
// name: then the account stands in the path.
std::string_view account_of_host(std::string_view host) {
  const std::string_view account = next_part(host, '.');
  std::string_view service = next_part(host, '.');
  if (service.size() > 1 && service[0] == 'z' && host.find('.') != std::string_view::npos) {
    service = next_part(host, '.');
  }
  const bool is_service = service == "blob" || service == "dfs";
  return is_service && !host.empty() ? account : std::string_view();
}

// Only what may be a key becomes a place.
std::optional<Location> checked(Location place) {
  const bool good = is_name(place.container, "-._$") && !place.container.starts_with('.') &&
                    check_key(place.key).ok() &&
                    (place.scheme != Location::Scheme::azure || is_name(place.account, "-"));
  if (!good) return std::nullopt;
  return place;
}

}  // namespace

std::optional<Location> place_of_event_url(std::string_view url) {
  const size_t colon = url.find("://");
  if (url.size() > kLongestUrl || colon == std::string_view::npos) return std::nullopt;
  const std::string_view scheme = url.substr(0, colon);
  if (scheme == "az" || scheme == "s3" || scheme == "file") {
    const Result<Location> place = parse_location(url);
    if (!place.ok()) return std::nullopt;
    return place->is_file() ? std::optional(*place) : checked(*place);
  }
  const bool is_web = scheme == "https" || scheme == "http";
  if (!is_web || url.find_first_of("?#") != std::string_view::npos) return std::nullopt;
  std::string_view rest = url.substr(colon + 3);
  const std::string_view authority = next_part(rest, '/');
  const std::string_view host = authority.substr(0, authority.rfind(':'));
  if (authority.find('@') != std::string_view::npos) return std::nullopt;
  Location place;
  place.scheme = Location::Scheme::azure;
  place.account = account_of_host(host);
  if (place.account.empty()) place.account = next_part(rest, '/');
  place.container = next_part(rest, '/');
  std::optional<std::string> key = percent_decode(rest);
  // A '%' that encodes nothing: the sender did not encode.
  place.key = key ? *std::move(key) : std::string(rest);
  return checked(std::move(place));
}

std::optional<Location> place_of_s3_event(const std::string& bucket, std::string_view key) {
  if (key.size() > kLongestUrl) return std::nullopt;
  std::string blanks(key);
  std::replace(blanks.begin(), blanks.end(), '+', ' ');
  std::optional<std::string> decoded = percent_decode(blanks);
  if (!decoded) return std::nullopt;
  return place_of_object(bucket, *decoded);
}

std::optional<Location> place_of_object(const std::string& bucket, std::string_view key) {
  if (key.size() > kLongestUrl) return std::nullopt;
  Location place;
  place.scheme = Location::Scheme::s3;
  place.container = bucket;
  place.key = key;
  return checked(std::move(place));
}

}  // namespace atelier::server
