// SPDX-License-Identifier: Apache-2.0
// The table of operations: what the service can be asked, who may ask it, and how it is described.
// Requests are routed by it and the OpenAPI document (openapi.h) is made of it, so that the two
// cannot differ.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "server/call.h"

namespace atelier::server {

// A parameter of the path or the query.
struct OperationParameter {
  std::string name;
  std::string in;    // path, query or header
  std::string type;  // string, integer, number or boolean
  std::string summary;
};

// A success of another kind, in JSON.
struct OtherResponse {
  int status = 200;
  std::string schema;
  std::string summary;
};

struct Operation {
  std::string id;       // "submitRun": also the audit table's action
  std::string method;   // GET
  std::string path;     // "/v1/runs/{id}"
  std::string summary;  // a sentence
  std::string tag;
  Role role = Role::admin;                     // at least; nobody: without a token
  std::vector<OperationParameter> parameters;  // besides those of the path
  std::string request_type;                    // media type of the body; empty: there is none
  std::string request_schema;                  // name of a schema (openapi_schemas.h); empty: any
  int status = 200;                            // of success
  std::string response_type = "application/json";
  std::string response_schema;  // name of a schema
  std::vector<OtherResponse> other_responses;
  // Answers it; on an Error the router answers problem(error). Any thread.
  std::function<Result<Reply>(const Call&)> handle;
  bool takes_text = false;  // its body also as text/plain, as SNS sends its JSON
};

// What the router asks before an operation is called. Safe from several threads.
class Gate {
 public:
  virtual ~Gate() = default;
  // Whose token it is. Errors: invalid_argument (none, or not a valid one: 401); unavailable with
  // retry_after where too many wrong ones came from there (429).
  virtual Result<Principal> identify(const Call& call) = 0;
  // Whether this address, and then this principal, may ask once more now. Errors: unavailable with
  // retry_after (429).
  virtual Result<void> admit_address(const Call& call) = 0;
  virtual Result<void> admit(const Principal& who) = 0;
};

// Safe from several threads once it is made.
class Router {
 public:
  Router(std::vector<Operation> operations, Gate& gate);
  const std::vector<Operation>& operations() const { return operations_; }
  // Never fails: what goes wrong is in the reply. Sets the call's path parameters and who calls;
  // `chosen`, if given, is set to the operation that was asked for, where there is one.
  Reply answer(Call& call, const Operation** chosen = nullptr) const;

 private:
  struct Match {
    const Operation* operation = nullptr;
    std::map<std::string, std::string> parameters;
    std::vector<std::string> methods;  // that the path has
  };
  Match find(const Call& call) const;
  Reply check_and_call(Call& call, const Operation& operation) const;
  std::vector<Operation> operations_;
  Gate& gate_;
};

// Whether `path` is of the form of `pattern`, "/v1/runs/{id}"; then its parameters go into `into`.
// A parameter is one part, not empty.
bool match_path(std::string_view pattern, std::string_view path,
                std::map<std::string, std::string>& into);

}  // namespace atelier::server
