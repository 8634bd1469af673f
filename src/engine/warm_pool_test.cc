// SPDX-License-Identifier: Apache-2.0
#include "engine/warm_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <thread>

#include "base/clock.h"
#include "engine/warm_protocol.h"

namespace atelier::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::chrono::seconds kTimeout(60);

TEST(WarmProtocol, WordsComeAsTheyWent) {
  const std::vector<std::string> words = {"atelier", "", "a b\n", "\xFF\"'"};
  EXPECT_EQ(parse_warm_command(warm_command_text(words).value()), words);
  EXPECT_TRUE(parse_warm_command("").empty());
  EXPECT_TRUE(parse_warm_command("no end").empty());
  EXPECT_EQ(warm_command_text({}).error().code, Code::invalid_argument);
  EXPECT_EQ(warm_command_text({std::string(kLargestWarmCommand, 'a')}).error().code,
            Code::invalid_argument);
}

// Takes commands as `atelier warm-runs` does: `say TEXT`, `exit CODE` answers CODE, `die` does not
// answer, `wait` neither.
constexpr const char* kTaker = R"(
import os, signal, socket, sys, time
s = socket.socket(fileno=0)
signal.signal(signal.SIGTERM, lambda *_: (s.send(b"130"), os._exit(130)))
while packet := s.recv(1 << 17):
    verb, *rest = packet.decode().split("\0")[1:-1]
    code = 0
    if verb == "say": print(os.getpid(), rest[0], flush=True)
    if verb == "exit": code = int(rest[0])
    if verb == "die": os._exit(int(rest[0]))
    if verb == "wait": print("waits", flush=True); time.sleep(60)
    s.send(str(code).encode())
    if code: sys.exit(code)
)";

class WarmPoolTest : public testing::Test {
 protected:
  WarmPool& pool(size_t least = 0, size_t most = 4) {
    WarmRules rules;
    rules.words = {"python3", "-S", "-c", kTaker};
    rules.idle_timeout = kTimeout;
    rules.least = least;
    rules.most = most;
    pool_ = std::make_unique<WarmPool>(clock_, rules);
    return *pool_;
  }
  std::unique_ptr<Program> start(const std::string& user, std::vector<std::string> words) {
    words.insert(words.begin(), "program");
    auto program = pool_->start(user, words);
    EXPECT_TRUE(program.ok()) << program.error().message;
    return std::move(program).value();
  }
  // The status with which it ends; said_ is what it says until then, or until it says `word`.
  std::optional<int> wait_for(Program& program, const std::string& word = "\n\n") {
    said_.clear();
    for (;;) {
      const auto status = program.ended();
      said_ += program.read();
      if (status || said_.find(word) != std::string::npos) return status;
      Program* const one = &program;
      wait_for_programs({&one, 1}, std::chrono::minutes(1));
    }
  }
  // The process that does a command of `user`.
  std::string process_of(const std::string& user) {
    const auto program = start(user, {"say", "x"});
    EXPECT_EQ(wait_for(*program), W_EXITCODE(0, 0));
    EXPECT_THAT(said_, HasSubstr(" x\n"));
    return said_.substr(0, said_.find(' '));
  }

  FakeClock clock_;
  std::unique_ptr<WarmPool> pool_;
  std::string said_;
};

TEST_F(WarmPoolTest, OneProcessDoesAllOfAUser) {
  pool();
  const std::string first = process_of("ada");
  EXPECT_EQ(pool_->idle(), 1U);
  EXPECT_EQ(process_of("ada"), first);
  EXPECT_EQ(pool_->idle(), 1U);
  EXPECT_EQ(pool_->busy(), 0U);
}

TEST_F(WarmPoolTest, NoUserHasTheProcessOfAnother) {
  pool();
  const std::string ada = process_of("ada");
  const std::string bob = process_of("bob");
  EXPECT_NE(ada, bob);
  EXPECT_EQ(process_of("ada"), ada);
  EXPECT_EQ(process_of("bob"), bob);
}

TEST_F(WarmPoolTest, AnotherUsersMakesPlace) {
  pool(0, 1);
  const std::string ada = process_of("ada");
  process_of("bob");
  EXPECT_EQ(pool_->idle(), 1U);
  EXPECT_NE(process_of("ada"), ada);
}

TEST_F(WarmPoolTest, WhatIsBusyIsNotGivenAgain) {
  pool();
  const std::string first = process_of("ada");
  const auto busy = start("ada", {"wait"});
  EXPECT_FALSE(wait_for(*busy, "waits\n"));
  EXPECT_EQ(pool_->busy(), 1U);
  EXPECT_NE(process_of("ada"), first);
}

