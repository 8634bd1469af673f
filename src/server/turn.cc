// SPDX-License-Identifier: Apache-2.0
#include "server/turn.h"

#include <tuple>

namespace atelier::server {

const Candidate* choose_next(const std::vector<Candidate>& candidates,
                             const std::function<int64_t(const std::string& owner)>& most_running) {
  const auto rank = [](const Candidate& c) {
    return std::make_tuple(-c.priority, c.running_of_owner, c.last_begun, c.seq);
  };
  const Candidate* best = nullptr;
  for (const Candidate& candidate : candidates) {
    if (candidate.running_of_owner >= most_running(candidate.owner)) continue;
    if (best == nullptr || rank(candidate) < rank(*best)) best = &candidate;
  }
  return best;
}

namespace {

Result<std::map<std::string, int64_t>> running_by_owner(Connection& connection) {
  std::map<std::string, int64_t> running;
  Rows rows = TRY(connection.query(
      "SELECT owner, sum(runs) FROM run_counts WHERE state = 'running' GROUP BY owner"));
  while (TRY(rows.next())) running[rows.text(0)] = rows.integer(1);
  return running;
}

Result<std::vector<std::string>> waiting_owners(Connection& connection, const std::string& pool) {
  std::vector<std::string> owners;
  Rows rows = TRY(connection.query(
      "SELECT owner FROM run_counts WHERE state = 'queued' AND pool = ? AND runs > 0", {pool}));
  while (TRY(rows.next())) owners.push_back(rows.text(0));
  return owners;
}

}  // namespace

Result<std::vector<Candidate>> find_candidates(Connection& connection, const std::string& pool,
                                               const std::map<std::string, uint64_t>& last_begun,
                                               Millis now) {
  const std::map<std::string, int64_t> running = TRY(running_by_owner(connection));
  std::vector<Candidate> candidates;
  for (const std::string& owner : TRY(waiting_owners(connection, pool))) {
    Rows rows = TRY(connection.query(
        "SELECT id, priority, seq FROM runs WHERE state = 'queued' AND pool = ? AND owner = ? "
        "AND not_before <= ? ORDER BY priority DESC, seq LIMIT 1",
        {pool, owner, now}));
    if (!TRY(rows.next())) continue;
    const auto count = running.find(owner);
    const auto begun = last_begun.find(owner);
    candidates.push_back({rows.text(0), owner, rows.integer(1), rows.integer(2),
                          count == running.end() ? 0 : count->second,
                          begun == last_begun.end() ? 0 : begun->second});
  }
  return candidates;
}

}  // namespace atelier::server
