// SPDX-License-Identifier: Apache-2.0
// Operations on runs: submit, list, look at, cancel, retry, repeat, delete, lineage.
#include <fcntl.h>

#include <algorithm>
#include <fstream>

#include "base/file.h"
#include "base/hash.h"
#include "server/api.h"
#include "server/api_json.h"
#include "server/audit.h"
#include "server/operation_table.h"
#include "server/operations_policy.h"
#include "server/pool_report.h"

namespace atelier::server {
namespace {

using nlohmann::json;

constexpr uint64_t kMostLog = uint64_t{4} << 20;

class RunApi {
 public:
  explicit RunApi(ApiParts& parts) : parts_(parts) {}

  Result<Reply> submit(const Call& call) {
    const SubmissionRequest request = TRY(parse_submission(call.body));
    const std::string key = call.header("idempotency-key");
    constexpr size_t kLongestKey = 256;
    if (key.size() > kLongestKey) {
      return make_error(Code::invalid_argument, "An Idempotency-Key has at most 256 bytes.");
    }
    NewRun run;
    TRY(parts_.database.read([&](Connection& connection) -> Result<void> {
      run = TRY(parts_.submissions.check(connection, request, call.who));
      return {};
    }));
    return add(call, run, key, "submitRun");
  }

  Result<Reply> list(const Call& call) {
    RunFilter filter;
    if (const std::string state = call.query_value("state"); !state.empty()) {
      filter.state = run_state_from(state);
      if (!filter.state) {
        return make_error(Code::invalid_argument,
                          "'state' must be queued, running, finished, failed, cancelled or "
                          "set_aside.");
      }
    }
    filter.pipeline = call.query_value("pipeline");
    filter.pipelines = call.who.pipelines;
    filter.owner = call.query_value("owner");
    filter.trigger = call.query_value("trigger");
    const std::string label = call.query_value("label");
    const size_t equals = label.find('=');
    if (!label.empty() && (equals == 0 || equals == std::string::npos)) {
      return make_error(Code::invalid_argument, "'label' must be name=value.");
    }
    filter.label_name = label.substr(0, std::min(equals, label.size()));
    if (!label.empty()) filter.label_value = label.substr(equals + 1);
    TRY(read_place(call, "input", filter.input));
    TRY(read_place(call, "output", filter.output));
    TRY(read_time(call, "since", filter.since));
    TRY(read_time(call, "until", filter.until));
    filter.limit = TRY(integer_of_query(call, "limit", 1, 1000, 50));
    filter.before = TRY(integer_of_query(call, "before", 1, INT64_MAX, INT64_MAX));
    return page_of(filter);
  }

  Result<Reply> get(const Call& call) {
    const auto run = TRY(find(call));
    if (!run) return not_found("run of that name");
    return json_reply(to_json(*run));
  }

  Result<Reply> cancel(const Call& call) {
    return change(call, "cancelRun", "is over, or is being cancelled already", &ask_to_cancel);
  }
  Result<Reply> retry(const Call& call) {
    return change(
        call, "retryRun", "is not failed, cancelled or set aside",
        [this](Connection& connection, const std::string& id, Millis now) -> Result<bool> {
          const auto run = TRY(find_run(connection, id));
          if (!run) return false;
          TRY(parts_.submissions.check_pool(*run));
          return retry_run(connection, id, parts_.submissions.limits_of(run->owner), now);
        });
  }
  Result<Reply> remove(const Call& call) {
    Reply reply = TRY(change(call, "deleteRun", "is not over; cancel it first",
                             [](Connection& connection, const std::string& id, Millis) {
                               return delete_run(connection, id);
                             }));
    if (reply.status == 200) {
      std::error_code ignored;
      const std::string& id = call.path_parameters.at("id");
      std::filesystem::remove(log_of(id), ignored);
      std::filesystem::remove(parts_.previews / (id + ".png"), ignored);
      return Reply{204, "", "", {}};
    }
    return reply;
  }

