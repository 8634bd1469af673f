// SPDX-License-Identifier: Apache-2.0
// AWS Signature Version 4 for S3 ("Authenticating Requests: Using the Authorization Header" and
// "Using Query Parameters", Amazon S3 API Reference). Pure functions of their arguments: the time
// is one of them.
//
// S3 differs from other services of Amazon's: a path is encoded once and not normalised, and the
// hash of the body travels in a header of its own, which the server compares with the body.
#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "store/http/http_client.h"

namespace atelier::s3 {

struct Keys {
  std::string access_key;     // is no secret
  std::string secret_key;     // empty: requests are not signed
  std::string session_token;  // of temporary keys; empty: they are not
};

// What a signature is for. None of it may change on the way.
struct Unsigned {
  std::string method;
  std::string host;  // as the Host header has it: with the port, unless it is the scheme's own
  std::string path;  // as it is sent: encoded, from the first '/'
  std::vector<std::pair<std::string, std::string>> query;  // not encoded
  std::vector<http::Header> headers;                       // all are signed; without Host
};

using SystemTime = std::chrono::system_clock::time_point;

// Where and when a signature is good: within 15 minutes of the time.
struct Scope {
  std::string region;
  SystemTime time;
};

// "a=b&c=d", sorted and encoded as the signature has it: send it so.
std::string encoded_query(std::vector<std::pair<std::string, std::string>> query);

// The headers of the request and those that sign it; `payload_sha256` is 64 hex digits, of the
// body.
std::vector<http::Header> signed_headers(Unsigned request, std::string_view payload_sha256,
                                         const Keys& keys, const Scope& scope);

// The query, without '?', that lets whoever has the URL make this request until `lasts` after the
// scope's time; temporary keys may end before. Where the request has headers, they must be sent
// with it. The body is not signed. Errors: invalid_argument (`lasts` is not 1 s to 7 days).
Result<std::string> presigned_query(Unsigned request, const Keys& keys, const Scope& scope,
                                    std::chrono::seconds lasts);

}  // namespace atelier::s3
