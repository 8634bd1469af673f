// SPDX-License-Identifier: Apache-2.0
#include "store/http/object_headers.h"

#include <algorithm>
#include <charconv>

namespace atelier::http {
namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return result;
}

std::map<std::string, std::string> metadata_of(const Response& response) {
  std::map<std::string, std::string> metadata;
  for (const Header& header : response.headers) {
    const std::string name = lower(header.name);
    for (const std::string_view prefix : {"x-ms-meta-", "x-amz-meta-"}) {
      if (name.starts_with(prefix)) metadata.emplace(name.substr(prefix.size()), header.value);
    }
  }
  return metadata;
}

}  // namespace

std::string unquoted(std::string_view etag) {
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  if (etag.size() > 1 && etag.front() == '"' && etag.back() == '"') {
    etag = etag.substr(1, etag.size() - 2);
  }
  return std::string(etag);
}

std::string in_quotes(std::string_view etag) { return fmt::format("\"{}\"", etag); }

void add_condition(const Condition& condition, std::vector<Header>& headers) {
  if (condition.kind == Condition::Kind::if_absent) headers.push_back({"If-None-Match", "*"});
  if (condition.kind == Condition::Kind::if_match) {
    headers.push_back({"If-Match", in_quotes(condition.etag)});
  }
}

std::optional<uint64_t> parse_number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

std::optional<ObjectInfo> info_of(const Response& response) {
  ObjectInfo info;
  info.etag = unquoted(response.header("ETag"));
  const auto size = parse_number(response.header("Content-Length"));
  const auto modified = parse_date(response.header("Last-Modified"));
  if (response.status != 200 || !size || !modified || info.etag.empty()) return std::nullopt;
  info.size = *size;
  info.modified = *modified;
  info.metadata = metadata_of(response);
  return info;
}

std::optional<uint64_t> total_of(const Response& response, uint64_t offset) {
  constexpr std::string_view kUnit = "bytes ";  // "bytes 0-4/10"
  const std::string_view range = response.header("Content-Range");
  if (response.status == 200 && offset == 0) return response.body.size();
  if (response.status != 206 || !range.starts_with(kUnit)) return std::nullopt;
  const std::string_view begin = range.substr(kUnit.size());
  if (parse_number(begin.substr(0, begin.find('-'))) != offset) return std::nullopt;
  return parse_number(range.substr(std::min(range.rfind('/') + 1, range.size())));
}

}  // namespace atelier::http