  // The same version of the pipeline with the same parameters, again; unless exact=false, only if
  // what its first step reads is the same, too.
  Result<Reply> rerun(const Call& call) {
    const auto run = TRY(find(call));
    if (!run) return not_found("run of that name");
    SubmissionRequest request;
    request.pipeline = run->pipeline;
    request.version = run->version;
    request.parameters = run->parameters;
    request.labels = run->labels;
    request.pool = run->pool;
    request.replace_output = true;
    // As much as who asks may give.
    const int64_t most = may(call.who, Role::operator_) ? run->priority : 0;
    request.priority = std::min(run->priority, most);
    request.max_cost = run->max_cost;
    request.max_seconds = run->max_seconds;
    NewRun again;
    TRY(parts_.database.read([&](Connection& connection) -> Result<void> {
      again = TRY(parts_.submissions.check(connection, request, call.who));
      return {};
    }));
    again.rerun_of = run->id;
    const std::string exact = call.query_value("exact");
    if (!exact.empty() && exact != "true" && exact != "false") {
      return make_error(Code::invalid_argument, "'exact' must be true or false.");
    }
    if (exact != "false" && !run->run_urls.empty()) {
      const std::string& url = run->run_urls.front();
      again.repeats = url.substr(url.rfind('/') + 1);
    }
    return add(call, again, call.header("idempotency-key"), "rerunRun");
  }

  Result<Reply> report(const Call& call) {
    const auto run = TRY(find(call));
    std::optional<std::string> text = run ? run->report : std::nullopt;
    // What could not be read when it ended may be there now.
    if (run && !text && run->state == RunState::finished && !run->run_urls.empty()) {
      text = TRY(parts_.folders.report(run->run_urls.back()));
    }
    if (!text) return not_found("report of that run");
    json report = json::parse(*text, nullptr, false);
    if (!report.is_object()) return Reply{200, "application/json", *text, {}};
    TRY(parts_.database.read([&](Connection& connection) -> Result<void> {
      for (const PoolInfo& pool : parts_.pools) {
        if (pool.name != run->pool) continue;
        report["pool"] = TRY(run_cost(connection, pool, *run, parts_.wall.now()));
      }
      return {};
    }));
    return json_reply(report);
  }

  Result<Reply> events(const Call& call) {
    if (!TRY(find(call))) return not_found("run of that name");
    const int64_t after = TRY(integer_of_query(call, "after", 0, INT64_MAX, 0));
    json list = json::array();
    TRY(parts_.database.read([&](Connection& connection) -> Result<void> {
      const auto& id = call.path_parameters.at("id");
      for (const EventRow& event : TRY(list_events(connection, id, after, 1000))) {
        list.push_back(to_json(event));
      }
      return {};
    }));
    return json_reply({{"events", std::move(list)}});
  }

  // As the run folders of the run's steps have them.
  Result<Reply> chunks(const Call& call) {
    const auto run = TRY(find(call));
    if (!run) return not_found("run of that name");
    json steps = json::array();
    for (const std::string& url : run->run_urls) {
      const auto state = TRY(parts_.folders.state(url));
      steps.push_back(state ? json::parse(*state, nullptr, false) : json());
    }
    return json_reply({{"id", run->id}, {"steps", std::move(steps)}});
  }

  // What the run's processes printed, then what workers did.
  Result<Reply> logs(const Call& call) {
    const auto run = TRY(find(call));
    if (!run) return not_found("run of that name");
    const std::string worker = call.query_value("worker");
    std::string text;
    if (!call.query_value("offset").empty()) {
      const auto offset = TRY(integer_of_query(call, "offset", 0, INT64_MAX, 0));
      text = TRY(read_from(log_of(run->id), static_cast<uint64_t>(offset)));
      return Reply{200, "text/plain; charset=utf-8", std::move(text), {}};
    }
    if (worker.empty()) text = TRY(read_end(log_of(run->id)));
    for (const std::string& url : run->run_urls) {
      for (const LogPiece& piece : TRY(parts_.folders.logs(url, worker, kMostLog))) {
        text += worker.empty() ? prefixed(piece) : piece.text;
      }
    }
    return Reply{200, "text/plain; charset=utf-8", std::move(text), {}};
  }

