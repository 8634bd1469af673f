// SPDX-License-Identifier: Apache-2.0
#include "server/submission.h"

#include <map>
#include <nlohmann/json.hpp>

#include "server/operations_policy.h"
#include "server/outputs.h"
#include "server/pipeline_commands.h"

namespace atelier::server {
namespace {

using nlohmann::json;

constexpr int64_t kHighestPriority = 100;

Error wrong(const std::string& key, const char* wanted) {
  return make_error(Code::invalid_argument, "'{}' of the request must be {}.", key, wanted);
}

Result<std::string> text_of(const json& value, const std::string& key) {
  constexpr size_t kLongest = 256;
  if (!value.is_string() || value.get_ref<const std::string&>().size() > kLongest) {
    return wrong(key, "a text of at most 256 bytes");
  }
  return value.get<std::string>();
}

Result<double> bound_of(const json& value, const std::string& key) {
  if (!value.is_number() || !(value.get<double>() > 0)) return wrong(key, "a number above 0");
  return value.get<double>();
}

Result<int64_t> integer_of(const json& value, const std::string& key) {
  // What is above the largest int64_t would be read as a negative one.
  const bool fits = !value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX;
  if (!value.is_number_integer() || !fits) return wrong(key, "a whole number");
  return value.get<int64_t>();
}

Result<std::string> labels_of(const json& value) {
  constexpr size_t kMost = 32;
  if (!value.is_object() || value.size() > kMost)
    return wrong("labels", "at most 32 texts by name");
  for (const auto& item : value.items()) {
    TRY(text_of(json(item.key()), "labels"));
    TRY(text_of(item.value(), "labels"));
  }
  return value.dump();
}

Result<void> read_key(SubmissionRequest& request, const std::string& key, const json& value) {
  if (key == "pipeline") {
    request.pipeline = TRY(text_of(value, key));
  } else if (key == "version") {
    request.version = TRY(integer_of(value, key));
  } else if (key == "parameters") {
    if (!value.is_object()) return wrong(key, "an object");
    request.parameters = value.dump();
  } else if (key == "labels") {
    request.labels = TRY(labels_of(value));
  } else if (key == "pool") {
    request.pool = TRY(text_of(value, key));
  } else if (key == "priority") {
    request.priority = TRY(integer_of(value, key));
    if (request.priority < -kHighestPriority || request.priority > kHighestPriority) {
      return wrong(key, "from -100 to 100");
    }
  } else if (key == "replace_output") {
    if (!value.is_boolean()) return wrong(key, "true or false");
    request.replace_output = value.get<bool>();
  } else if (key == "max_cost") {
    request.max_cost = TRY(bound_of(value, key));
  } else if (key == "max_seconds") {
    request.max_seconds = TRY(bound_of(value, key));
  } else {
    return make_error(Code::invalid_argument,
                      "A request has no '{}'; it has pipeline, version, parameters, labels, pool, "
                      "priority, replace_output, max_cost and max_seconds.",
                      key.substr(0, 64));
  }
  return {};
}

}  // namespace

Result<SubmissionRequest> parse_submission(std::string_view body) {
  constexpr int kDeepest = 8;
  int depth = 0;
  bool too_deep = false;
  const auto watch = [&](int level, json::parse_event_t, const json&) {
    depth = level;
    too_deep = too_deep || level > kDeepest;
    return !too_deep;
  };
  const json read = json::parse(body, watch, false);
  if (too_deep || !read.is_object()) {
    return make_error(Code::invalid_argument,
                      "The body must be a JSON object like {{\"pipeline\": \"paint\", "
                      "\"parameters\": {{}}}}.");
  }
  SubmissionRequest request;
  for (const auto& item : read.items()) TRY(read_key(request, item.key(), item.value()));
  if (request.pipeline.empty()) return wrong("pipeline", "the name of a pipeline");
  return request;
}

Result<void> Submissions::check_places(const RunLocations& places,
                                       const std::vector<std::string>& prefixes) const {
  static const std::vector<std::string> kAny;
  // The service's own folders and the stores' are the same for each: looked at once a request.
  std::map<std::filesystem::path, std::filesystem::path> known;
  const ResolveLinks resolve =
      [&](const std::filesystem::path& path) -> Result<std::filesystem::path> {
    const auto found = known.find(path);
    if (found != known.end()) return found->second;
    std::filesystem::path real = TRY(rules_.resolve(path));
    known.emplace(path, real);
    return real;
  };
  TRY(check_location(rules_.places, resolve, prefixes, places.input, LocationUse::read));
  // What the pipeline's author wrote down is theirs to choose, within the stores.
  TRY(check_location(rules_.places, resolve, places.is_output_callers ? prefixes : kAny,
                     places.output, LocationUse::write));
  for (const ModelUse& use : places.models) {
    TRY(check_location(rules_.places, resolve, use.is_callers ? prefixes : kAny, use.model,
                       LocationUse::model));
  }
  return {};
}

Result<std::string> Submissions::choose_pool(const std::string& asked,
                                             const std::string& own) const {
  const std::string& pool = !asked.empty() ? asked : !own.empty() ? own : rules_.default_pool;
  if (rules_.pools.contains(pool)) return pool;
  return make_error(Code::invalid_argument, "There is no pool '{}'; there is {}.", pool,
                    fmt::join(rules_.pools, ", "));
}

Result<NewRun> Submissions::check(Connection& connection, const SubmissionRequest& request,
                                  const Principal& who) {
  std::optional<PublishedPipeline> published;
  if (may_use_pipeline(who, request.pipeline)) {
    published = TRY(find_pipeline(connection, request.pipeline, request.version));
  }
  if (!published) {
    return make_error(Code::invalid_argument, "There is no pipeline '{}'{}.", request.pipeline,
                      request.version ? fmt::format(" of version {}", *request.version) : "");
  }
  if (request.priority > 0 && who.role < Role::operator_) {
    return make_error(Code::invalid_argument,
                      "A priority above 0 is for operators; '{}' may give 0 or less.", who.name);
  }
  const auto pipeline = TRY(parsed_.of(*published));
  const RunParameters parameters = TRY(fill_parameters(pipeline->parameters, request.parameters));
  const RunLocations places = TRY(locations_of(*pipeline, parameters));
  TRY(check_places(places, who.prefixes));
  NewRun run;
  run.pool = TRY(choose_pool(request.pool, pool_of(*pipeline, parameters)));
  run.pipeline = published->name;
  run.version = published->version;
  run.sha256 = published->sha256;
  run.parameters = parameters.json;
  run.labels = request.labels;
  run.owner = who.name;
  run.priority = request.priority;
  run.input = places.input;
  run.output = places.output;
  run.replace_output = request.replace_output;
  run.replace_own = request.replace_own;
  run.prefixes = who.prefixes;
  run.max_cost = request.max_cost;
  run.max_seconds = request.max_seconds;
  if (rules_.size_of) run.bytes = rules_.size_of(places.input).value_or(0);
  if (run.bytes == 0) run.bytes = request.bytes;
  TRY(check_bytes(run.bytes, who.name));
  return run;
}

Result<void> Submissions::check_bytes(int64_t bytes, const std::string& owner) const {
  const int64_t most = rules_.max_input_bytes_of(owner);
  if (bytes <= most) return {};
  return make_error(Code::invalid_argument, "The input has {} bytes; '{}' may submit {}.", bytes,
                    owner, most);
}

Result<void> Submissions::check_start(const Of& of, const RunRow& run,
                                      std::optional<int64_t> bytes) const {
  TRY(check_places(TRY(locations_of(*of.pipeline, of.parameters)), run.prefixes));
  return check_bytes(bytes.value_or(run.bytes), run.owner);
}

Result<void> Submissions::check_pool(const RunRow& run) const {
  if (rules_.pools.contains(run.pool)) return {};
  return make_error(Code::conflict,
                    "'{}' waits for the pool '{}', which is not there any more; submit it to "
                    "another one ({}).",
                    run.id, run.pool, fmt::join(rules_.pools, ", "));
}

std::vector<std::string> Submissions::known_urls_of(const std::string& url) const {
  return known_urls(url, rules_.resolve);
}

Result<Submissions::Of> Submissions::read_back(Connection& connection, const RunRow& run) {
  const auto published = TRY(find_pipeline(connection, run.pipeline, run.version));
  if (!published) {
    return make_error(Code::invalid_argument,
                      "The pipeline '{}' of version {} is not in the database any more.",
                      run.pipeline, run.version);
  }
  auto pipeline = TRY(parsed_.of(*published));
  RunParameters parameters = TRY(fill_parameters(pipeline->parameters, run.parameters));
  return Of{std::move(pipeline), std::move(parameters)};
}

}  // namespace atelier::server
