// SPDX-License-Identifier: Apache-2.0
#include "cli/client_commands.h"

#include <algorithm>
#include <charconv>

#include "base/clock.h"
#include "cli/inputs.h"
#include "cli/service_client.h"
#include "server/pipeline.h"
#include "server/text_file.h"

namespace atelier::cli {
namespace {

using nlohmann::json;

std::string text_at(const json& from, const char* key) {
  const auto found = from.find(key);
  if (found == from.end() || found->is_null()) return "";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

double number_at(const json& from, const char* key) {
  const auto found = from.find(key);
  return found != from.end() && found->is_number() ? found->get<double>() : 0;
}

const json& list_at(const json& from, const char* key) {
  static const json kNone = json::array();
  const auto found = from.find(key);
  return found != from.end() && found->is_array() ? *found : kNone;
}

struct Pair {
  std::string name, value;
};
Result<Pair> split(const std::string& text, const char* option) {
  const size_t equals = text.find('=');
  if (equals == 0 || equals == std::string::npos) {
    return make_error(Code::invalid_argument, "{} takes name=value, not '{}'.", option, text);
  }
  return Pair{text.substr(0, equals), text.substr(equals + 1)};
}

// A value of the command line in the type that the pipeline's parameter has.
json typed(const std::string& value, const std::string& type) {
  const char* end = value.data() + value.size();
  if (type == "boolean" && (value == "true" || value == "false")) return value == "true";
  if (type == "integer") {
    int64_t number = 0;
    const auto [rest, error] = std::from_chars(value.data(), end, number);
    if (error == std::errc() && rest == end) return number;
  }
  if (type == "number") {
    double number = 0;
    const auto [rest, error] = std::from_chars(value.data(), end, number);
    if (error == std::errc() && rest == end) return number;
  }
  return value;
}

// A path of this machine is made absolute: the service has another working folder.
Result<json> value_of(const Pair& pair, const json& pipeline) {
  const json parameters = pipeline.value("parameters", json::object());
  const json parameter = parameters.value(pair.name, json::object());
  const std::string type = text_at(parameter, "type");
  if (type != "input" && type != "output") return typed(pair.value, type);
  return json(TRY(parse_location(pair.value)).url());
}

Result<json> submission_of(const SubmitOptions& options, ServiceClient& client) {
  json body = {{"pipeline", options.pipeline}, {"parameters", json::object()}};
  std::string path = "/v1/pipelines/" + encode_part(options.pipeline);
  if (options.version > 0) {
    body["version"] = options.version;
    path += fmt::format("?version={}", options.version);
  }
  const json pipeline = TRY(client.ask("GET", path));
  for (const std::string& text : options.parameters) {
    const Pair pair = TRY(split(text, "--set"));
    body["parameters"][pair.name] = TRY(value_of(pair, pipeline));
  }
  for (const std::string& text : options.labels) {
    const Pair pair = TRY(split(text, "--label"));
    body["labels"][pair.name] = pair.value;
  }
  if (!options.pool.empty()) body["pool"] = options.pool;
  if (options.priority != 0) body["priority"] = options.priority;
  if (options.replace) body["replace_output"] = true;
  if (options.max_cost > 0) body["max_cost"] = options.max_cost;
  if (!options.max_time.empty()) {
    constexpr std::array<Unit, 4> kUnits = {{{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}}};
    const auto seconds = parse_with_unit(options.max_time, kUnits);
    if (!seconds) {
      return make_error(Code::invalid_argument,
                        "--max-time takes a time like 90s, 30m, 2h or 1d, not '{}'.",
                        options.max_time);
    }
    body["max_seconds"] = *seconds;
  }
  return body;
}

bool is_over(const std::string& state) { return state != "queued" && state != "running"; }

// Until the run is over.
Result<void> wait_for(ServiceClient& client, const std::string& id, Console& console,
                      const std::stop_token& stop) {
  std::string last;
  for (;;) {
    const json run = TRY(client.ask("GET", "/v1/runs/" + id));
    const std::string state = text_at(run, "state");
    if (state != last) console.say(fmt::format("{} is {}.", id, state));
    last = state;
    if (is_over(state)) {
      console.object(run.dump());
      if (state == "finished") return {};
      return make_error(state == "set_aside" ? Code::invalid_input : Code::internal, "{} is {}: {}",
                        id, state, text_at(run, "reason"));
    }
    if (stop.stop_requested()) {
      return make_error(Code::cancelled, "Interrupted; {} goes on, `atelier cancel {}` ends it.",
                        id, id);
    }
    system_clock().sleep_for(std::chrono::milliseconds(500));
  }
}

}  // namespace

Result<void> submit_command(const SubmitOptions& options, Console& console,
                            const std::stop_token& stop) {
  ServiceClient client = TRY(ServiceClient::open(options.service));
  const json body = TRY(submission_of(options, client));
  std::vector<http::Header> headers;
  if (!options.key.empty()) headers.push_back({"Idempotency-Key", options.key});
  const json answer =
      TRY(client.ask("POST", "/v1/runs", body.dump(-1, ' ', false, json::error_handler_t::replace),
                     "application/json", headers));
  const std::string id = text_at(answer, "id");
  if (options.wait) return wait_for(client, id, console, stop);
  console.object(answer.dump());
  console.result(id);
  return {};
}

Result<void> list_command(const ListOptions& options, Console& console) {
  ServiceClient client = TRY(ServiceClient::open(options.service));
  std::string path = fmt::format("/v1/runs?limit={}", options.limit);
  for (const auto& [name, value] :
       {std::pair("state", options.state), std::pair("pipeline", options.pipeline),
        std::pair("owner", options.owner), std::pair("label", options.label),
        std::pair("since", options.since), std::pair("until", options.until)}) {
    if (!value.empty()) path += fmt::format("&{}={}", name, encode_part(value));
  }
  if (options.before > 0) path += fmt::format("&before={}", options.before);
  const json page = TRY(client.ask("GET", path));
  console.object(page.dump());
  console.say(fmt::format("{:30}  {:9}  {:16}  {:12}  {:24}  {:>8}  {}", "run", "state", "pipeline",
                          "owner", "submitted", "frames", "input"));
  for (const json& run : list_at(page, "runs")) {
    const std::string input = text_at(run, "input");
    console.say(fmt::format("{:30}  {:9}  {:16}  {:12}  {:24}  {:8}  {}", text_at(run, "id"),
                            text_at(run, "state"), text_at(run, "pipeline"), text_at(run, "owner"),
                            text_at(run, "created_at"), number_at(run, "frames"),
                            input.substr(input.rfind('/') + 1)));
  }
  const auto next = page.find("next");
  if (next != page.end() && next->is_number_integer()) {
    console.say(fmt::format("There may be older ones: --before {}.", next->get<int64_t>()));
  }
  return {};
}

Result<void> show_service_run(const std::string& service, const std::string& run,
                              Console& console) {
  ServiceClient client = TRY(ServiceClient::open(service));
  const std::string path = "/v1/runs/" + encode_part(run);
  json shown = TRY(client.ask("GET", path));
  const json chunks = TRY(client.ask("GET", path + "/chunks"));
  shown["steps"] = list_at(chunks, "steps");
  console.object(shown.dump());
  console.say(fmt::format("{}: {}{}{}", run, text_at(shown, "state"),
                          text_at(shown, "reason").empty() ? "" : ": ", text_at(shown, "reason")));
  console.say(fmt::format("  {} {} for {}, pool {}, {} attempt(s), {:.1f} s of work",
                          text_at(shown, "pipeline"), text_at(shown, "version"),
                          text_at(shown, "owner"), text_at(shown, "pool"),
                          text_at(shown, "attempts"), number_at(shown, "busy_seconds")));
  console.say(fmt::format("  {} -> {}", text_at(shown, "input"), text_at(shown, "output")));
  size_t step = 0;
  for (const json& state : shown["steps"]) {
    ++step;
    if (!state.is_object()) continue;
    size_t done = 0;
    const json& list = list_at(state, "chunks");
    for (const json& chunk : list) done += text_at(chunk, "state") == "done" ? 1 : 0;
    console.say(fmt::format("  step {}: {}, {} of {} chunks done", step, text_at(state, "state"),
                            done, list.size()));
  }
  return {};
}

namespace {

Result<void> change_runs(const RunNameOptions& options, const std::string& verb, Console& console) {
  ServiceClient client = TRY(ServiceClient::open(options.service));
  json answers = json::array();
  for (const std::string& run : options.runs) {
    const json answer = TRY(client.ask("POST", "/v1/runs/" + encode_part(run) + "/" + verb));
    console.say(fmt::format("{}: {}", text_at(answer, "id"), text_at(answer, "state")));
    answers.push_back(answer);
  }
  console.object(json{{"runs", std::move(answers)}}.dump());
  return {};
}

// Prints whole lines of what comes in pieces.
class LogLines {
 public:
  explicit LogLines(Console& console) : console_(console) {}
  void add(const std::string& text) {
    rest_ += text;
    const size_t end = rest_.rfind('\n');
    if (end == std::string::npos) return;
    console_.result(rest_.substr(0, end));
    rest_.erase(0, end + 1);
  }
  void end() {
    if (!rest_.empty()) console_.result(rest_);
    rest_.clear();
  }