TEST_F(WarmPoolTest, OneWhoseCommandFailedIsNotUsedAgain) {
  pool();
  const std::string first = process_of("ada");
  EXPECT_EQ(wait_for(*start("ada", {"exit", "3"})), W_EXITCODE(3, 0));
  EXPECT_EQ(pool_->idle(), 0U);
  EXPECT_NE(process_of("ada"), first);
}

TEST_F(WarmPoolTest, AnEndWithoutAnAnswerIsNoSuccess) {
  pool();
  EXPECT_EQ(wait_for(*start("ada", {"die", "0"})), W_EXITCODE(1, 0));
  EXPECT_EQ(wait_for(*start("ada", {"die", "7"})), W_EXITCODE(7, 0));
  EXPECT_EQ(pool_->idle(), 0U);
}

TEST_F(WarmPoolTest, OneThatIsAskedToLeaveAnswersAndIsGone) {
  pool();
  const auto program = start("ada", {"wait"});
  wait_for(*program, "waits\n");
  program->ask_to_leave();
  EXPECT_EQ(wait_for(*program), W_EXITCODE(130, 0));
  EXPECT_EQ(pool_->idle(), 0U);
}

TEST_F(WarmPoolTest, OneThatEndedWhileItHadNothingToDoIsReplaced) {
  pool();
  const std::string first = process_of("ada");
  const pid_t pid = std::stoi(first);
  ASSERT_EQ(kill(pid, SIGKILL), 0);
  siginfo_t ended{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOWAIT), 0);
  EXPECT_NE(process_of("ada"), first);
}

TEST_F(WarmPoolTest, WhoeverHasNothingToDoForLongIsEnded) {
  pool();
  process_of("ada");
  clock_.sleep_for(kTimeout / 2);
  process_of("bob");
  clock_.sleep_for(kTimeout / 2);
  ASSERT_TRUE(pool_->look().ok());
  EXPECT_EQ(pool_->idle(), 1U) << "bob's";
  clock_.sleep_for(kTimeout / 2);
  ASSERT_TRUE(pool_->look().ok());
  EXPECT_EQ(pool_->idle(), 0U);
}

TEST_F(WarmPoolTest, TheLeastAreThereBeforeAndAfter) {
  pool(2);
  ASSERT_TRUE(pool_->look().ok());
  EXPECT_EQ(pool_->idle(), 2U);
  process_of("ada");
  EXPECT_EQ(pool_->idle(), 2U) << "one of those that were nobody's";
  process_of("bob");
  process_of("cid");
  EXPECT_EQ(pool_->idle(), 3U);
  clock_.sleep_for(kTimeout);
  ASSERT_TRUE(pool_->look().ok());
  EXPECT_EQ(pool_->idle(), 2U);
}

TEST_F(WarmPoolTest, OneThatEndsBeforeItsFirstCommandIsSaidAndNotStartedAgainAtOnce) {
  WarmRules rules;
  rules.words = {"true"};
  rules.least = 1;
  WarmPool broken(clock_, rules);
  Result<void> said;
  while ((said = broken.look()).ok()) std::this_thread::yield();
  EXPECT_THAT(said.error().message, HasSubstr("'true' ended although"));
  EXPECT_TRUE(broken.look().ok());
  EXPECT_EQ(broken.idle(), 0U);
  clock_.sleep_for(std::chrono::seconds(5));
  EXPECT_TRUE(broken.look().ok());
  EXPECT_EQ(broken.idle(), 1U);
}

TEST_F(WarmPoolTest, OneThatGoesEndsByItself) {
  pool();
  const std::string first = process_of("ada");
  clock_.sleep_for(kTimeout);
  ASSERT_TRUE(pool_->look().ok());
  EXPECT_EQ(pool_->idle(), 0U);
  siginfo_t ended{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(std::stoi(first)), &ended, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(ended.si_code, CLD_EXITED);
  EXPECT_EQ(ended.si_status, 0);
}

TEST_F(WarmPoolTest, OneThatWasAskedToLeaveIsNotUsedAgainAlthoughItWasDone) {
  pool();
  const auto program = start("ada", {"say", "x"});
  (void)wait_for(*program, "x\n");
  program->ask_to_leave();
  (void)wait_for(*program);
  EXPECT_EQ(pool_->idle(), 0U);
}

TEST_F(WarmPoolTest, AProgramThatIsNotThereIsSaid) {
  WarmRules rules;
  rules.words = {"/nowhere/atelier"};
  WarmPool none(clock_, rules);
  const auto program = none.start("ada", {"x"});
  ASSERT_FALSE(program.ok());
  EXPECT_THAT(program.error().message, HasSubstr("/nowhere/atelier"));
}

}  // namespace
}  // namespace atelier::engine
