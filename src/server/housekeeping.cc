// SPDX-License-Identifier: Apache-2.0
#include "server/housekeeping.h"

#include <algorithm>
#include <vector>

namespace atelier::server {
namespace {

namespace fs = std::filesystem;

Millis before(Millis now, std::chrono::hours age) {
  return now - std::chrono::duration_cast<std::chrono::milliseconds>(age).count();
}

// In small transactions, so that submissions do not wait for it.
Result<int64_t> delete_some(Database& database, const std::string& sql, Millis limit) {
  constexpr int64_t kSome = 500;
  int64_t all = 0;
  for (int64_t changed = kSome; changed == kSome; all += changed) {
    TRY(database.write([&](Connection& connection) -> Result<void> {
      changed = TRY(connection.run(sql, {limit, kSome}));
      return {};
    }));
  }
  return all;
}

int64_t remove_logs(const fs::path& logs, std::chrono::hours age) {
  std::error_code error;
  const auto limit = fs::file_time_type::clock::now() - age;
  int64_t removed = 0;
  for (const auto& entry : fs::directory_iterator(logs, error)) {
    if (entry.path().extension() == ".log" && entry.last_write_time(error) < limit && !error) {
      removed += fs::remove(entry.path(), error) ? 1 : 0;
    }
  }
  return removed;
}

}  // namespace

int64_t remove_backups(const fs::path& backups, std::chrono::hours age) {
  std::error_code error;
  std::vector<std::pair<fs::file_time_type, fs::path>> found, cut_short;
  for (const auto& entry : fs::directory_iterator(backups, error)) {
    const auto written = entry.last_write_time(error);
    if (error) continue;
    if (entry.path().extension() == ".db") found.emplace_back(written, entry.path());
    if (entry.path().extension() == ".part") cut_short.emplace_back(written, entry.path());
  }
  std::sort(found.begin(), found.end());
  if (!found.empty()) found.pop_back();
  found.insert(found.end(), cut_short.begin(), cut_short.end());
  const auto limit = fs::file_time_type::clock::now() - age;
  int64_t removed = 0;
  for (const auto& [written, path] : found) {
    if (written < limit) removed += fs::remove(path, error) ? 1 : 0;
  }
  return removed;
}

Result<Forgotten> forget_old(Database& database, const Retention& retention, const fs::path& logs,
                             const WallClock& wall) {
  const Millis now = wall.now();
  Forgotten forgotten;
  forgotten.runs = TRY(delete_some(
      database,
      "DELETE FROM runs WHERE seq IN (SELECT seq FROM runs WHERE ended_at < ? AND state NOT IN "
      "('queued', 'running') LIMIT ?)",
      before(now, retention.runs)));
  // Those of runs that go on are kept, however old they are.
  forgotten.events = TRY(delete_some(
      database,
      "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE at < ? AND run_id NOT IN "
      "(SELECT id FROM runs WHERE state IN ('queued', 'running')) LIMIT ?)",
      before(now, retention.events)));
  TRY(delete_some(database,
                  "DELETE FROM idempotency WHERE (owner, key) IN (SELECT owner, key FROM "
                  "idempotency WHERE created_at < ? LIMIT ?)",
                  before(now, retention.runs)));
  TRY(delete_some(database,
                  "DELETE FROM deliveries WHERE seq IN (SELECT seq FROM deliveries WHERE next_at < "
                  "? AND state != 'waiting' LIMIT ?)",
                  before(now, retention.events)));
  forgotten.audit = TRY(delete_some(
      database, "DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE at < ? LIMIT ?)",
      before(now, retention.audit)));
  TRY(delete_some(database,
                  "DELETE FROM pool_time WHERE seq IN (SELECT seq FROM pool_time WHERE end_at < ? "
                  "LIMIT ?)",
                  before(now, std::chrono::hours(366 * 24))));
  forgotten.logs = remove_logs(logs, retention.logs);
  TRY(database.checkpoint());
  return forgotten;
}

}  // namespace atelier::server
