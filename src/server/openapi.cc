// SPDX-License-Identifier: Apache-2.0
#include "server/openapi.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "server/operations_policy.h"

namespace atelier::server {
namespace {

using nlohmann::json;

json text() { return {{"type", "string"}}; }
json or_null(const char* type) { return {{"type", {type, "null"}}}; }
json list_of(const char* schema) {
  return {{"type", "array"}, {"items", {{"$ref", fmt::format("#/components/schemas/{}", schema)}}}};
}
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

json schemas() {
  const json integer = {{"type", "integer"}};
  json all;
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
  all["PoolList"] =
      object({{"pools", {{"type", "array"}, {"items", {{"type", "object"}}}}}}, {"pools"});
  all["CostList"] = all["PoolList"];
  all["TriggerList"] =
      object({{"triggers", {{"type", "array"}, {"items", {{"type", "object"}}}}}}, {"triggers"});
  all["AuditPage"] = object({{"entries", {{"type", "array"}, {"items", {{"type", "object"}}}}},
                             {"next", or_null("integer")}},
                            {"entries", "next"});
  all["Delivery"] = delivery_schema();
  all["DeliveryPage"] = object({{"deliveries", list_of("Delivery")}, {"next", or_null("integer")}},
                               {"deliveries", "next"});
  all["Backup"] = object({{"file", text()}}, {"file"});
  all["Problem"] =
      object({{"type", text()}, {"title", text()}, {"status", integer}, {"detail", text()}},
             {"type", "title", "status", "detail"});
  return all;
}

// The parameters in a path's braces.
std::vector<std::string> names_in(const std::string& path) {
  std::vector<std::string> names;
  for (size_t at = 0; (at = path.find('{', at)) != std::string::npos; ++at) {
    names.push_back(path.substr(at + 1, path.find('}', at) - at - 1));
  }
  return names;
}

json content(const std::string& type, const std::string& schema) {
  json of = json::object();
  if (!schema.empty()) of["schema"] = {{"$ref", "#/components/schemas/" + schema}};
  return {{type, std::move(of)}};
}

json describe(const Operation& operation) {
  json parameters = json::array();
  for (const std::string& name : names_in(operation.path)) {
    parameters.push_back({{"name", name}, {"in", "path"}, {"required", true}, {"schema", text()}});
  }
  for (const OperationParameter& parameter : operation.parameters) {
    parameters.push_back({{"name", parameter.name},
                          {"in", parameter.in},
                          {"description", parameter.summary},
                          {"schema", {{"type", parameter.type}}}});
  }
  json success = {{"description", phrase_of(operation.status)}};
  if (!operation.response_type.empty()) {
    success["content"] = content(operation.response_type, operation.response_schema);
  }
  json made = {{"operationId", operation.id},
               {"summary", operation.summary},
               {"tags", {operation.tag}},
               {"parameters", std::move(parameters)},
               {"responses",
                {{std::to_string(operation.status), std::move(success)},
                 {"default",
                  {{"description", "What went wrong"},
                   {"content", content("application/problem+json", "Problem")}}}}}};
  if (operation.role == Role::nobody) {
    made["security"] = json::array();
  } else {
    made["description"] =
        fmt::format("For tokens of the role {} or above.", name_of(operation.role));
  }
  if (!operation.request_type.empty()) {
    made["requestBody"] = {{"required", true},
                           {"content", content(operation.request_type, operation.request_schema)}};
  }
  return made;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

}  // namespace

std::string make_openapi(const std::vector<Operation>& operations,
                         const std::vector<Operation>& streams, const std::string& version,
                         const std::string& events_address) {
  json paths = json::object();
  for (const Operation& operation : operations)
    paths[operation.path][lower(operation.method)] = describe(operation);
  for (const Operation& operation : streams) {
    json described = describe(operation);
    described["servers"] = {{{"url", events_address}}};
    paths[operation.path][lower(operation.method)] = std::move(described);
  }
  const json document = {
      {"openapi", "3.1.0"},
      {"info",
       {{"title", "Atelier"},
        {"version", version},
        {"summary", "Scores media with deep-learning models in batches."},
        {"license", {{"name", "Apache-2.0"}, {"identifier", "Apache-2.0"}}}}},
      {"paths", std::move(paths)},
      {"components",
       {{"schemas", schemas()},
        {"securitySchemes", {{"token", {{"type", "http"}, {"scheme", "bearer"}}}}}}},
      {"security", {{{"token", json::array()}}}}};
  return document.dump(2);
}

}  // namespace atelier::server
