// SPDX-License-Identifier: Apache-2.0
// Operations on tokens.
#include "server/api.h"
#include "server/api_json.h"
#include "server/operation_table.h"
#include "server/operations_policy.h"

namespace atelier::server {
namespace {

using nlohmann::json;

json token_json(const TokenInfo& token) {
  return {{"id", token.id},
          {"name", token.principal.name},
          {"role", name_of(token.principal.role)},
          {"pipelines", token.principal.pipelines},
          {"prefixes", token.principal.prefixes},
          {"created_at", time_text(token.created_at)},
          {"created_by", token.created_by},
          {"expires_at", time_text(token.expires_at)},
          {"revoked_at", token.revoked_at ? json(time_text(*token.revoked_at)) : json()}};
}

Result<std::vector<std::string>> texts_of(const json& value, const std::string& key) {
  std::vector<std::string> texts;
  if (value.is_array()) {
    for (const json& text : value) {
      if (text.is_string()) texts.push_back(text.get<std::string>());
    }
  }
  if (!value.is_array() || texts.size() != value.size()) {
    return make_error(Code::invalid_argument, "'{}' must be a list of texts.", key);
  }
  return texts;
}

Result<NewToken> parse_token(const std::string& body) {
  const json read = json::parse(body, nullptr, false);
  if (!read.is_object()) {
    return make_error(Code::invalid_argument,
                      "The body must be a JSON object like {{\"name\": \"ann\", \"role\": "
                      "\"submitter\"}}.");
  }
  NewToken token;
  for (const auto& item : read.items()) {
    const std::string& key = item.key();
    const json& value = item.value();
    if (key == "name" && value.is_string()) {
      token.name = value.get<std::string>();
    } else if (key == "role" && value.is_string()) {
      const auto role = role_named(value.get<std::string>());
      if (!role) {
        return make_error(Code::invalid_argument,
                          "'role' must be reader, submitter, operator or admin.");
      }
      token.role = *role;
    } else if (key == "pipelines") {
      token.pipelines = TRY(texts_of(value, key));
    } else if (key == "prefixes") {
      token.prefixes = TRY(texts_of(value, key));
    } else if (key == "days" && value.is_number() && value.get<double>() > 0 &&
               value.get<double>() <= 365) {
      token.lifetime = static_cast<Millis>(value.get<double>() * 24 * 3600 * 1000);
    } else {
      return make_error(Code::invalid_argument,
                        "'{}' of a token is not right; it has name, role, pipelines, prefixes and "
                        "days (up to 365).",
                        key.substr(0, 64));
    }
  }
  return token;
}

}  // namespace

std::vector<Operation> token_operations(ApiParts& parts) {
  const auto create = [&parts](const Call& call) -> Result<Reply> {
    const MadeToken made = TRY(parts.tokens.create(call, TRY(parse_token(call.body))));
    json body = token_json(made.info);
    body["token"] = made.secret;
    return json_reply(body, 201);
  };
  const auto list = [&parts](const Call& call) -> Result<Reply> {
    json tokens = json::array();
    for (const TokenInfo& token : TRY(parts.tokens.list(call.who))) {
      tokens.push_back(token_json(token));
    }
    return json_reply({{"tokens", std::move(tokens)}});
  };
  const auto revoke = [&parts](const Call& call) -> Result<Reply> {
    if (TRY(parts.tokens.revoke(call, call.path_parameters.at("id"))))
      return Reply{204, "", "", {}};
    return not_found("token of that id that you may revoke");
  };
  const auto who = [](const Call& call) -> Result<Reply> {
    return json_reply({{"name", call.who.name},
                       {"role", name_of(call.who.role)},
                       {"pipelines", call.who.pipelines},
                       {"prefixes", call.who.prefixes}});
  };
  OperationTable table("tokens");
  table
      .add("createToken", "POST", "/v1/tokens", Role::operator_,
           "A token, told once; it may no more than yours.", create)
      .takes_json("NewToken")
      .gives("Token", 201);
  table
      .add("listTokens", "GET", "/v1/tokens", Role::operator_,
           "The tokens that may no more than yours.", list)
      .gives("TokenList");
  table
      .add("revokeToken", "DELETE", "/v1/tokens/{id}", Role::operator_, "Ends a token at once.",
           revoke)
      .gives_nothing();
  table
      .add("whoAmI", "GET", "/v1/whoami", Role::reader, "Name, role and scopes of your token.", who)
      .gives("Principal");
  return table.take();
}

}  // namespace atelier::server
