// SPDX-License-Identifier: Apache-2.0
// Operations on triggers.
#include "server/api.h"
#include "server/api_json.h"
#include "server/audit.h"
#include "server/operation_table.h"
#include "server/operations_policy.h"

namespace atelier::server {
namespace {

constexpr int64_t kRetriedTogether = 500;

using nlohmann::json;

class TriggerApi {
 public:
  TriggerApi(ApiParts& parts, TriggerTools& triggers) : parts_(parts), triggers_(triggers) {}

  Result<Reply> list(const Call& call) {
    json list = json::array();
    for (const TriggerReport& report : TRY(triggers_.service.reports())) {
      if (!may_use_pipeline(call.who, report.trigger.pipeline)) continue;
      list.push_back(json::parse(to_json(report), nullptr, false));
    }
    return json_reply({{"triggers", std::move(list)}});
  }

  Result<Reply> put(const Call& call) {
    const std::string& name = call.path_parameters.at("name");
    if (const auto refusal = refuse_scoped(call.who)) return *refusal;
    const Trigger trigger = TRY(parse_trigger(call.body));
    if (trigger.name != name) {
      return make_error(Code::invalid_argument,
                        "The text is of the trigger '{}', and was put as '{}'; they must be the "
                        "same.",
                        trigger.name, name);
    }
    if (triggers_.is_configured(name)) return configured(name);
    TRY(triggers_.check(trigger));
    TRY(parts_.database.write([&](Connection& connection) -> Result<void> {
      TRY(
          connection.run("INSERT INTO triggers (name, toml, changed_at, changed_by) VALUES (?, ?, "
                         "?, ?) ON CONFLICT DO UPDATE SET toml = excluded.toml, changed_at = "
                         "excluded.changed_at, changed_by = excluded.changed_by",
                         {name, call.body, parts_.wall.now(), call.who.name}));
      return audit(connection, call, parts_.wall, "putTrigger", name);
    }));
    TRY(triggers_.reload());
    return json_reply({{"name", name}});
  }

  Result<Reply> remove(const Call& call) {
    const std::string& name = call.path_parameters.at("name");
    if (const auto refusal = refuse_scoped(call.who)) return *refusal;
    if (triggers_.is_configured(name)) return configured(name);
    int64_t removed = 0;
    TRY(parts_.database.write([&](Connection& connection) -> Result<void> {
      removed = TRY(connection.run("DELETE FROM triggers WHERE name = ?", {name}));
      if (removed == 0) return {};
      return audit(connection, call, parts_.wall, "deleteTrigger", name);
    }));
    if (removed == 0) return not_found("trigger of that name");
    TRY(triggers_.reload());
    return Reply{204, "", "", {}};
  }

  Result<Reply> receipts(const Call& call) {
    const std::string& name = call.path_parameters.at("name");
    if (!TRY(may_see(call.who, name))) return not_found("trigger of that name");
    const int64_t limit = TRY(integer_of_query(call, "limit", 1, 1000, 100));
    const auto found = TRY(triggers_.service.receipts().list(
        name, call.query_value("state"), call.query_value("after_url"),
        call.query_value("after_etag"), static_cast<size_t>(limit)));
    json list = json::array();
    for (const Receipt& receipt : found) {
      list.push_back(json::parse(to_json(receipt), nullptr, false));
    }
    return json_reply({{"receipts", std::move(list)}});
  }

  Result<Reply> retry_receipts(const Call& call) {
    const std::string& name = call.path_parameters.at("name");
    if (const auto refusal = refuse_scoped(call.who)) return *refusal;
    if (!TRY(may_see(call.who, name)) || !triggers_.service.wake(name)) {
      return not_found("trigger of that name");
    }
    int64_t retried = 0;
    const std::string url = call.query_value("url");
    // Some at a time: a trigger may have ignored a million, and everybody who writes would wait.
    RetriedPage page;
    do {
      const RetriedPage after = page;
      TRY(parts_.database.write([&](Connection& connection) -> Result<void> {
        page = TRY(retry_ignored(connection, name, url, after, kRetriedTogether));
        return {};
      }));
      retried += page.retried;
    } while (page.retried == kRetriedTogether);
    TRY(parts_.database.write([&](Connection& connection) {
      return audit(connection, call, parts_.wall, "retryReceipts", name,
                   json{{"retried", retried}, {"url", url}}.dump());
    }));
    triggers_.service.wake(name);
    return json_reply({{"retried", retried}});
  }

