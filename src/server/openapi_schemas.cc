// SPDX-License-Identifier: Apache-2.0
#include "server/openapi_schemas.h"

#include <fmt/format.h>

#include <string>
#include <vector>

namespace atelier::server {
namespace {

using nlohmann::json;

json text() { return {{"type", "string"}}; }
json or_null(const char* type) { return {{"type", {type, "null"}}}; }
json time_text() { return {{"type", "string"}, {"format", "date-time"}}; }
json reference(const char* schema) {
  return {{"$ref", fmt::format("#/components/schemas/{}", schema)}};
}
json list_of(const char* schema) { return {{"type", "array"}, {"items", reference(schema)}}; }
json object(json properties, const std::vector<std::string>& required = {}) {
  json made = {{"type", "object"}, {"properties", std::move(properties)}};
  if (!required.empty()) made["required"] = required;
  return made;
}
json texts() { return {{"type", "array"}, {"items", text()}}; }

json run_schema() {
  const json number = {{"type", "number"}}, integer = {{"type", "integer"}};
  const json time = {{"type", "string"}, {"format", "date-time"}};
  const json time_or_null = {{"type", {"string", "null"}}, {"format", "date-time"}};
  return object(
      {{"id", text()},
       {"state", {{"enum", {"queued", "running", "finished", "failed", "cancelled", "set_aside"}}}},
       {"reason", text()},
       {"pipeline", text()},
       {"version", integer},
       {"pipeline_sha256", text()},
       {"parameters", {{"type", "object"}}},
       {"labels", {{"type", "object"}}},
       {"owner", text()},
       {"pool", text()},
       {"priority", integer},
       {"attempts", integer},
       {"step", integer},
       {"cancel_asked", {{"type", "boolean"}}},
       {"exit_code", or_null("integer")},
       {"created_at", time},
       {"started_at", time_or_null},
       {"ended_at", time_or_null},
       {"not_before", time},
       {"input", text()},
       {"output", text()},
       {"bytes", integer},
       {"runs", texts()},
       {"rerun_of", or_null("string")},
       {"trigger", or_null("string")},
       {"max_cost", or_null("number")},
       {"max_seconds", or_null("number")},
       {"busy_seconds", number},
       {"cost", number},
       {"frames", integer}},
      {"id", "state", "pipeline", "version", "parameters", "owner", "created_at"});
}

json submission_schema() {
  json made = object(
      {{"pipeline", text()},
       {"version", {{"type", "integer"}, {"minimum", 1}}},
       {"parameters", {{"type", "object"}}},
       {"labels", {{"type", "object"}, {"additionalProperties", text()}, {"maxProperties", 32}}},
       {"pool", text()},
       {"priority", {{"type", "integer"}, {"minimum", -100}, {"maximum", 100}}},
       {"replace_output", {{"type", "boolean"}}},
       {"max_cost", {{"type", "number"}, {"exclusiveMinimum", 0}}},
       {"max_seconds", {{"type", "number"}, {"exclusiveMinimum", 0}}}},
      {"pipeline"});
  made["additionalProperties"] = false;
  return made;
}

json token_schema() {
  const json time = {{"type", "string"}, {"format", "date-time"}};
  return object({{"id", text()},
                 {"name", text()},
                 {"role", {{"enum", {"reader", "submitter", "operator", "admin"}}}},
                 {"pipelines", texts()},
                 {"prefixes", texts()},
                 {"created_at", time},
                 {"created_by", text()},
                 {"expires_at", time},
                 {"revoked_at", {{"type", {"string", "null"}}, {"format", "date-time"}}},
                 {"token", text()}},
                {"id", "name", "role"});
}

json pipeline_schema() {
  return object({{"name", text()},
                 {"version", {{"type", "integer"}}},
                 {"sha256", text()},
                 {"published_at", {{"type", "string"}, {"format", "date-time"}}},
                 {"published_by", text()},
                 {"description", text()},
                 {"toml", text()},
                 {"parameters", {{"type", "object"}}},
                 {"scoring_steps", {{"type", "integer"}}}},
                {"name", "version", "sha256"});
}

json delivery_schema() {
  const json integer = {{"type", "integer"}};
  return object({{"seq", integer},
                 {"webhook", text()},
                 {"run", text()},
                 {"event", integer},
                 {"state", {{"enum", {"waiting", "delivered", "given_up"}}}},
                 {"attempts", integer},
                 {"last_error", text()},
                 {"next_at", {{"type", {"string", "null"}}, {"format", "date-time"}}},
                 {"created_at", {{"type", "string"}, {"format", "date-time"}}}},
                {"seq", "webhook", "run", "state", "attempts", "last_error"});
}

json pool_schema() {
  const json number = {{"type", "number"}}, integer = {{"type", "integer"}};
  return object(
      {{"name", text()},
       {"engine", text()},
       {"min", integer},
       {"max", integer},
       {"idle_timeout", or_null("number")},
       {"start_time", number},
       {"price_per_node_hour", number},
       {"preemptible", {{"type", "boolean"}}},
       {"runs", object({{"queued", integer}, {"running", integer}}, {"queued", "running"})}},
      {"name", "engine", "min", "max", "idle_timeout", "price_per_node_hour", "runs"});
}

// Node-seconds and money: of a pool, or of a run's part in it.
json cost_schema(json properties, std::vector<std::string> required) {
  const json number = {{"type", "number"}, {"minimum", 0}};
  for (const char* name : {"busy_seconds", "idle_seconds", "starting_seconds", "cost"}) {
    properties[name] = number;
    required.emplace_back(name);
  }
  properties["starts"] = {{"type", "integer"}, {"minimum", 0}};
  required.emplace_back("starts");
  return object(std::move(properties), required);
}

void add_pool_schemas(json& all) {
  all["Pool"] = pool_schema();
  all["PoolList"] = object({{"pools", list_of("Pool")}}, {"pools"});
  all["PoolCost"] = cost_schema(
      {{"idle_timeout", or_null("number")}, {"idle_share", {{"type", "number"}, {"minimum", 0}}}},
      {"idle_timeout", "idle_share"});
  all["PoolCosts"] = object({{"pool", text()},
                             {"since", time_text()},
                             {"as_configured", reference("PoolCost")},
                             {"cheapest", reference("PoolCost")}},
                            {"pool", "since", "as_configured", "cheapest"});
  all["CostList"] = object({{"pools", list_of("PoolCosts")}}, {"pools"});
  all["RunCost"] = cost_schema({{"name", text()}}, {"name"});
}

void add_trigger_schemas(json& all) {
  const json integer = {{"type", "integer"}};
  all["Trigger"] =
      object({{"name", text()},
              {"kind", text()},
              {"location", text()},
              {"pipeline", text()},
              {"owner", text()},
              {"last_scan", {{"type", "integer"}, {"description", "Milliseconds since 1970, UTC"}}},
              {"last_error", text()},
              {"last_error_at", integer},
              {"listed", integer},
              {"settling", integer},
              {"waiting", integer},
              {"started", integer},
              {"ignored", integer}},
             {"name", "kind", "location", "pipeline", "waiting", "started", "ignored"});
  all["TriggerList"] = object({{"triggers", list_of("Trigger")}}, {"triggers"});
  all["Receipt"] = object({{"url", text()},
                           {"etag", text()},
                           {"seen_at", integer},
                           {"state", {{"enum", {"seen", "submitted", "ignored"}}}},
                           {"run", text()},
                           {"reason", text()}},
                          {"url", "etag", "seen_at", "state"});
  all["ReceiptList"] = object({{"receipts", list_of("Receipt")}}, {"receipts"});
}

void add_system_schemas(json& all) {
  all["Health"] = object({{"state", text()}, {"version", text()}}, {"state", "version"});
  all["State"] = object({{"state", text()}}, {"state"});
  all["Named"] = object({{"name", text()}}, {"name"});
  all["Retried"] = object({{"retried", {{"type", "integer"}}}}, {"retried"});
  all["AuditEntry"] = object({{"seq", {{"type", "integer"}}},
                              {"at", time_text()},
                              {"who", text()},
                              {"address", text()},
                              {"action", text()},
                              {"subject", text()},
                              {"detail", {{"type", {"object", "null"}}}}},
                             {"seq", "at", "who", "action", "subject"});
  all["AuditPage"] = object({{"entries", list_of("AuditEntry")}, {"next", or_null("integer")}},
                            {"entries", "next"});
  all["Backup"] = object({{"file", text()}}, {"file"});
}

// What is known of runs besides themselves.
void add_lineage_schemas(json& all) {
  all["Lineage"] = object({{"run", reference("Run")},
                           {"input_was_made_by", list_of("Run")},
                           {"output_was_used_by", list_of("Run")}},
                          {"run", "input_was_made_by", "output_was_used_by"});
  all["ObjectLineage"] =
      object({{"url", text()}, {"was_made_by", list_of("Run")}, {"was_used_by", list_of("Run")}},
             {"url", "was_made_by", "was_used_by"});
  // As the run folder has it (docs/run-folder.md), which is as old as the run.
  const json state = {{"type", {"object", "null"}}};
  all["Chunks"] =
      object({{"id", text()}, {"steps", {{"type", "array"}, {"items", state}}}}, {"id", "steps"});
  all["Report"] = object({{"pool", reference("RunCost")}});
  all["Report"]["additionalProperties"] = true;
}

}  // namespace

json openapi_schemas() {
  const json integer = {{"type", "integer"}};
  json all;
  add_pool_schemas(all);
  add_trigger_schemas(all);
  add_system_schemas(all);
  add_lineage_schemas(all);
  all["Run"] = run_schema();
  all["RunPage"] =
      object({{"runs", list_of("Run")}, {"next", or_null("integer")}}, {"runs", "next"});
  all["Submission"] = submission_schema();
  all["Submitted"] = object({{"id", text()}, {"state", text()}}, {"id", "state"});
  all["Event"] = object({{"seq", integer},
                         {"run", text()},
                         {"at", {{"type", "string"}, {"format", "date-time"}}},
                         {"kind", text()},
                         {"detail", {{"type", "object"}}}},
                        {"seq", "run", "kind"});
  all["EventList"] = object({{"events", list_of("Event")}}, {"events"});
  all["Pipeline"] = pipeline_schema();
  all["PipelineList"] = object({{"pipelines", list_of("Pipeline")}}, {"pipelines"});
  all["VersionList"] = object({{"versions", list_of("Pipeline")}}, {"versions"});
  all["Token"] = token_schema();
  all["NewToken"] =
      object({{"name", text()},
              {"role", {{"enum", {"reader", "submitter", "operator", "admin"}}}},
              {"pipelines", texts()},
              {"prefixes", texts()},
              {"days", {{"type", "number"}, {"exclusiveMinimum", 0}, {"maximum", 365}}}},
             {"name"});
  all["NewToken"]["additionalProperties"] = false;
  all["TokenList"] = object({{"tokens", list_of("Token")}}, {"tokens"});
  all["Principal"] =
      object({{"name", text()}, {"role", text()}, {"pipelines", texts()}, {"prefixes", texts()}},
             {"name", "role"});
  all["Delivery"] = delivery_schema();
  all["DeliveryPage"] = object({{"deliveries", list_of("Delivery")}, {"next", or_null("integer")}},
                               {"deliveries", "next"});
  all["Problem"] =
      object({{"type", text()}, {"title", text()}, {"status", integer}, {"detail", text()}},
             {"type", "title", "status", "detail"});
  return all;
}

}  // namespace atelier::server
