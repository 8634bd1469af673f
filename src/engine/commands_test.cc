// SPDX-License-Identifier: Apache-2.0
#include "engine/commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

namespace atelier::engine {
namespace {

using testing::HasSubstr;

Result<Commands::Answer> run(const std::string& script, std::string_view input = {},
                             std::chrono::milliseconds timeout = std::chrono::minutes(1),
                             std::stop_token stop = {}) {
  return make_commands(timeout)->run({"sh", "-c", script}, input, std::move(stop));
}

TEST(Commands, BothOutputsAndTheExitCodeComeBack) {
  const auto answer = run("echo out; echo err >&2; exit 3");
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  EXPECT_EQ(answer->out, "out\n");
  EXPECT_EQ(answer->err, "err\n");
  EXPECT_EQ(answer->code, 3);
  EXPECT_EQ(run("kill -9 $$")->code, 137);
}

TEST(Commands, LargeInputAndOutputDoNotBlock) {
  const std::string input(3'000'000, 'x');
  EXPECT_EQ(run("cat; cat /dev/null >&2", input)->out, input);
  EXPECT_EQ(run("head -c 1000000 /dev/zero >&2; echo done", input)->out, "done\n")
      << "what is not read is no trouble";
}

TEST(Commands, WordsAreNotReadByAShell) {
  const auto answer =
      make_commands(std::chrono::minutes(1))->run({"echo", "$HOME; `id` 'a b'"}, {}, {});
  EXPECT_EQ(answer->out, "$HOME; `id` 'a b'\n");
}

TEST(Commands, OneThatIsNotThereIsNamed) {
  const auto answer =
      make_commands(std::chrono::minutes(1))->run({"atelier-no-such-command"}, {}, {});
  EXPECT_EQ(answer.error().code, Code::unavailable);
  EXPECT_THAT(answer.error().message, HasSubstr("no command 'atelier-no-such-command'"));
}

TEST(Commands, OneThatDoesNotAnswerIsEndedWithItsChildren) {
  const auto path = std::filesystem::path(testing::TempDir()) / fmt::format("pid-{}", ::getpid());
  const auto answer = run("sleep 1000 & echo $! >'" + path.string() + "'; wait", {},
                          std::chrono::milliseconds(500));
  EXPECT_EQ(answer.error().code, Code::unavailable);
  EXPECT_THAT(answer.error().message, HasSubstr("'sh' does not answer"));
  pid_t child = 0;
  std::ifstream(path) >> child;
  std::filesystem::remove(path);
  ASSERT_GT(child, 0);
  // Whoever reaps orphans here needs a moment.
  const auto is_alive = [&] {
    std::string state;
    std::ifstream stat(fmt::format("/proc/{}/stat", child));
    for (int i = 0; i < 3; ++i) stat >> state;
    return stat && state != "Z";
  };
  for (int i = 0; i < 500 && is_alive(); ++i) ::usleep(10000);
  EXPECT_FALSE(is_alive());
}

TEST(Commands, OneThatSaysNothingAnyMoreAndGoesOnIsEnded) {
  const auto answer = run("exec >&- 2>&-; sleep 1000", {}, std::chrono::milliseconds(300));
  EXPECT_EQ(answer.error().code, Code::unavailable);
}

TEST(Commands, AStopEndsIt) {
  std::stop_source stop;
  std::jthread stopper([&] { stop.request_stop(); });
  EXPECT_EQ(run("sleep 1000", {}, std::chrono::minutes(1), stop.get_token()).error().code,
            Code::cancelled);
}

}  // namespace
}  // namespace atelier::engine