  Result<Reply> preview(const Call& call) {
    const auto run = TRY(find(call));
    // It shows what is in the input.
    if (!run || !may_use_location(call.who, run->input)) return not_found("run of that name");
    const auto path = TRY(parts_.preview_of(*run));
    if (!path) {
      Reply reply = json_reply({{"state", "being made"}}, 202);
      reply.headers.emplace("Retry-After", "1");
      return reply;
    }
    constexpr uint64_t kMostPicture = uint64_t{64} << 20;
    return Reply{200, "image/png", TRY(read_from(*path, 0, kMostPicture)), {}};
  }

  // Where a run's input came from and what its output went into, by URL.
  Result<Reply> lineage(const Call& call) {
    const auto run = TRY(find(call));
    if (!run) return not_found("run of that name");
    RunFilter made_input, used_output;
    made_input.pipelines = used_output.pipelines = call.who.pipelines;
    made_input.output = run->input;
    used_output.input = run->output;
    json sources = json::array(), uses = json::array();
    TRY(parts_.database.read([&](Connection& connection) -> Result<void> {
      for (const RunRow& row : TRY(list_runs(connection, made_input)))
        sources.push_back(to_json(row));
      for (const RunRow& row : TRY(list_runs(connection, used_output)))
        uses.push_back(to_json(row));
      return {};
    }));
    return json_reply({{"run", to_json(*run)},
                       {"input_was_made_by", std::move(sources)},
                       {"output_was_used_by", std::move(uses)}});
  }

  // Which runs made an object, and which used it.
  Result<Reply> lineage_of_object(const Call& call) {
    RunFilter made, used;
    made.pipelines = used.pipelines = call.who.pipelines;
    made.output = used.input = TRY(parse_user_location(call.query_value("url"))).url();
    json makers = json::array(), users = json::array();
    TRY(parts_.database.read([&](Connection& connection) -> Result<void> {
      for (const RunRow& row : TRY(list_runs(connection, made))) makers.push_back(to_json(row));
      for (const RunRow& row : TRY(list_runs(connection, used))) users.push_back(to_json(row));
      return {};
    }));
    return json_reply({{"url", made.output},
                       {"was_made_by", std::move(makers)},
                       {"was_used_by", std::move(users)}});
  }

 private:
  static Result<void> read_place(const Call& call, const std::string& name, std::string& into) {
    const std::string text = call.query_value(name);
    if (!text.empty()) into = TRY(parse_user_location(text)).url();
    return {};
  }
  static Result<void> read_time(const Call& call, const std::string& name,
                                std::optional<Millis>& into) {
    const std::string text = call.query_value(name);
    if (text.empty()) return {};
    into = parse_time_text(text);
    if (into) return {};
    return make_error(Code::invalid_argument,
                      "'{}' must be a time like 2026-11-30T03:04:05Z (RFC 3339).", name);
  }

  Result<std::optional<RunRow>> find(const Call& call) { return find_visible_run(parts_, call); }

  // Submitters change their own runs; operators all.
  static bool may_change(const Principal& who, const RunRow& run) {
    return may(who, Role::operator_) || run.owner == who.name;
  }

  Result<Reply> add(const Call& call, const NewRun& run, const std::string& key,
                    std::string_view action) {
    Added added;
    const QueueLimits limits = parts_.submissions.limits_of(run.owner);
    const std::string hash =
        sha256_hex(as_bytes(call.path + "\n" + call.body + run.repeats.value_or("")));
    const Result<void> written = parts_.database.write([&](Connection& connection) -> Result<void> {
      const Millis now = parts_.wall.now();
      if (key.empty()) {
        added = {TRY(add_run(connection, run, limits, now)), true};
      } else {
        added = TRY(add_run_once(connection, run, key, hash, limits, now));
      }
      if (!added.is_new) return {};
      return audit(connection, call, parts_.wall, action, added.id);
    });
    if (!written) return too_many(written.error());
    Reply reply = json_reply({{"id", added.id}, {"state", "queued"}}, added.is_new ? 201 : 200);
    reply.headers["Location"] = "/v1/runs/" + added.id;
    return reply;
  }

