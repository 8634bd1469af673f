// SPDX-License-Identifier: Apache-2.0
#include "server/router.h"

#include <algorithm>

#include "server/operations_policy.h"

namespace atelier::server {
namespace {

// The next part of a path, which is taken off it.
std::string_view take_part(std::string_view& path) {
  path.remove_prefix(1);
  const size_t end = std::min(path.find('/'), path.size());
  const std::string_view part = path.substr(0, end);
  path.remove_prefix(end);
  return part;
}

}  // namespace

bool match_path(std::string_view pattern, std::string_view path,
                std::map<std::string, std::string>& into) {
  into.clear();
  while (pattern.starts_with('/') && path.starts_with('/')) {
    const std::string_view want = take_part(pattern);
    const std::string_view part = take_part(path);
    if (want.starts_with('{') && want.ends_with('}')) {
      if (part.empty()) return false;
      into[std::string(want.substr(1, want.size() - 2))] = part;
    } else if (want != part) {
      return false;
    }
  }
  return pattern.empty() && path.empty();
}

Router::Router(std::vector<Operation> operations, Gate& gate)
    : operations_(std::move(operations)), gate_(gate) {}

Router::Match Router::find(const Call& call) const {
  Match match;
  std::map<std::string, std::string> parameters;
  for (const Operation& operation : operations_) {
    if (!match_path(operation.path, call.path, parameters)) continue;
    match.methods.push_back(operation.method);
    const bool is_head = call.method == "HEAD" && operation.method == "GET";
    if (operation.method != call.method && !is_head) continue;
    match.operation = &operation;
    match.parameters = parameters;
    return match;
  }
  return match;
}

Reply Router::answer(Call& call, const Operation** chosen) const {
  if (const Result<void> admitted = gate_.admit_address(call); !admitted) {
    return too_many(admitted.error());
  }
  Match match = find(call);
  if (match.operation == nullptr) {
    if (match.methods.empty()) return not_found(fmt::format("'{}'", call.path));
    Reply reply =
        problem(405, fmt::format("'{}' takes {}.", call.path, fmt::join(match.methods, ", ")));
    reply.headers["Allow"] = fmt::format("{}", fmt::join(match.methods, ", "));
    return reply;
  }
  if (chosen != nullptr) *chosen = match.operation;
  call.path_parameters = std::move(match.parameters);
  return check_and_call(call, *match.operation);
}

Reply Router::check_and_call(Call& call, const Operation& operation) const {
  if (operation.role != Role::nobody) {
    Result<Principal> who = gate_.identify(call);
    if (!who && who.error().code == Code::unavailable) return too_many(who.error());
    if (!who) {
      Reply reply = problem(401, who.error().message);
      reply.headers["WWW-Authenticate"] = "Bearer realm=\"atelier\"";
      return reply;
    }
    call.who = std::move(who).value();
    if (const Result<void> admitted = gate_.admit(call.who); !admitted) {
      return too_many(admitted.error());
    }
    if (!may(call.who, operation.role)) {
      return problem(403, fmt::format("'{}' is {}, and this needs {}.", call.who.name,
                                      name_of(call.who.role), name_of(operation.role)));
    }
  }
  const std::string type = call.header("content-type");
  const std::string_view plain = std::string_view(type).substr(0, type.find(';'));
  if (!operation.request_type.empty() && !call.body.empty() && !plain.empty() &&
      plain != operation.request_type && !(operation.takes_text && plain == "text/plain") &&
      plain != "application/octet-stream" && plain != "application/x-www-form-urlencoded" &&
      !plain.ends_with("+json")) {
    return problem(415, fmt::format("The body must be {}.", operation.request_type));
  }
  Result<Reply> reply = operation.handle(call);
  return reply ? std::move(reply).value() : problem(reply.error());
}

}  // namespace atelier::server
