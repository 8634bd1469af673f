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
                    return {};
                  })
                  .ok());
  const auto forgotten = forget_old(*database, Retention{}, folder.path() / "logs", wall);
  ASSERT_TRUE(forgotten.ok()) << forgotten.error().message;
  EXPECT_EQ(forgotten->runs, 1);
  ASSERT_TRUE(database
                  ->read([&](Connection& connection) -> Result<void> {
                    EXPECT_FALSE(TRY(find_run(connection, old)).has_value());
                    for (const std::string& id : {queued, running, fresh}) {
                      EXPECT_TRUE(TRY(find_run(connection, id)).has_value());
                      EXPECT_FALSE(TRY(list_events(connection, id, 0, 10)).empty());
                    }
                    EXPECT_TRUE(TRY(list_events(connection, old, 0, 10)).empty());
                    EXPECT_EQ(TRY(connection.integer("SELECT count(*) FROM receipts")), 1);
                    return {};
                  })
                  .ok());
}

}  // namespace
}  // namespace atelier::server
