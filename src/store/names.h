// SPDX-License-Identifier: Apache-2.0
// What every kind of store agrees on about keys, and how keys and paths look inside a URL.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace atelier {

// Names that start so belong to the stores themselves: no part of a key may, and no list shows
// them. The local store keeps unfinished writes and locks under such names, beside the objects.
inline constexpr std::string_view kReservedName = ".atelier-tmp-";

// Keys that start so belong to encryption (key_ring.h): an encrypting store keeps its keys there,
// refuses them to its users and leaves them out of its lists. To every other store they are keys
// like any other.
inline constexpr std::string_view kKeysName = ".atelier-keys";

// invalid_argument unless `key` obeys the rule at ObjectStore.
Result<void> check_key(std::string_view key);

// RFC 3986: keeps '/' and unreserved characters, writes every other byte as %XX. So any bytes can
// stand in a message.
std::string percent_encode(std::string_view path);

// Empty if a '%' is not followed by two hex digits.
std::optional<std::string> percent_decode(std::string_view text);

}  // namespace atelier