  Result<Reply> take_events(const Call& call) {
    const std::string& name = call.path_parameters.at("name");
    // The handshake of OPTIONS comes without a token, and tells nothing.
    if (call.method != "OPTIONS" && !TRY(may_see(call.who, name))) {
      return not_found("trigger of that name");
    }
    return triggers_.service.handle_event(name, call);
  }

 private:
  // A trigger's runs have the service's whole rights: who has a part of them cannot give all.
  static std::optional<Reply> refuse_scoped(const Principal& who) {
    if (who.pipelines.empty() && who.prefixes.empty()) return std::nullopt;
    return problem(403, "Triggers are changed with a token that has no scopes.");
  }
  Result<bool> may_see(const Principal& who, const std::string& name) {
    if (who.pipelines.empty()) return true;
    for (const TriggerReport& report : TRY(triggers_.service.reports())) {
      if (report.trigger.name == name) return may_use_pipeline(who, report.trigger.pipeline);
    }
    return false;
  }
  static Reply configured(const std::string& name) {
    return problem(409, fmt::format("The trigger '{}' is in the configuration of the service; "
                                    "change it there and send the service SIGHUP.",
                                    name));
  }
  ApiParts& parts_;
  TriggerTools& triggers_;
};

}  // namespace

std::vector<Operation> trigger_operations(ApiParts& parts, TriggerTools& triggers) {
  const auto api = std::make_shared<TriggerApi>(parts, triggers);
  OperationTable table("triggers");
  table
      .add("listTriggers", "GET", "/v1/triggers", Role::reader,
           "The triggers, what they saw and started.", handle_by(api, &TriggerApi::list))
      .gives("TriggerList");
  table
      .add("putTrigger", "PUT", "/v1/triggers/{name}", Role::operator_,
           "Makes or changes a trigger; it works at once.", handle_by(api, &TriggerApi::put))
      .takes("application/toml")
      .gives("Named");
  table
      .add("deleteTrigger", "DELETE", "/v1/triggers/{name}", Role::operator_,
           "Ends a trigger; what it saw stays known.", handle_by(api, &TriggerApi::remove))
      .gives_nothing();
  table
      .add("listReceipts", "GET", "/v1/triggers/{name}/receipts", Role::reader,
           "The blobs that a trigger saw, and what became of them.",
           handle_by(api, &TriggerApi::receipts))
      .query("state", "string", "seen, submitted or ignored")
      .query("after_url", "string", "The last URL of the page before")
      .query("after_etag", "string", "The last etag of the page before")
      .query("limit", "integer", "At most so many, up to 1000")
      .gives("ReceiptList");
  table
      .add("retryReceipts", "POST", "/v1/triggers/{name}/receipts/retry", Role::operator_,
           "Tries what a trigger ignored again, after what was wrong with it or with its pipeline "
           "was mended.",
           handle_by(api, &TriggerApi::retry_receipts))
      .query("url", "string", "Of this blob alone")
      .gives("Retried");
  table
      .add("takeEvents", "POST", "/v1/triggers/{name}/events", Role::submitter,
           "Takes events of Azure Event Grid, of S3 (also by SNS and EventBridge), or CloudEvents, "
           "and their handshake.",
           handle_by(api, &TriggerApi::take_events))
      .takes_json()
      .also_takes_text();
  table
      .add("greetEvents", "OPTIONS", "/v1/triggers/{name}/events", Role::nobody,
           "The handshake of CloudEvents' webhooks.", handle_by(api, &TriggerApi::take_events))
      .gives_nothing(200);
  return table.take();
}

}  // namespace atelier::server
