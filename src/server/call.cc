// SPDX-License-Identifier: Apache-2.0
#include "server/call.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace atelier::server {
namespace {

int status_of(Code code) {
  switch (code) {
    case Code::invalid_argument: return 400;
    case Code::invalid_input: return 422;
    case Code::conflict: return 409;
    case Code::unavailable:
    case Code::cancelled: return 503;
    case Code::no_space: return 507;
    case Code::corrupt:
    case Code::internal: return 500;
  }
  return 500;
}

std::string value_or_empty(const std::map<std::string, std::string>& values,
                           const std::string& name) {
  const auto found = values.find(name);
  return found == values.end() ? std::string() : found->second;
}

}  // namespace

std::string Call::query_value(const std::string& name) const { return value_or_empty(query, name); }
std::string Call::header(const std::string& name) const { return value_or_empty(headers, name); }

std::string_view phrase_of(int status) {
  switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 422: return "Unprocessable Content";
    case 429: return "Too Many Requests";
    case 500: return "Internal Server Error";
    case 503: return "Service Unavailable";
    case 507: return "Insufficient Storage";
    default: return "Error";
  }
}

Reply problem(int status, std::string_view detail) {
  const nlohmann::json body = {{"type", "about:blank"},
                               {"title", phrase_of(status)},
                               {"status", status},
                               {"detail", detail}};
  // What a stranger sent may be quoted in it, and need not be UTF-8.
  return Reply{status,
               "application/problem+json",
               body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace),
               {}};
}

Reply problem(const Error& error) {
  Reply reply = problem(status_of(error.code), error.message);
  if (reply.status == 503 || error.retry_after.count() > 0) {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(error.retry_after).count();
    reply.headers["Retry-After"] = std::to_string(std::max<long>(1, seconds));
  }
  return reply;
}

Reply too_many(const Error& error) {
  Reply reply = problem(error);
  if (error.code != Code::unavailable) return reply;
  Reply again = problem(429, error.message);
  again.headers = std::move(reply.headers);
  return again;
}

Reply not_found(std::string_view what) {
  return problem(404, fmt::format("There is no {} here.", what));
}

}  // namespace atelier::server
