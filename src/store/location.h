// SPDX-License-Identifier: Apache-2.0
// What a user types for a place: a path or a file: URL (RFC 8089). Other schemes are refused with a
// sentence.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace atelier {

// A path may hold any bytes but NUL; it need not be UTF-8.
struct Location {
  std::filesystem::path path;  // absolute, lexically normal
  // "file:///a%20b": reserved characters and every byte outside printable ASCII are percent-encoded
  // (RFC 3986).
  std::string url() const;
};

// Errors: invalid_argument (empty, an unknown scheme, a bad percent escape, a file: URL with a
// foreign host).
Result<Location> parse_location(std::string_view text);

}  // namespace atelier
