// SPDX-License-Identifier: Apache-2.0
#include "server/housekeeping.h"

#include <gtest/gtest.h>

#include <fstream>

#include "server/runs.h"
#include "store/test_folder.h"

namespace atelier::server {
namespace {

constexpr Millis kDay = Millis{24} * 3600 * 1000;

TEST(Housekeeping, WhatIsOverAndOldIsForgottenAndNothingElse) {
  TestFolder folder;
  const auto database = std::move(Database::open(folder.path() / "atelier.db")).value();
  FakeWallClock wall;
  const auto add = [&](RunState state, Millis at) {
    std::string id;
    EXPECT_TRUE(database
                    ->write([&](Connection& connection) -> Result<void> {
                      NewRun run;
                      run.owner = "ann";
                      run.pool = "local";
                      id = TRY(add_run(connection, run, {}, at));
                      if (state == RunState::queued) return {};
                      TRY(begin_attempt(connection, id, at));
                      AttemptEnd end;
                      end.state = state;
                      if (state != RunState::running) TRY(end_attempt(connection, id, end, at));
                      return {};
                    })
                    .ok());
    return id;
  };
  const Millis now = wall.now();
  const std::string old = add(RunState::finished, now - 31 * kDay);
  const std::string queued = add(RunState::queued, now - 400 * kDay);
  const std::string running = add(RunState::running, now - 400 * kDay);
  const std::string fresh = add(RunState::failed, now - 29 * kDay);
  ASSERT_TRUE(database
                  ->write([&](Connection& connection) -> Result<void> {
                    TRY(connection.run(
                        "INSERT INTO receipts (trigger_name, url, etag, seen_at, state) VALUES "
                        "('t', 'u', 'e', 0, 'submitted')"));
                    for (const Millis at : {now - 400 * kDay, now - kDay}) {
                      TRY(
                          connection.run("INSERT INTO audit (at, who, address, action, subject) "
                                         "VALUES (?, 'a', '', 'x', '')",
                                         {at}));
                      TRY(
                          connection.run("INSERT INTO idempotency (owner, key, request_sha256, "
                                         "run_id, created_at) VALUES ('a', ?, '', '', ?)",
                                         {std::to_string(at), at}));
                      TRY(
                          connection.run("INSERT INTO pool_time (pool, node, kind, begin_at, "
                                         "end_at) VALUES ('p', 'n', 'busy', ?, ?)",
                                         {at - 1, at}));
                      for (const char* state : {"waiting", "delivered"}) {
                        TRY(connection.run(
                            "INSERT INTO deliveries (webhook, run_id, event_seq, body, state, "
                            "created_at, next_at) VALUES (?, '', ?, '', ?, ?, ?)",
                            {std::string(state), at, std::string(state), at, at}));
                      }
                    }
                    return {};
                  })
                  .ok());
  const auto logs = folder.path() / "logs";
  std::filesystem::create_directory(logs);
  for (const char* name : {"old.log", "new.log"}) std::ofstream(logs / name) << "said";
  std::filesystem::last_write_time(
      logs / "old.log", std::filesystem::file_time_type::clock::now() - std::chrono::hours(24 * 8));
  const auto forgotten = forget_old(*database, Retention{}, folder.path() / "logs", wall);
  ASSERT_TRUE(forgotten.ok()) << forgotten.error().message;
  EXPECT_EQ(forgotten->runs, 1);
  EXPECT_EQ(forgotten->logs, 1);
  EXPECT_TRUE(std::filesystem::exists(logs / "new.log"));
  EXPECT_FALSE(std::filesystem::exists(logs / "old.log"));
  ASSERT_TRUE(
      database
          ->read([&](Connection& connection) -> Result<void> {
            EXPECT_FALSE(TRY(find_run(connection, old)).has_value());
            for (const std::string& id : {queued, running, fresh}) {
              EXPECT_TRUE(TRY(find_run(connection, id)).has_value());
              EXPECT_FALSE(TRY(list_events(connection, id, 0, 10)).empty());
            }
            EXPECT_TRUE(TRY(list_events(connection, old, 0, 10)).empty());
            EXPECT_EQ(TRY(connection.integer("SELECT count(*) FROM receipts")), 1);
            for (const char* table : {"audit", "idempotency", "pool_time"}) {
              EXPECT_EQ(TRY(connection.integer(fmt::format("SELECT count(*) FROM {}", table))), 1)
                  << table;
            }
            // Of four only the old one that was delivered is gone.
            EXPECT_EQ(TRY(connection.integer("SELECT count(*) FROM deliveries")), 3);
            return {};
          })
          .ok());
}

TEST(Housekeeping, OldBackupsGoButTheNewestStays) {
  TestFolder folder;
  const auto add = [&](const char* name, std::chrono::hours age) {
    std::ofstream(folder.path() / name) << "x";
    std::filesystem::last_write_time(folder.path() / name,
                                     std::filesystem::file_time_type::clock::now() - age);
  };
  add("1.db", std::chrono::hours(90));
  add("2.db", std::chrono::hours(80));
  add("notes.txt", std::chrono::hours(90));
  add("9.db.part", std::chrono::hours(60));
  EXPECT_EQ(remove_backups(folder.path(), std::chrono::hours(48)), 2);
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "2.db")) << "the newest";
  add("3.db", std::chrono::hours(10));
  add("4.db", std::chrono::hours(1));
  EXPECT_EQ(remove_backups(folder.path(), std::chrono::hours(48)), 1);
  for (const char* kept : {"3.db", "4.db", "notes.txt"}) {
    EXPECT_TRUE(std::filesystem::exists(folder.path() / kept)) << kept;
  }
  EXPECT_EQ(remove_backups(folder.path() / "absent", std::chrono::hours(1)), 0);
}

}  // namespace
}  // namespace atelier::server
