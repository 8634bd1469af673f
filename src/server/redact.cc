// SPDX-License-Identifier: Apache-2.0
#include "server/redact.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "server/tokens.h"

namespace atelier::server {
namespace {

using nlohmann::json;

constexpr std::string_view kGone = "[redacted]";
constexpr int kDeepest = 32;

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-';
}

// Where a URL inside a text ends at the latest.
bool ends_url(char c) {
  return static_cast<unsigned char>(c) <= ' ' || c == '"' || c == '\'' || c == '<' || c == '>';
}

bool sounds_secret(std::string_view name) {
  constexpr std::array<std::string_view, 13> kParts = {
      "secret",     "token",         "signature",     "password", "passwd",
      "credential", "authorization", "authorisation", "apikey",   "accesskey",
      "accountkey", "privatekey",    "cookie"};
  constexpr std::array<std::string_view, 3> kNames = {"sig", "sas", "pwd"};
  std::string plain;
  for (const char c : name) {
    if (c == '_' || c == '-') continue;
    plain += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  }
  return std::ranges::find(kNames, plain) != kNames.end() ||
         std::ranges::any_of(
             kParts, [&](std::string_view part) { return plain.find(part) != std::string::npos; });
}

// The values of "name=value&name=value".
std::string redacted_values(std::string text) {
  for (size_t equals = text.find('='); equals != std::string::npos;) {
    size_t begin = equals;
    while (begin > 0 && is_word(text[begin - 1])) --begin;
    const size_t end = std::min(text.find_first_of("&;,", equals), text.size());
    if (sounds_secret(std::string_view(text).substr(begin, equals - begin))) {
      text.replace(equals + 1, end - equals - 1, kGone);
    }
    equals = text.find('=', equals + 1);
  }
  return text;
}

// A run of characters without white space or quotes, which may be a URL or a part of one.
std::string redacted_piece(std::string_view piece) {
  const size_t scheme = piece.find("://");
  const bool url = scheme != std::string_view::npos;
  const size_t host = url ? scheme + 3 : 0;
  const size_t mark = std::min(piece.find_first_of("?#", host), piece.size());
  const std::string_view query = piece.substr(mark);
  if (!url && query.find('=') == std::string_view::npos) return redacted_values(std::string(piece));
  std::string result(piece.substr(0, mark));
  if (url) {
    const size_t at = piece.substr(0, piece.find('/', host)).rfind('@');
    const bool has_user = at != std::string_view::npos && at >= host;
    if (has_user) result.replace(host, std::min(at, mark) - host, kGone);
    if (has_user && mark < at) return result;  // a password that was not encoded
  }
  result = redacted_values(std::move(result));
  result += query.size() > 1 ? query.substr(0, 1) : query;
  if (query.size() > 1) result += kGone;
  return result;
}

std::string without_tokens(std::string text) {
  for (size_t at = text.find(kTokenPrefix); at != std::string::npos;
       at = text.find(kTokenPrefix, at + kGone.size())) {
    size_t end = at + kTokenPrefix.size();
    while (end < text.size() && is_word(text[end])) ++end;
    text.replace(at, end - at, kGone);
  }
  return text;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by kDeepest.
json redacted_value(const json& value, int depth) {
  if (depth > kDeepest) return kGone;
  if (value.is_string()) return redacted(value.get_ref<const std::string&>());
  if (value.is_array()) {
    json list = json::array();
    for (const json& item : value) list.push_back(redacted_value(item, depth + 1));
    return list;
  }
  if (!value.is_object()) return value;
  json object = json::object();
  for (const auto& [name, item] : value.items()) {
    object[redacted(name)] = sounds_secret(name) ? json(kGone) : redacted_value(item, depth + 1);
  }
  return object;
}

}  // namespace

std::string redacted(std::string_view text) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    while (end < text.size() && !ends_url(text[end])) ++end;
    result += redacted_piece(text.substr(at, end - at));
    if (end < text.size()) result += text[end++];
    at = end;
  }
  return without_tokens(std::move(result));
}

Result<std::string> redacted_json(std::string_view text) {
  const json value = json::parse(text, nullptr, false);
  if (value.is_discarded()) {
    return Error{Code::invalid_argument, "What is to be written down is no JSON; give an object."};
  }
  return redacted_value(value, 0).dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace atelier::server
