// SPDX-License-Identifier: Apache-2.0
// A request and its answer as values, without any HTTP library: what operations are written and
// tested against. Errors are Problem Details (RFC 9457).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace atelier::server {

// Each may do what those before it may.
enum class Role { nobody, reader, submitter, operator_, admin };

// Who calls: a token, or a trigger on behalf of its owner.
struct Principal {
  std::string name;  // what runs and the audit table call it; empty: nobody
  Role role = Role::nobody;
  std::vector<std::string> pipelines;  // that it may use and see; empty: all
  std::vector<std::string> prefixes;   // URLs below which its runs may read and write; empty: all
};

struct Call {
  std::string method;                                  // GET
  std::string path;                                    // decoded, "/v1/runs/abc"
  std::map<std::string, std::string> path_parameters;  // by the router: {"id", "abc"}
  std::map<std::string, std::string> query;            // decoded; of equal names the first
  std::map<std::string, std::string> headers;          // names in lower case
  std::string body;
  std::string address;  // of the peer, without port
  Principal who;        // by the router, from the token

  // Empty if there is none.
  std::string query_value(const std::string& name) const;
  std::string header(const std::string& name) const;
};

struct Reply {
  int status = 200;
  std::string type = "application/json";
  std::string body;
  std::map<std::string, std::string> headers;
};

// application/problem+json; `title` is the status's phrase, `detail` a sentence.
Reply problem(int status, std::string_view detail);
// By the error's code: invalid_argument 400, invalid_input 422, conflict 409, unavailable 503 with
// Retry-After, no_space 507, else 500.
Reply problem(const Error& error);
// The same, but 429 where it is unavailable: who asks has to come again later.
Reply too_many(const Error& error);
Reply not_found(std::string_view what);
// The phrase of RFC 9110.
std::string_view phrase_of(int status);

}  // namespace atelier::server
