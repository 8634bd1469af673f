// SPDX-License-Identifier: Apache-2.0
// Streams: server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) and
// logs that go on.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "base/file.h"
#include "server/api.h"
#include "server/api_json.h"
#include "server/operation_table.h"
#include "server/operations_policy.h"

namespace atelier::server {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds kKeepAlive(5);
constexpr std::chrono::milliseconds kLogTick(500);

// After which event to begin: what a browser sends when it comes again, or `after`; else the
// present.
Result<std::optional<int64_t>> first_of(const Call& call) {
  Call asked = call;
  if (const std::string last = call.header("last-event-id"); !last.empty()) {
    asked.query["after"] = last;
  }
  if (asked.query_value("after").empty()) return std::optional<int64_t>();
  return std::optional<int64_t>(TRY(integer_of_query(asked, "after", 0, INT64_MAX, 0)));
}

// Events of one run or of all that the caller may see, as text/event-stream.
class EventStream {
 public:
  EventStream(ApiParts& parts, const Call& call, std::string run_id, int64_t after)
      : parts_(parts), who_(call.who), run_id_(std::move(run_id)), after_(after) {}

  std::optional<std::string> next() {
    const uint64_t rung = parts_.bell.rung();
    std::string text;
    bool any = false;
    const Result<void> done = parts_.database.read([&](Connection& connection) -> Result<void> {
      for (const EventRow& event : TRY(list_events(connection, run_id_, after_, 200))) {
        any = true;
        after_ = event.seq;
        if (!TRY(may_see(connection, event.run_id))) continue;
        text += fmt::format("id: {}\nevent: {}\ndata: {}\n\n", event.seq, event.kind,
                            to_json(event).dump());
      }
      return {};
    });
    if (!done) return std::nullopt;
    if (!text.empty()) return text;
    if (!any) parts_.bell.wait_past(rung, kKeepAlive);
    return ": waiting\n\n";
  }

 private:
  Result<bool> may_see(Connection& connection, const std::string& run_id) const {
    if (who_.pipelines.empty()) return true;
    const auto run = TRY(find_run(connection, run_id));
    return run && may_use_pipeline(who_, run->pipeline);
  }
  ApiParts& parts_;
  const Principal who_;
  const std::string run_id_;
  int64_t after_;
};

// What the run's processes print, as it comes, until the run is over.
class LogStream {
 public:
  LogStream(ApiParts& parts, std::string run_id) : parts_(parts), run_id_(std::move(run_id)) {}

  std::optional<std::string> next() {
    const auto deadline = std::chrono::steady_clock::now() + kKeepAlive;
    while (std::chrono::steady_clock::now() < deadline) {
      // Before the log is read: what comes after its end is nothing.
      const bool is_last = is_run_over();
      std::string text = read_more();
      if (!text.empty()) return text;
      if (is_last) return std::nullopt;
      parts_.bell.wait_past(parts_.bell.rung(), kLogTick);
    }
    return " \n";
  }

 private:
  bool is_run_over() {
    bool over = true;
    const Result<void> done = parts_.database.read([&](Connection& connection) -> Result<void> {
      const auto run = TRY(find_run(connection, run_id_));
      over = !run || is_over(run->state);
      return {};
    });
    return !done || over;
  }
  std::string read_more() {
    const std::filesystem::path path = parts_.logs / (run_id_ + ".log");
    const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return {};
    std::array<char, 16384> some{};
    const ssize_t count = ::pread(file.get(), some.data(), some.size(), offset_);
    if (count <= 0) return {};
    offset_ += count;
    return {some.data(), static_cast<size_t>(count)};
  }
  ApiParts& parts_;
  const std::string run_id_;
  off_t offset_ = 0;
};

Result<int64_t> newest_event(ApiParts& parts) {
  int64_t newest = 0;
  TRY(parts.database.read([&](Connection& connection) -> Result<void> {
    newest = TRY(connection.integer("SELECT max(seq) FROM events")).value_or(0);
    return {};
  }));
  return newest;
}

}  // namespace

std::vector<Operation> stream_operations(ApiParts& parts) {
  const auto check = [&parts](const Call& call) -> Result<Reply> {
    TRY(first_of(call));
    if (call.path_parameters.contains("id") && !TRY(find_visible_run(parts, call))) {
      return not_found("run of that name");
    }
    return Reply{};
  };
  constexpr const char* kAfterHelp = "After the event of this number; else from now on";
  OperationTable table("streams");
  table
      .add("streamEvents", "GET", "/v1/events", Role::reader, "Server-sent events of all runs.",
           check)
      .query("after", "integer", kAfterHelp)
      .gives_media("text/event-stream");
  table
      .add("streamRunEvents", "GET", "/v1/runs/{id}/events/stream", Role::reader,
           "Server-sent events of a run.", check)
      .query("after", "integer", kAfterHelp)
      .gives_media("text/event-stream");
  table
      .add("followLogs", "GET", "/v1/runs/{id}/logs/follow", Role::reader,
           "What a run prints, until it is over.", check)
      .gives_media("text/plain");
  return table.take();
}

namespace {

// Asks now and then whether the caller may still hear it.
NextPiece guarded(NextPiece next, std::function<bool()> still_allowed) {
  auto asked = std::make_shared<std::chrono::steady_clock::time_point>();
  return [next = std::move(next), still_allowed = std::move(still_allowed),
          asked]() -> std::optional<std::string> {
    const auto now = std::chrono::steady_clock::now();
    if (now - *asked >= kKeepAlive / 2) {
      if (!still_allowed()) return std::nullopt;
      *asked = now;
    }
    return next();
  };
}

}  // namespace

NextPiece open_stream(ApiParts& parts, const Operation& operation, const Call& call,
                      std::function<bool()> still_allowed) {
  const auto id = call.path_parameters.find("id");
  const std::string run_id = id == call.path_parameters.end() ? "" : id->second;
  if (operation.id == "followLogs") {
    const auto stream = std::make_shared<LogStream>(parts, run_id);
    return guarded([stream] { return stream->next(); }, std::move(still_allowed));
  }
  const auto first = first_of(call);
  const auto newest = newest_event(parts);
  const int64_t after = first.ok() && *first ? **first : newest.ok() ? *newest : 0;
  const auto stream = std::make_shared<EventStream>(parts, call, run_id, after);
  return guarded([stream] { return stream->next(); }, std::move(still_allowed));
}

}  // namespace atelier::server
