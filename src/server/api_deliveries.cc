// SPDX-License-Identifier: Apache-2.0
// Operations on what webhooks were told.
#include "server/api.h"
#include "server/api_json.h"
#include "server/audit.h"
#include "server/operation_table.h"

namespace atelier::server {
namespace {

using nlohmann::json;

json to_json(const DeliveryRow& row) {
  return {{"seq", row.seq},
          {"webhook", row.webhook},
          {"run", row.run_id},
          {"event", row.event_seq},
          {"state", row.state},
          {"attempts", row.attempts},
          {"last_error", row.last_error},
          {"next_at", row.state == "waiting" ? json(time_text(row.next_at)) : json()},
          {"created_at", time_text(row.created_at)}};
}

class DeliveryApi {
 public:
  DeliveryApi(ApiParts& parts, DeliveryTools& tools) : parts_(parts), tools_(tools) {}

  Result<Reply> list(const Call& call) {
    if (const auto refusal = refuse_scoped(call.who)) return *refusal;
    DeliveryFilter filter;
    filter.webhook = call.query_value("webhook");
    filter.state = call.query_value("state");
    filter.run_id = call.query_value("run");
    filter.limit = TRY(integer_of_query(call, "limit", 1, 1000, 100));
    filter.before = TRY(integer_of_query(call, "before", 1, INT64_MAX, INT64_MAX));
    json list = json::array();
    json next;
    TRY(parts_.database.read([&](Connection& connection) -> Result<void> {
      const auto rows = TRY(list_deliveries(connection, filter));
      for (const DeliveryRow& row : rows) list.push_back(to_json(row));
      if (static_cast<int64_t>(rows.size()) == filter.limit) next = rows.back().seq;
      return {};
    }));
    return json_reply({{"deliveries", std::move(list)}, {"next", std::move(next)}});
  }

  Result<Reply> redeliver(const Call& call) {
    if (const auto refusal = refuse_scoped(call.who)) return *refusal;
    Call asked = call;
    asked.query["seq"] = call.path_parameters.at("delivery");
    DeliveryFilter filter;
    filter.seq = TRY(integer_of_query(asked, "seq", 1, INT64_MAX, 1));
    std::optional<DeliveryRow> row;
    bool has_webhook = false;
    TRY(parts_.database.write([&](Connection& connection) -> Result<void> {
      auto rows = TRY(list_deliveries(connection, filter));
      if (rows.empty()) return {};
      row = std::move(rows.front());
      has_webhook = tools_.has_webhook(row->webhook);
      if (!has_webhook) return {};
      TRY(deliver_again(connection, row->seq, parts_.wall.now()));
      row = TRY(list_deliveries(connection, filter)).front();
      return audit(connection, call, parts_.wall, "redeliver", std::to_string(row->seq));
    }));
    if (!row) return not_found("delivery of that number");
    if (!has_webhook) {
      return problem(409,
                     fmt::format("The webhook '{}' is not configured any more.", row->webhook));
    }
    tools_.wake();
    return json_reply(to_json(*row));
  }

 private:
  // A message may be of any pipeline's run.
  static std::optional<Reply> refuse_scoped(const Principal& who) {
    if (who.pipelines.empty()) return std::nullopt;
    return problem(403, "Deliveries are looked at with a token that may use all pipelines.");
  }
  ApiParts& parts_;
  DeliveryTools& tools_;
};

}  // namespace

std::vector<Operation> delivery_operations(ApiParts& parts, DeliveryTools& tools) {
  const auto api = std::make_shared<DeliveryApi>(parts, tools);
  OperationTable table("webhooks");
  table
      .add("listDeliveries", "GET", "/v1/deliveries", Role::operator_,
           "What webhooks were told or are to be told, the newest first.",
           handle_by(api, &DeliveryApi::list))
      .query("webhook", "string", "Of this webhook")
      .query("state", "string", "waiting, delivered or given_up")
      .query("run", "string", "Of this run")
      .query("limit", "integer", "At most so many, up to 1000")
      .query("before", "integer", "`next` of the page before")
      .gives("DeliveryPage");
  table
      .add("redeliver", "POST", "/v1/deliveries/{delivery}/redeliver", Role::operator_,
           "Sends a message again, now and then for a day, under the same webhook-id.",
           handle_by(api, &DeliveryApi::redeliver))
      .gives("Delivery");
  return table.take();
}

}  // namespace atelier::server
