// SPDX-License-Identifier: Apache-2.0
// Who may do what, as pure functions of who calls. Routes say which role they need; whatever names
// a pipeline or a place is checked against the scopes of the caller as well.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "server/call.h"

namespace atelier::server {

// "reader", "submitter", "operator", "admin"; "nobody".
std::string_view name_of(Role role);
// Empty for any other name; nobody cannot be named.
std::optional<Role> role_named(std::string_view name);

// A role may do what those before it may; who has no role may nothing.
bool may(const Principal& who, Role needed);

// Use and see.
bool may_use_pipeline(const Principal& who, std::string_view pipeline);

// Whether a location (store/location.h) is one of the caller's prefixes or lies below one, by
// whole parts: "az://a/in" holds "az://a/in/x.mp4" and not "az://a/input"; ".." is followed
// first. What is no location and a relative path lie nowhere: they are refused to who has prefixes.
bool may_use_location(const Principal& who, std::string_view location);

// Whether `maker` may do all that `made` may: no lower role, and no narrower scopes.
bool covers(const Principal& maker, const Principal& made);

// What a caller shows for a token (RFC 6750, 2.1): "Authorization: Bearer ...", and nothing else;
// above all not the query, which ends up in logs. Empty: none, another scheme, or not the
// characters of a token.
std::optional<std::string> bearer_of(const Call& call);

}  // namespace atelier::server
