// SPDX-License-Identifier: Apache-2.0
// Runs that do not come so far as to start.
#include <gmock/gmock.h>

#include "server/dispatcher_testing.h"

namespace atelier::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(DispatcherTest, TroubleThatPassesIsNoFailureOfTheRun) {
  bool trouble = true;
  setup.steps_of = [&](const RunRow&) -> Result<std::vector<std::vector<std::string>>> {
    if (trouble) return make_error(Code::unavailable, "No more files.");
    return std::vector<std::vector<std::string>>{{"run"}};
  };
  create();
  const std::string id = add();
  step();
  step();
  EXPECT_EQ(find(id).state, RunState::queued);
  EXPECT_EQ(find(id).attempts, 0);
  trouble = false;
  wall.advance(60'000);
  step();
  EXPECT_EQ(find(id).state, RunState::running);
}

TEST_F(DispatcherTest, TroubleBeforeTheStartComesToAnEnd) {
  refuse_all({Code::unavailable, "The store is away."});
  const std::string id = add();
  Millis longest = 0;
  for (int i = 0; i < 200 && find(id).state == RunState::queued; ++i) {
    longest = std::max(longest, find(id).not_before - wall.now());
    wall.advance(std::max<Millis>(0, find(id).not_before - wall.now()));
    step();
    step();
  }
  EXPECT_EQ(find(id).state, RunState::failed);
  EXPECT_THAT(find(id).reason, HasSubstr("The store is away."));
  EXPECT_GT(longest, 10 * 60'000);
}

TEST_F(DispatcherTest, AnInputThatIsDamagedIsSetAsideAtOnce) {
  refuse_all({Code::corrupt, "It is cut short."});
  const std::string id = add();
  step();
  step();
  EXPECT_EQ(find(id).state, RunState::set_aside);
}

TEST_F(DispatcherTest, ACancelThatComesWhileTheAttemptEndsIsHeard) {
  setup.steps_of = [&](const RunRow& run) -> Result<std::vector<std::vector<std::string>>> {
    const auto asked = database->write([&](Connection& connection) -> Result<void> {
      EXPECT_TRUE(TRY(ask_to_cancel(connection, run.id, wall.now())));
      return {};
    });
    EXPECT_TRUE(asked.ok());
    return make_error(Code::unavailable, "The store is away.");
  };
  create();
  const std::string id = add();
  step();
  step();
  EXPECT_EQ(find(id).state, RunState::cancelled);
  EXPECT_THAT(ended, ElementsAre(id));
}

TEST_F(DispatcherTest, AMachineWithoutProcessesKeepsTheRunWaiting) {
  startable = false;
  const std::string id = add();
  step();
  step();
  EXPECT_EQ(find(id).state, RunState::queued);
  EXPECT_EQ(find(id).attempts, 0);
  EXPECT_GT(find(id).not_before, wall.now());
  startable = true;
  wall.advance(60'000);
  step();
  EXPECT_EQ(find(id).state, RunState::running);
}

TEST_F(DispatcherTest, WhatHasNoCommandsFails) {
  refuse_all({Code::invalid_argument, "Its pipeline is gone."});
  const std::string id = add();
  step();
  step();
  EXPECT_EQ(find(id).state, RunState::failed);
  EXPECT_EQ(find(id).reason, "Its pipeline is gone.");
}

}  // namespace
}  // namespace atelier::server
