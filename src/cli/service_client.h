// SPDX-License-Identifier: Apache-2.0
// Talking to a service (`atelier serve`) over its REST interface.
//
// Where it is: --service, else $ATELIER_SERVICE, else http://127.0.0.1:8080. Who asks: the token in
// $ATELIER_TOKEN, else in the file $ATELIER_TOKEN_FILE, else in $XDG_CONFIG_HOME/atelier/token;
// files must be readable by their user alone. $ATELIER_CA_FILE names an own authority.
#pragma once

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "store/http/http_client.h"

namespace atelier::cli {

class ServiceClient {
 public:
  // `address`: of --service, or empty. `patience`: with an answer of which nothing comes. Errors:
  // invalid_argument (no address, no token).
  static Result<ServiceClient> open(const std::string& address,
                                    std::chrono::seconds patience = std::chrono::seconds(30));

  // `path`: encoded, "/v1/runs?limit=5". Errors: by the answer's status, with the service's own
  // sentence: invalid_argument (400 to 404, 409), invalid_input (422), unavailable (429, 503, no
  // answer), internal.
  Result<nlohmann::json> ask(const std::string& method, const std::string& path,
                             const std::string& body = "",
                             const std::string& type = "application/json",
                             const std::vector<http::Header>& headers = {});
  // The body as it is.
  Result<std::string> text(const std::string& method, const std::string& path,
                           const std::string& body = "",
                           const std::string& type = "application/json",
                           const std::vector<http::Header>& headers = {});

 private:
  ServiceClient(std::string address, std::string token, std::unique_ptr<http::Client> client)
      : address_(std::move(address)), token_(std::move(token)), client_(std::move(client)) {}
  std::string address_;
  std::string token_;
  std::unique_ptr<http::Client> client_;
};

// A part of a path, or a value of a query: percent_encode (store/names.h), '/' too.
std::string encode_part(std::string_view text);

}  // namespace atelier::cli
