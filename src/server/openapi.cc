// SPDX-License-Identifier: Apache-2.0
#include "server/openapi.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "server/openapi_schemas.h"
#include "server/operations_policy.h"

namespace atelier::server {
namespace {

using nlohmann::json;

json of_text() { return {{"type", "string"}}; }

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
    parameters.push_back(
        {{"name", name}, {"in", "path"}, {"required", true}, {"schema", of_text()}});
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
  json responses = {{std::to_string(operation.status), std::move(success)},
                    {"default",
                     {{"description", "What went wrong"},
                      {"content", content("application/problem+json", "Problem")}}}};
  for (const OtherResponse& other : operation.other_responses) {
    responses[std::to_string(other.status)] = {
        {"description", other.summary}, {"content", content("application/json", other.schema)}};
  }
  json made = {{"operationId", operation.id},
               {"summary", operation.summary},
               {"tags", {operation.tag}},
               {"parameters", std::move(parameters)},
               {"responses", std::move(responses)}};
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
       {{"schemas", openapi_schemas()},
        {"securitySchemes", {{"token", {{"type", "http"}, {"scheme", "bearer"}}}}}}},
      {"security", {{{"token", json::array()}}}}};
  return document.dump(2);
}

}  // namespace atelier::server
