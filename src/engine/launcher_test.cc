// SPDX-License-Identifier: Apache-2.0
#include "engine/launcher.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

namespace atelier::engine {
namespace {

constexpr std::chrono::milliseconds kLong(60000);

class LauncherTest : public testing::Test {
 protected:
  std::unique_ptr<Program> shell(const std::string& script) {
    return launcher_->start({"sh", "-c", script}).value();
  }
  // Until it has ended, or says `word`.
  void wait_for(Program& program, const std::string& word = "\n\n") {
    for (;;) {
      status_ = program.ended();
      said_ += program.read();
      if (status_ || said_.find(word) != std::string::npos) return;
      Program* const one = &program;
      launcher_->wait({&one, 1}, kLong);
    }
  }

  std::unique_ptr<Launcher> launcher_ = make_launcher();
  std::optional<int> status_;
  std::string said_;
};

TEST_F(LauncherTest, WhatAProgramSaysAndHowItEndsIsHeard) {
  const auto program = shell("echo one; echo two >&2; exit 7");
  wait_for(*program);
  EXPECT_EQ(said_, "one\ntwo\n");
  ASSERT_TRUE(status_ && WIFEXITED(*status_));
  EXPECT_EQ(WEXITSTATUS(*status_), 7);
  EXPECT_EQ(program->ended(), status_) << "asked again";
}

TEST_F(LauncherTest, ManyWordsDoNotStopIt) {
  const auto program = shell("head -c 1000000 /dev/zero | tr '\\0' x");
  wait_for(*program);
  EXPECT_EQ(said_.size(), 1000000U);
}

TEST_F(LauncherTest, OneThatClosedItsOutputIsStillWaitedFor) {
  const auto program = shell("exec >&- 2>&-; exit 3");
  wait_for(*program);
  EXPECT_EQ(WEXITSTATUS(status_.value_or(0)), 3);
}

TEST_F(LauncherTest, SignalsThatThisProgramHoldsBackReachIt) {
  sigset_t held;
  sigset_t before;
  sigemptyset(&held);
  sigaddset(&held, SIGTERM);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &held, &before), 0);
  const auto program = shell("echo ready; while :; do read -r x || sleep 0.01; done");
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  wait_for(*program, "ready");
  program->ask_to_leave();
  wait_for(*program);
  ASSERT_TRUE(WIFSIGNALED(*status_));
  EXPECT_EQ(WTERMSIG(*status_), SIGTERM);
}

TEST_F(LauncherTest, ItIsInAGroupOfItsOwnAndReadsNothing) {
  const auto program = shell("ps -o pgid= -p $$ | tr -d ' '; echo $$; cat");
  wait_for(*program);
  const size_t end = said_.find('\n');
  EXPECT_EQ(said_.substr(0, end), said_.substr(end + 1, end));
}

TEST_F(LauncherTest, ItEndsWithItsObject) {
  auto program = shell("trap '' TERM; echo $$; while :; do sleep 0.01; done");
  wait_for(*program, "\n");
  const int pid = std::stoi(said_);
  ASSERT_EQ(::kill(pid, 0), 0);
  program.reset();
  EXPECT_NE(::kill(pid, 0), 0);
}

TEST_F(LauncherTest, AProgramThatIsNotThereIsNamed) {
  const auto started = launcher_->start({"no-such-mpirun"});
  EXPECT_EQ(started.error().code, Code::unavailable);
  EXPECT_NE(started.error().message.find("'no-such-mpirun' cannot be started (No such file"),
            std::string::npos);
}

}  // namespace
}  // namespace atelier::engine
