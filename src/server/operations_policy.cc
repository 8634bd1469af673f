// SPDX-License-Identifier: Apache-2.0
#include "server/operations_policy.h"

#include <algorithm>
#include <array>

#include "store/location.h"

namespace atelier::server {
namespace {

constexpr std::array<std::string_view, 5> kRoles = {"nobody", "reader", "submitter", "operator",
                                                    "admin"};
constexpr size_t kMostToken = 4096;

bool same_letters(std::string_view text, std::string_view lower_case) {
  return std::ranges::equal(text, lower_case, [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a) == b;
  });
}

// Empty: it is none, or depends on the folder in which somebody stands.
std::optional<Location> fixed_location(std::string_view text) {
  auto location = parse_location(text);
  if (!location) return std::nullopt;
  const bool absolute = text.starts_with('/') || same_letters(text.substr(0, 5), "file:");
  if (location->is_file() && !absolute) return std::nullopt;
  return *std::move(location);
}

bool is_below(std::string_view name, std::string_view prefix) {
  if (prefix.empty() || prefix == "/" || name == prefix) return true;
  return name.size() > prefix.size() && name.starts_with(prefix) && name[prefix.size()] == '/';
}

bool lies_in(const Location& location, const Location& prefix) {
  if (location.scheme != prefix.scheme) return false;
  if (location.is_file()) return is_below(location.path.native(), prefix.path.native());
  return location.account == prefix.account && location.container == prefix.container &&
         is_below(location.key, prefix.key);
}

}  // namespace

std::string_view name_of(Role role) { return kRoles.at(static_cast<size_t>(role)); }

std::optional<Role> role_named(std::string_view name) {
  for (const Role role : {Role::reader, Role::submitter, Role::operator_, Role::admin}) {
    if (name_of(role) == name) return role;
  }
  return std::nullopt;
}

bool may(const Principal& who, Role needed) {
  return who.role != Role::nobody && static_cast<int>(who.role) >= static_cast<int>(needed);
}

bool may_use_pipeline(const Principal& who, std::string_view pipeline) {
  return who.role != Role::nobody &&
         (who.pipelines.empty() ||
          std::ranges::find(who.pipelines, pipeline) != who.pipelines.end());
}

bool may_use_location(const Principal& who, std::string_view location) {
  if (who.role == Role::nobody) return false;
  if (who.prefixes.empty()) return true;
  const auto place = fixed_location(location);
  return place && std::ranges::any_of(who.prefixes, [&](const std::string& prefix) {
           const auto whole = fixed_location(prefix);
           return whole && lies_in(*place, *whole);
         });
}

bool covers(const Principal& maker, const Principal& made) {
  // An empty scope is all, so it is in no list.
  const auto narrower = [](const auto& of_maker, const auto& of_made, const auto& is_in) {
    return of_maker.empty() || (!of_made.empty() && std::ranges::all_of(of_made, is_in));
  };
  return may(maker, made.role) &&
         narrower(maker.pipelines, made.pipelines,
                  [&](const auto& pipeline) { return may_use_pipeline(maker, pipeline); }) &&
         narrower(maker.prefixes, made.prefixes,
                  [&](const auto& prefix) { return may_use_location(maker, prefix); });
}

std::optional<std::string> bearer_of(const Call& call) {
  constexpr std::string_view kScheme = "bearer ";
  std::string token = call.header("authorization");
  if (token.size() <= kScheme.size() || token.size() > kMostToken) return std::nullopt;
  if (!same_letters(std::string_view(token).substr(0, kScheme.size()), kScheme)) {
    return std::nullopt;
  }
  token.erase(0, token.find_first_not_of(' ', kScheme.size()));
  token.erase(token.find_last_not_of(' ') + 1);
  const bool good = !token.empty() && std::ranges::all_of(token, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-._~+/=").find(c) != std::string_view::npos;
  });
  if (!good) return std::nullopt;
  return token;
}

}  // namespace atelier::server
