// SPDX-License-Identifier: Apache-2.0
// Operations on the service itself.
#include <filesystem>

#include "server/api.h"
#include "server/api_json.h"
#include "server/audit.h"
#include "server/metrics.h"
#include "server/operation_table.h"
#include "server/status_page.h"

namespace atelier::server {
namespace {

using nlohmann::json;

class SystemApi {
 public:
  SystemApi(ApiParts& parts, std::function<std::string()> describe)
      : parts_(parts), describe_(std::move(describe)) {}

  // The process answers.
  Result<Reply> health(const Call&) {
    return json_reply({{"state", "up"}, {"version", parts_.version}});
  }

  // It can take and do work.
  Result<Reply> readiness(const Call&) {
    const std::string why = parts_.why_not_ready();
    if (why.empty()) return json_reply({{"state", "ready"}});
    Reply reply = problem(503, why);
    reply.headers["Retry-After"] = "5";
    return reply;
  }

  Result<Reply> metrics(const Call&) {
    Reply reply;
    reply.type = "text/plain; version=0.0.4; charset=utf-8";
    reply.body = TRY(parts_.metrics.scrape(parts_.database, parts_.listener_counts(), parts_.wall));
    return reply;
  }

  Result<Reply> audit_list(const Call& call) {
    const int64_t before = TRY(integer_of_query(call, "before", 1, INT64_MAX, 0));
    const int64_t limit = TRY(integer_of_query(call, "limit", 1, 1000, 100));
    AuditPage page;
    TRY(parts_.database.read([&](Connection& connection) -> Result<void> {
      page = TRY(list_audit(connection, before, static_cast<int>(limit)));
      return {};
    }));
    json entries = json::array();
    for (const AuditEntry& entry : page.entries) {
      entries.push_back({{"seq", entry.seq},
                         {"at", time_text(entry.at)},
                         {"who", entry.who},
                         {"address", entry.address},
                         {"action", entry.action},
                         {"subject", entry.subject},
                         {"detail", json::parse(entry.detail, nullptr, false)}});
    }
    return json_reply(
        {{"entries", std::move(entries)}, {"next", page.next > 0 ? json(page.next) : json()}});
  }

  Result<Reply> back_up(const Call& call) {
    std::error_code error;
    std::filesystem::create_directories(parts_.backups, error);
    std::string stamp = time_text(parts_.wall.now());
    std::erase(stamp, ':');
    const auto path = parts_.backups / ("atelier-" + stamp + ".db");
    TRY(parts_.database.back_up(path));
    TRY(parts_.database.write([&](Connection& connection) {
      return audit(connection, call, parts_.wall, "backUp", path.filename().string());
    }));
    return json_reply({{"file", path.string()}}, 201);
  }

  Result<Reply> openapi(const Call&) { return Reply{200, "application/json", describe_(), {}}; }

  Result<Reply> page(const Call&) {
    Reply reply{200, "text/html; charset=utf-8", std::string(status_page()), {}};
    // The page's own script and style alone, talking to this service alone.
    reply.headers["Content-Security-Policy"] =
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src "
        "'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    reply.headers["Referrer-Policy"] = "no-referrer";
    return reply;
  }

 private:
  ApiParts& parts_;
  const std::function<std::string()> describe_;
};

}  // namespace

std::vector<Operation> system_operations(ApiParts& parts, std::function<std::string()> describe) {
  const auto api = std::make_shared<SystemApi>(parts, std::move(describe));
  OperationTable table("system");
  table
      .add("getHealth", "GET", "/health", Role::nobody, "Whether the service answers.",
           handle_by(api, &SystemApi::health))
      .gives("Health");
  table
      .add("getReadiness", "GET", "/ready", Role::nobody, "Whether it can take and do work.",
           handle_by(api, &SystemApi::readiness))
      .gives("State");
  table
      .add("getMetrics", "GET", "/metrics", Role::reader, "Metrics for Prometheus.",
           handle_by(api, &SystemApi::metrics))
      .gives_media("text/plain");
  table
      .add("listAudit", "GET", "/v1/audit", Role::admin, "Who changed what, the newest first.",
           handle_by(api, &SystemApi::audit_list))
      .query("limit", "integer", "At most so many, up to 1000")
      .query("before", "integer", "`next` of the page before")
      .gives("AuditPage");
  table
      .add("backUp", "POST", "/v1/backup", Role::admin,
           "Copies the database, while it is used, into the service's folder.",
           handle_by(api, &SystemApi::back_up))
      .gives("Backup", 201);
  table.add("getOpenApi", "GET", "/openapi.json", Role::nobody, "This description.",
            handle_by(api, &SystemApi::openapi));
  table
      .add("getPage", "GET", "/", Role::nobody, "A page that shows what goes on.",
           handle_by(api, &SystemApi::page))
      .gives_media("text/html");
  return table.take();
}

}  // namespace atelier::server
