// SPDX-License-Identifier: Apache-2.0
// Bytes inside JSON text: base64 (RFC 4648) for binary, percent-encoding (RFC 3986) for names that
// may not be UTF-8.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace atelier {

std::string to_base64(std::span<const std::byte> bytes);
// Characters outside the alphabet are skipped.
std::vector<std::byte> from_base64(std::string_view text);

// Keeps printable ASCII but '%'.
std::string percent_encoded(std::string_view bytes);
std::string percent_decoded(std::string_view text);

}  // namespace atelier