  template <class Change>
  Result<Reply> change(const Call& call, std::string_view action, const char* otherwise,
                       Change make) {
    const auto run = TRY(find(call));
    if (!run) return not_found("run of that name");
    if (!may_change(call.who, *run)) {
      return problem(
          403, fmt::format("'{}' is {}'s run; operators may change it, too.", run->id, run->owner));
    }
    bool changed = false;
    const Result<void> written = parts_.database.write([&](Connection& connection) -> Result<void> {
      changed = TRY(make(connection, run->id, parts_.wall.now()));
      if (!changed) return {};
      return audit(connection, call, parts_.wall, action, run->id);
    });
    if (!written) return too_many(written.error());
    if (!changed) return problem(409, fmt::format("'{}' {}.", run->id, otherwise));
    const auto after = TRY(find(call));
    return after ? json_reply(to_json(*after)) : json_reply(json::object());
  }

  Result<Reply> page_of(const RunFilter& filter) {
    std::vector<RunRow> runs;
    TRY(parts_.database.read([&](Connection& connection) -> Result<void> {
      runs = TRY(list_runs(connection, filter));
      return {};
    }));
    json list = json::array();
    for (const RunRow& run : runs) list.push_back(to_json(run));
    const bool more = static_cast<int64_t>(runs.size()) == filter.limit;
    return json_reply({{"runs", std::move(list)}, {"next", more ? json(runs.back().seq) : json()}});
  }

  std::filesystem::path log_of(const std::string& id) const { return parts_.logs / (id + ".log"); }

  // The last of a file; nothing if there is none.
  static Result<std::string> read_end(const std::filesystem::path& path) {
    const auto source = FileSource::open(path);
    if (!source.ok()) return std::string();
    const uint64_t size = (*source)->size();
    return read_from(path, size - std::min(size, kMostLog));
  }

  static Result<std::string> read_from(const std::filesystem::path& path, uint64_t offset,
                                       uint64_t most = kMostLog) {
    const auto source = FileSource::open(path);
    if (!source.ok() || (*source)->size() <= offset) return std::string();
    std::string text(std::min((*source)->size() - offset, most), '\0');
    const size_t count = TRY(
        (*source)->read_at(offset, std::as_writable_bytes(std::span(text.data(), text.size()))));
    text.resize(count);
    return text;
  }

  static std::string prefixed(const LogPiece& piece) {
    std::string text;
    for (size_t at = 0; at < piece.text.size();) {
      const size_t end = std::min(piece.text.find('\n', at), piece.text.size());
      text += fmt::format("[{}] {}\n", piece.worker, piece.text.substr(at, end - at));
      at = end + 1;
    }
    return text;
  }

