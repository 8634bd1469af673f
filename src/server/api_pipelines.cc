// SPDX-License-Identifier: Apache-2.0
// Operations on pipelines.
#include <charconv>

#include "server/api.h"
#include "server/api_json.h"
#include "server/audit.h"
#include "server/operation_table.h"
#include "server/operations_policy.h"

namespace atelier::server {
namespace {

using nlohmann::json;

json parameter_json(const Parameter& parameter) {
  json made = {{"type", to_string(parameter.type)},
               {"description", parameter.description},
               {"required", !parameter.optional && !parameter.default_value}};
  if (parameter.default_value) made["default"] = *parameter.default_value;
  if (parameter.least) made["min"] = *parameter.least;
  if (parameter.most) made["max"] = *parameter.most;
  if (!parameter.choices.empty()) made["choices"] = parameter.choices;
  return made;
}

Result<json> full_json(const PublishedPipeline& published) {
  json made = to_json(published);
  made["toml"] = published.toml;
  const Pipeline pipeline = TRY(parse_pipeline(published.toml));
  made["description"] = pipeline.description;
  json parameters = json::object();
  for (const auto& [name, parameter] : pipeline.parameters) {
    parameters[name] = parameter_json(parameter);
  }
  made["parameters"] = std::move(parameters);
  made["scoring_steps"] = pipeline.scores.size();
  return made;
}

class PipelineApi {
 public:
  explicit PipelineApi(ApiParts& parts) : parts_(parts) {}

  Result<Reply> list(const Call& call) {
    json list = json::array();
    TRY(parts_.database.read([&](Connection& connection) -> Result<void> {
      for (const PublishedPipeline& one : TRY(newest_pipelines(connection))) {
        if (may_use_pipeline(call.who, one.name)) list.push_back(to_json(one));
      }
      return {};
    }));
    return json_reply({{"pipelines", std::move(list)}});
  }

  Result<Reply> get(const Call& call) {
    std::optional<int64_t> version;
    const int64_t asked = TRY(integer_of_query(call, "version", 1, INT64_MAX, 0));
    if (asked > 0) version = asked;
    std::optional<PublishedPipeline> found;
    const std::string& name = call.path_parameters.at("name");
    TRY(parts_.database.read([&](Connection& connection) -> Result<void> {
      if (may_use_pipeline(call.who, name)) {
        found = TRY(find_pipeline(connection, name, version));
      }
      return {};
    }));
    if (!found) return not_found("pipeline of that name and version");
    return json_reply(TRY(full_json(*found)));
  }

  Result<Reply> versions(const Call& call) {
    json list = json::array();
    const std::string& name = call.path_parameters.at("name");
    TRY(parts_.database.read([&](Connection& connection) -> Result<void> {
      if (!may_use_pipeline(call.who, name)) return {};
      for (const PublishedPipeline& one : TRY(versions_of_pipeline(connection, name))) {
        list.push_back(to_json(one));
      }
      return {};
    }));
    if (list.empty()) return not_found("pipeline of that name");
    return json_reply({{"versions", std::move(list)}});
  }

  Result<Reply> publish(const Call& call) {
    const std::string& name = call.path_parameters.at("name");
    // What a pipeline's author writes down is not held against the caller's prefixes.
    if (!may_use_pipeline(call.who, name) || !call.who.prefixes.empty()) {
      return problem(403,
                     fmt::format("'{}' may not change the pipeline '{}'.", call.who.name, name));
    }
    std::optional<Publication> publication;
    TRY(parts_.database.write([&](Connection& connection) -> Result<void> {
      publication =
          TRY(publish_pipeline(connection, call.body, name, call.who.name, parts_.wall.now()));
      if (!publication->is_new) return {};
      return audit(connection, call, parts_.wall, "publishPipeline",
                   fmt::format("{}@{}", name, publication->pipeline.version));
    }));
    return json_reply(to_json(publication->pipeline), publication->is_new ? 201 : 200);
  }

 private:
  ApiParts& parts_;
};

}  // namespace

std::vector<Operation> pipeline_operations(ApiParts& parts) {
  const auto api = std::make_shared<PipelineApi>(parts);
  OperationTable table("pipelines");
  table
      .add("listPipelines", "GET", "/v1/pipelines", Role::reader,
           "The newest version of each pipeline.", handle_by(api, &PipelineApi::list))
      .gives("PipelineList");
  table
      .add("getPipeline", "GET", "/v1/pipelines/{name}", Role::reader,
           "A pipeline: its parameters and its text.", handle_by(api, &PipelineApi::get))
      .query("version", "integer", "The newest, unless given")
      .gives("Pipeline");
  table
      .add("listPipelineVersions", "GET", "/v1/pipelines/{name}/versions", Role::reader,
           "All versions, the newest first.", handle_by(api, &PipelineApi::versions))
      .gives("VersionList");
  table
      .add("publishPipeline", "PUT", "/v1/pipelines/{name}", Role::operator_,
           "Publishes a text as the next version; 200 if it is the newest one already.",
           handle_by(api, &PipelineApi::publish))
      .takes("application/toml")
      .gives("Pipeline", 201)
      .also_gives("Pipeline", 200, "It is the newest version as it is.");
  return table.take();
}

}  // namespace atelier::server
