// SPDX-License-Identifier: Apache-2.0
#include "server/api_json.h"

#include <charconv>
#include <ctime>

namespace atelier::server {

using nlohmann::json;

namespace {

json time_or_null(const std::optional<Millis>& time) {
  if (!time) return nullptr;
  return time_text(*time);
}

template <class T>
json or_null(const std::optional<T>& value) {
  if (!value) return nullptr;
  return *value;
}

json parsed(const std::string& text) {
  json read = json::parse(text, nullptr, false);
  return read.is_discarded() ? json() : read;
}

}  // namespace

Reply json_reply(const json& body, int status) {
  Reply reply;
  reply.status = status;
  reply.body = body.dump(-1, ' ', false, json::error_handler_t::replace);
  return reply;
}

std::string time_text(Millis time) {
  const Millis milliseconds = ((time % 1000) + 1000) % 1000;
  const std::time_t seconds = (time - milliseconds) / 1000;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", parts.tm_year + 1900,
                     parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                     milliseconds);
}

std::optional<Millis> parse_time_text(const std::string& text) {
  std::tm parts{};
  const char* rest = ::strptime(text.c_str(), "%Y-%m-%d", &parts);
  if (rest == nullptr) return std::nullopt;
  Millis fraction = 0;
  if (*rest == 'T') {
    rest = ::strptime(rest, "T%H:%M:%S", &parts);
    if (rest == nullptr) return std::nullopt;
    if (*rest == '.') {
      Millis unit = 100;
      for (++rest; *rest >= '0' && *rest <= '9'; ++rest, unit /= 10)
        fraction += unit * (*rest - '0');
    }
    if (*rest != 'Z') return std::nullopt;
    ++rest;
  }
  if (*rest != '\0') return std::nullopt;
  return Millis{::timegm(&parts)} * 1000 + fraction;
}

json to_json(const RunRow& run) {
  json made = {{"id", run.id},
               {"state", to_string(run.state)},
               {"reason", run.reason},
               {"pipeline", run.pipeline},
               {"version", run.version},
               {"pipeline_sha256", run.sha256},
               {"parameters", parsed(run.parameters)},
               {"labels", parsed(run.labels)},
               {"owner", run.owner},
               {"pool", run.pool},
               {"priority", run.priority},
               {"attempts", run.attempts},
               {"step", run.step},
               {"cancel_asked", run.cancel_asked},
               {"exit_code", or_null(run.exit_code)},
               {"created_at", time_text(run.created_at)},
               {"started_at", time_or_null(run.started_at)},
               {"ended_at", time_or_null(run.ended_at)},
               {"input", run.input},
               {"output", run.output},
               {"bytes", run.bytes},
               {"runs", run.run_urls},
               {"rerun_of", or_null(run.rerun_of)},
               {"trigger", or_null(run.trigger)},
               {"max_cost", or_null(run.max_cost)},
               {"max_seconds", or_null(run.max_seconds)},
               {"busy_seconds", static_cast<double>(run.busy_ms) / 1000},
               {"cost", run.cost},
               {"frames", run.frames}};
  if (run.not_before > 0) made["not_before"] = time_text(run.not_before);
  return made;
}

json to_json(const EventRow& event) {
  return {{"seq", event.seq},
          {"run", event.run_id},
          {"at", time_text(event.at)},
          {"kind", event.kind},
          {"detail", parsed(event.detail)}};
}

json to_json(const PublishedPipeline& pipeline) {
  return {{"name", pipeline.name},
          {"version", pipeline.version},
          {"sha256", pipeline.sha256},
          {"published_at", time_text(pipeline.published_at)},
          {"published_by", pipeline.published_by}};
}

Result<int64_t> integer_of_query(const Call& call, const std::string& name, int64_t least,
                                 int64_t most, int64_t otherwise) {
  const std::string text = call.query_value(name);
  if (text.empty()) return otherwise;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most) {
    return make_error(Code::invalid_argument, "'{}' must be a whole number from {} to {}.", name,
                      least, most);
  }
  return value;
}

}  // namespace atelier::server