  ApiParts& parts_;
};

constexpr const char* kIdempotencyHelp = "Makes the request safe to repeat: it starts one run.";
constexpr const char* kRepeatedHelp = "The run that a request with this key started before.";

}  // namespace

Result<std::optional<RunRow>> find_visible_run(ApiParts& parts, const Call& call) {
  std::optional<RunRow> run;
  TRY(parts.database.read([&](Connection& connection) -> Result<void> {
    run = TRY(find_run(connection, call.path_parameters.at("id")));
    return {};
  }));
  if (run && !may_use_pipeline(call.who, run->pipeline)) run.reset();
  return run;
}

std::vector<Operation> run_operations(ApiParts& parts) {
  const auto api = std::make_shared<RunApi>(parts);
  OperationTable table("runs");
  table
      .add("submitRun", "POST", "/v1/runs", Role::submitter,
           "Puts a run into the queue; on disk when it is answered.",
           handle_by(api, &RunApi::submit))
      .takes_json("Submission")
      .header("Idempotency-Key", kIdempotencyHelp)
      .gives("Submitted", 201)
      .also_gives("Submitted", 200, kRepeatedHelp);
  table
      .add("listRuns", "GET", "/v1/runs", Role::reader, "Runs, the newest first.",
           handle_by(api, &RunApi::list))
      .query("state", "string", "queued, running, finished, failed, cancelled or set_aside")
      .query("pipeline", "string", "Of this pipeline")
      .query("owner", "string", "Of this owner")
      .query("trigger", "string", "Started by this trigger")
      .query("label", "string", "With this label, name=value")
      .query("input", "string", "That read this location")
      .query("output", "string", "That write this location")
      .query("since", "string", "Submitted at this time (RFC 3339) or later")
      .query("until", "string", "Submitted before this time")
      .query("limit", "integer", "At most so many, up to 1000")
      .query("before", "integer", "`next` of the page before")
      .gives("RunPage");
  table.add("getRun", "GET", "/v1/runs/{id}", Role::reader, "A run.", handle_by(api, &RunApi::get))
      .gives("Run");
  table
      .add("deleteRun", "DELETE", "/v1/runs/{id}", Role::submitter,
           "Forgets a run that is over; its output stays.", handle_by(api, &RunApi::remove))
      .gives_nothing();
  table
      .add("cancelRun", "POST", "/v1/runs/{id}/cancel", Role::submitter,
           "Ends a run; what was done is kept.", handle_by(api, &RunApi::cancel))
      .gives("Run");
  table
      .add("retryRun", "POST", "/v1/runs/{id}/retry", Role::submitter,
           "Puts a run that failed, was cancelled or set aside into the queue again; it goes on "
           "where it stopped.",
           handle_by(api, &RunApi::retry))
      .gives("Run");
  table
      .add("rerunRun", "POST", "/v1/runs/{id}/rerun", Role::submitter,
           "A new run of the same version of the pipeline with the same parameters, which is set "
           "aside if its input, or the model of its first step, is not what it was.",
           handle_by(api, &RunApi::rerun))
      .query("exact", "boolean", "false: also if they are not [true]")
      .header("Idempotency-Key", kIdempotencyHelp)
      .gives("Submitted", 201)
      .also_gives("Submitted", 200, kRepeatedHelp);
  table
      .add("getReport", "GET", "/v1/runs/{id}/report", Role::reader,
           "The report of a run: frames, rates, precision; and 'pool': its node-seconds busy, idle "
           "and starting, and their cost.",
           handle_by(api, &RunApi::report))
      .gives("Report");
  table
      .add("listRunEvents", "GET", "/v1/runs/{id}/events", Role::reader, "What happened to a run.",
           handle_by(api, &RunApi::events))
      .query("after", "integer", "After the event of this number")
      .gives("EventList");
  table
      .add("getChunks", "GET", "/v1/runs/{id}/chunks", Role::reader,
           "State, chunks and workers of each scoring step.", handle_by(api, &RunApi::chunks))
      .gives("Chunks");
  table
      .add("getLogs", "GET", "/v1/runs/{id}/logs", Role::reader,
           "What the run and its workers printed.", handle_by(api, &RunApi::logs))
      .query("worker", "string", "Of this worker alone")
      .query("offset", "integer",
             "Of the run's own processes alone, from this byte on: to follow them")
      .gives_media("text/plain");
  table
      .add("getPreview", "GET", "/v1/runs/{id}/preview", Role::submitter,
           "A picture of three frames before and after; 202 while it is made.",
           handle_by(api, &RunApi::preview))
      .gives_media("image/png")
      .also_gives("State", 202, "It is being made: ask again.");
  table
      .add("getLineage", "GET", "/v1/runs/{id}/lineage", Role::reader,
           "The runs that made a run's input, and those that used its output: the last 50 of each; "
           "`listRuns` has all.",
           handle_by(api, &RunApi::lineage))
      .gives("Lineage");
  table
      .add("getObjectLineage", "GET", "/v1/lineage", Role::reader,
           "The runs that made an object, and those that used it: the last 50 of each; `listRuns` "
           "has all.",
           handle_by(api, &RunApi::lineage_of_object))
      .query("url", "string", "Its location")
      .gives("ObjectLineage");
  return table.take();
}

}  // namespace atelier::server
