// SPDX-License-Identifier: Apache-2.0
// What stores say of objects in headers of HTTP, alike in Azure and S3 (RFC 9110): entity tags,
// conditions, ranges, sizes and dates.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/http/http_client.h"
#include "store/object_store.h"

namespace atelier::http {

// An entity tag without its quotes and without "W/", and with quotes.
std::string unquoted(std::string_view etag);
std::string in_quotes(std::string_view etag);

// If-None-Match or If-Match, where there is a condition.
void add_condition(const Condition& condition, std::vector<Header>& headers);

// Decimal digits and nothing else.
std::optional<uint64_t> parse_number(std::string_view text);

// Etag, size, date and metadata (x-ms-meta-NAME, x-amz-meta-NAME) of the answer to a HEAD; nothing
// if one of the first three is not there. The key is left empty.
std::optional<ObjectInfo> info_of(const Response& response);

// The size of the whole object as the answer to a ranged request from `offset` on tells it; nothing
// if the answer is for something else.
std::optional<uint64_t> total_of(const Response& response, uint64_t offset);

}  // namespace atelier::http