 private:
  Console& console_;
  std::string rest_;
};

// What follows in `now` on the end of `seen`; the beginning of both may have been left off, since
// the service gives the last few MiB.
std::string what_is_new(const std::string& seen, const std::string& now) {
  constexpr size_t kEnough = 1024;
  if (now.starts_with(seen)) return now.substr(seen.size());
  const std::string tail = seen.substr(seen.size() - std::min(seen.size(), kEnough));
  const size_t at = now.rfind(tail);
  return at == std::string::npos ? now : now.substr(at + tail.size());
}

}  // namespace

Result<void> cancel_command(const RunNameOptions& options, Console& console) {
  return change_runs(options, "cancel", console);
}
Result<void> retry_command(const RunNameOptions& options, Console& console) {
  return change_runs(options, "retry", console);
}
Result<void> rerun_command(const RunNameOptions& options, Console& console) {
  return change_runs(options, options.even_if_changed ? "rerun?exact=false" : "rerun", console);
}

Result<void> logs_command(const LogsOptions& options, Console& console,
                          const std::stop_token& stop) {
  ServiceClient client = TRY(ServiceClient::open(options.service));
  const std::string path = "/v1/runs/" + encode_part(options.run);
  LogLines lines(console);
  std::string seen;  // of a worker's log
  for (size_t offset = 0;;) {
    // Asked before the text, so that what comes after its end is nothing.
    const bool is_last = !options.follow || is_over(text_at(TRY(client.ask("GET", path)), "state"));
    std::string text;
    if (!options.worker.empty() || !options.follow) {
      const std::string query =
          options.worker.empty() ? "" : "?worker=" + encode_part(options.worker);
      std::string whole = TRY(client.text("GET", path + "/logs" + query));
      text = what_is_new(seen, whole);
      seen = std::move(whole);
    } else {
      text = TRY(client.text("GET", fmt::format("{}/logs?offset={}", path, offset)));
      offset += text.size();
    }
    lines.add(text);
    if (is_last && (text.empty() || !options.follow)) break;
    if (stop.stop_requested()) return make_error(Code::cancelled, "Interrupted.");
    if (text.empty()) system_clock().sleep_for(std::chrono::milliseconds(500));
  }
  lines.end();
  return {};
}

Result<void> publish_command(const PublishOptions& options, Console& console) {
  const std::string text =
      TRY(server::read_text_file(options.file, "The pipeline", server::kLongestPipeline));
  const std::string name = TRY(server::parse_pipeline(text)).name;
  ServiceClient client = TRY(ServiceClient::open(options.service));
  const json answer =
      TRY(client.ask("PUT", "/v1/pipelines/" + encode_part(name), text, "application/toml"));
  console.object(answer.dump());
  console.say(
      fmt::format("{} is version {}.", text_at(answer, "name"), text_at(answer, "version")));
  return {};
}

Result<void> token_command(const TokenOptions& options, Console& console) {
  ServiceClient client = TRY(ServiceClient::open(options.service));
  if (options.action == "list") {
    const json answer = TRY(client.ask("GET", "/v1/tokens"));
    console.object(answer.dump());
    for (const json& token : list_at(answer, "tokens")) {
      console.say(fmt::format("{:14}  {:16}  {:9}  until {}{}", text_at(token, "id"),
                              text_at(token, "name"), text_at(token, "role"),
                              text_at(token, "expires_at"),
                              text_at(token, "revoked_at").empty() ? "" : ", revoked"));
    }
    return {};
  }
  if (options.name.empty()) {
    return make_error(Code::invalid_argument, "`atelier token {}` needs {}.", options.action,
                      options.action == "create" ? "a name" : "the id of a token");
  }
  if (options.action == "revoke") {
    TRY(client.ask("DELETE", "/v1/tokens/" + encode_part(options.name)));
    console.object("{}");
    console.say(fmt::format("{} is revoked.", options.name));
    return {};
  }
  const json body = {{"name", options.name},
                     {"role", options.role},
                     {"pipelines", options.pipelines},
                     {"prefixes", options.prefixes},
                     {"days", options.days}};
  const json answer = TRY(
      client.ask("POST", "/v1/tokens", body.dump(-1, ' ', false, json::error_handler_t::replace)));
  console.object(answer.dump());
  console.result(text_at(answer, "token"));
  return {};
}

Result<void> costs_command(const CostsOptions& options, Console& console) {
  ServiceClient client = TRY(ServiceClient::open(options.service));
  const json answer = TRY(client.ask("GET", fmt::format("/v1/costs?days={}", options.days)));
  console.object(answer.dump());
  console.say(fmt::format("{:12}  {:>10}  {:>10}  {:>10}  {:>6}  {:>10}  {:>14}  {:>10}", "pool",
                          "busy h", "idle h", "starting h", "idle %", "cost", "best time-out",
                          "its cost"));
  for (const json& pool : list_at(answer, "pools")) {
    const json own = pool.value("as_configured", json::object());
    const json best = pool.value("cheapest", json::object());
    const std::string timeout = text_at(best, "idle_timeout").empty()
                                    ? "never"
                                    : fmt::format("{:.0f} s", number_at(best, "idle_timeout"));
    console.say(
        fmt::format("{:12}  {:10.2f}  {:10.2f}  {:10.2f}  {:6.1f}  {:10.2f}  {:>14}  {:10.2f}",
                    text_at(pool, "pool"), number_at(own, "busy_seconds") / 3600,
                    number_at(own, "idle_seconds") / 3600,
                    number_at(own, "starting_seconds") / 3600, number_at(own, "idle_share") * 100,
                    number_at(own, "cost"), timeout, number_at(best, "cost")));
  }
  return {};
}

// A copy takes as long as the disk does.
constexpr std::chrono::hours kBackupPatience(6);

Result<void> backup_command(const std::string& service, Console& console) {
  ServiceClient client = TRY(ServiceClient::open(service, kBackupPatience));
  const json answer = TRY(client.ask("POST", "/v1/backup"));
  console.object(answer.dump());
  console.result(text_at(answer, "file"));
  return {};
}

}  // namespace atelier::cli
