// SPDX-License-Identifier: Apache-2.0
#include "server/outputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/runs.h"
#include "store/test_folder.h"

namespace atelier::server {
namespace {

using ::testing::HasSubstr;

struct OutputsTest : ::testing::Test {
  TestFolder folder;
  std::unique_ptr<Database> database =
      std::move(Database::open(folder.path() / "atelier.db")).value();

  // A run that begins to write "file:///out" from "file:///in".
  std::string begin() {
    NewRun run;
    run.pipeline = "paint";
    run.owner = "ann";
    run.pool = "local";
    run.input = "file:///in";
    run.output = "file:///out";
    std::string id;
    const auto done = database->write([&](Connection& connection) -> Result<void> {
      id = TRY(add_run(connection, run, {}, 1));
      EXPECT_TRUE(TRY(begin_attempt(connection, id, 2)));
      return note_outputs(connection, id, run.input, {run.output});
    });
    EXPECT_TRUE(done.ok());
    return id;
  }
  void again(const std::string& id) {
    const auto done = database->write([&](Connection& connection) -> Result<void> {
      EXPECT_TRUE(TRY(begin_attempt(connection, id, 4)));
      return note_outputs(connection, id, "file:///in", {"file:///out"});
    });
    EXPECT_TRUE(done.ok());
  }
  void end(const std::string& id, RunState state, bool may_have_written) {
    AttemptEnd end;
    end.state = state;
    end.may_have_written = may_have_written;
    const auto done = database->write([&](Connection& connection) -> Result<void> {
      EXPECT_TRUE(TRY(end_attempt(connection, id, end, 3)));
      return {};
    });
    EXPECT_TRUE(done.ok());
  }
  Result<bool> may_replace(const std::string& id) {
    bool may = false;
    TRY(database->read([&](Connection& connection) -> Result<void> {
      may = TRY(was_made_from(connection, "file:///out", "file:///in", id));
      return {};
    }));
    return may;
  }
  std::optional<std::string> writer() {
    std::optional<std::string> found;
    const auto done = database->read([&](Connection& connection) -> Result<void> {
      found = TRY(run_that_writes(connection, {"file:///out"}));
      return {};
    });
    EXPECT_TRUE(done.ok());
    return found;
  }
};

TEST_F(OutputsTest, OnlyWhatWasWrittenForSureIsReplaced) {
  const std::string killed = begin();
  end(killed, RunState::failed, true);
  EXPECT_EQ(writer(), killed) << "nobody can tell: it starts no run";
  EXPECT_FALSE(may_replace("another").value()) << "nor may it be replaced";
  const std::string good = begin();
  end(good, RunState::finished, false);
  EXPECT_TRUE(may_replace("another").value());
  EXPECT_FALSE(may_replace(good).value()) << "its own";
}

TEST_F(OutputsTest, WhatIsBeingWrittenIsWaitedFor) {
  const std::string first = begin(), second = begin();
  const auto asked = may_replace(second);
  ASSERT_FALSE(asked.ok());
  EXPECT_EQ(asked.error().code, Code::unavailable);
  EXPECT_THAT(asked.error().message, HasSubstr(first));
  end(second, RunState::queued, false);
  EXPECT_FALSE(may_replace(first).value()) << "one that waits writes nothing";
  // Also at another attempt, when an earlier one may have written.
  end(first, RunState::queued, true);
  EXPECT_FALSE(may_replace(second).value());
  again(first);
  EXPECT_FALSE(may_replace(second).ok());
  end(first, RunState::finished, false);
  EXPECT_TRUE(may_replace(second).value());
}

TEST_F(OutputsTest, ARunThatWroteNothingLeavesNothing) {
  const std::string id = begin();
  EXPECT_EQ(writer(), id);
  end(id, RunState::failed, false);
  EXPECT_EQ(writer(), std::nullopt);
}

}  // namespace
}  // namespace atelier::server
