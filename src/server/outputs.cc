// SPDX-License-Identifier: Apache-2.0
#include "server/outputs.h"

namespace atelier::server {

std::vector<std::string> known_urls(const std::string& url, const ResolveLinks& resolve) {
  std::vector<std::string> urls = {url};
  const auto place = parse_location(url);
  if (!place.ok() || !place->is_file()) return urls;
  const auto real = resolve(place->path);
  if (!real.ok()) return urls;
  Location leads_to = *place;
  leads_to.path = *real;
  if (leads_to.url() != url) urls.push_back(leads_to.url());
  return urls;
}

Result<void> note_outputs(Connection& connection, const std::string& run_id,
                          const std::string& input, const std::vector<std::string>& urls) {
  for (const std::string& url : urls) {
    if (url.empty()) continue;
    TRY(
        connection.run("INSERT INTO outputs (url, run_id, input, state) VALUES (?, ?, ?, 'begun') "
                       "ON CONFLICT DO NOTHING",
                       {url, run_id, input}));
  }
  return {};
}

Result<void> keep_outputs(Connection& connection, const std::string& run_id, bool is_sure) {
  TRY(connection.run("UPDATE outputs SET state = ? WHERE run_id = ? AND state != 'written'",
                     {std::string(is_sure ? "written" : "perhaps"), run_id}));
  return {};
}

Result<void> forget_outputs(Connection& connection, const std::string& run_id) {
  TRY(connection.run("DELETE FROM outputs WHERE run_id = ? AND state = 'begun'", {run_id}));
  return {};
}

Result<std::optional<std::string>> run_that_writes(Connection& connection,
                                                   const std::vector<std::string>& urls) {
  if (urls.empty()) return std::optional<std::string>();
  std::string sql = "SELECT run_id FROM outputs WHERE url IN (?";
  for (size_t i = 1; i < urls.size(); ++i) sql += ",?";
  Rows rows = TRY(connection.query(sql + ") LIMIT 1", {urls.begin(), urls.end()}));
  if (!TRY(rows.next())) return std::optional<std::string>();
  return std::optional(rows.text(0));
}

Result<bool> was_made_from(Connection& connection, const std::string& url, const std::string& input,
                           const std::string& run_id) {
  Rows writers = TRY(connection.query(
      "SELECT run_id FROM outputs JOIN runs ON runs.id = run_id WHERE url = ? AND run_id != ? AND "
      "runs.state = 'running' LIMIT 1",
      {url, run_id}));
  if (TRY(writers.next())) {
    return make_error(Code::unavailable, "{} writes '{}'; this run waits for that.",
                      writers.text(0), url);
  }
  const auto found = TRY(connection.integer(
      "SELECT 1 FROM outputs WHERE url = ? AND input = ? AND run_id != ? AND state = 'written' "
      "LIMIT 1",
      {url, input, run_id}));
  return found.has_value();
}

}  // namespace atelier::server
