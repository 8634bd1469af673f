// SPDX-License-Identifier: Apache-2.0
#include "store/s3/sigv4.h"

#include <algorithm>
#include <map>

#include "base/bytes.h"
#include "base/hash.h"
#include "store/names.h"

namespace atelier::s3 {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";

std::string encode(std::string_view text) {
  std::string encoded = percent_encode(text);
  for (size_t at = 0; (at = encoded.find('/', at)) != std::string::npos; at += 3) {
    encoded.replace(at, 1, "%2F");
  }
  return encoded;
}

// Without blanks at the ends, and with one where there are several.
std::string folded(std::string_view value) {
  std::string text;
  for (const char c : value) {
    const bool blank = c == ' ' || c == '\t';
    if (!blank) text += c;
    if (blank && !text.empty() && text.back() != ' ') text += ' ';
  }
  if (text.ends_with(' ')) text.pop_back();
  return text;
}

// "20130524T000000Z"; the first eight characters are the date.
std::string basic_time(SystemTime time) {
  const time_t seconds = std::chrono::system_clock::to_time_t(time);
  tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}Z", utc.tm_year + 1900, utc.tm_mon + 1,
                     utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

// "20130524/us-east-1/s3/aws4_request"
std::string scope_text(const std::string& time, const std::string& region) {
  return fmt::format("{}/{}/s3/aws4_request", time.substr(0, 8), region);
}

// By lower-case name, with the host; several of one name are joined, as HTTP does.
std::map<std::string, std::string> canonical_headers(const Unsigned& request) {
  std::map<std::string, std::string> headers{{"host", folded(request.host)}};
  for (const http::Header& header : request.headers) {
    std::string name = header.name;
    std::ranges::transform(name, name.begin(), [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    });
    const auto [at, fresh] = headers.emplace(name, folded(header.value));
    if (!fresh) at->second += "," + folded(header.value);
  }
  return headers;
}

std::string names_of(const std::map<std::string, std::string>& headers) {
  std::string names;
  for (const auto& [name, value] : headers) names += (names.empty() ? "" : ";") + name;
  return names;
}

std::string signature_of(const Unsigned& request, std::string_view payload, const Keys& keys,
                         const Scope& scope) {
  const auto headers = canonical_headers(request);
  std::string canonical =
      request.method + "\n" + request.path + "\n" + encoded_query(request.query) + "\n";
  for (const auto& [name, value] : headers) canonical += name + ":" + value + "\n";
  canonical += "\n" + names_of(headers) + "\n" + std::string(payload);
  const std::string time = basic_time(scope.time);
  const std::string to_sign =
      fmt::format("{}\n{}\n{}\n{}", kAlgorithm, time, scope_text(time, scope.region),
                  sha256_hex(as_bytes(canonical)));
  const std::string first = "AWS4" + keys.secret_key;
  Sha256Digest key = hmac_sha256(as_bytes(first), time.substr(0, 8));
  for (const std::string_view part :
       {std::string_view(scope.region), std::string_view("s3"), std::string_view("aws4_request")}) {
    key = hmac_sha256(key, part);
  }
  return to_hex(hmac_sha256(key, to_sign));
}

}  // namespace

std::string encoded_query(std::vector<std::pair<std::string, std::string>> query) {
  for (auto& [name, value] : query) {
    name = encode(name);
    value = encode(value);
  }
  std::ranges::sort(query);
  std::string text;
  for (const auto& [name, value] : query) text += (text.empty() ? "" : "&") + name + "=" + value;
  return text;
}

std::vector<http::Header> signed_headers(Unsigned request, std::string_view payload_sha256,
                                         const Keys& keys, const Scope& scope) {
  const std::string time = basic_time(scope.time);
  request.headers.push_back({"x-amz-content-sha256", std::string(payload_sha256)});
  request.headers.push_back({"x-amz-date", time});
  if (!keys.session_token.empty()) {
    request.headers.push_back({"x-amz-security-token", keys.session_token});
  }
  const std::string names = names_of(canonical_headers(request));
  request.headers.push_back(
      {"Authorization", fmt::format("{} Credential={}/{}, SignedHeaders={}, Signature={}",
                                    kAlgorithm, keys.access_key, scope_text(time, scope.region),
                                    names, signature_of(request, payload_sha256, keys, scope))});
  return std::move(request.headers);
}

Result<std::string> presigned_query(Unsigned request, const Keys& keys, const Scope& scope,
                                    std::chrono::seconds lasts) {
  if (lasts < std::chrono::seconds(1) || lasts > std::chrono::hours(7 * 24)) {
    return Error{Code::invalid_argument,
                 "A presigned URL lasts from one second to seven days; give another time."};
  }
  const std::string time = basic_time(scope.time);
  request.query.push_back({"X-Amz-Algorithm", std::string(kAlgorithm)});
  request.query.push_back(
      {"X-Amz-Credential", keys.access_key + "/" + scope_text(time, scope.region)});
  request.query.push_back({"X-Amz-Date", time});
  request.query.push_back({"X-Amz-Expires", std::to_string(lasts.count())});
  if (!keys.session_token.empty()) {
    request.query.push_back({"X-Amz-Security-Token", keys.session_token});
  }
  request.query.push_back({"X-Amz-SignedHeaders", names_of(canonical_headers(request))});
  const std::string signature = signature_of(request, "UNSIGNED-PAYLOAD", keys, scope);
  request.query.push_back({"X-Amz-Signature", signature});
  return encoded_query(std::move(request.query));
}

}  // namespace atelier::s3
