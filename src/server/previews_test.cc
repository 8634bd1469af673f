// SPDX-License-Identifier: Apache-2.0
#include "server/previews.h"

#include <gmock/gmock.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "store/test_folder.h"

namespace atelier::server {
namespace {

using ::testing::HasSubstr;

// A program that a test holds back, and tells how to end.
struct FakeCommands final : engine::Commands {
  std::atomic<bool> go = true;
  std::atomic<int> code = 0, calls = 0;
  Result<Answer> run(const std::vector<std::string>& words, std::string_view,
                     std::stop_token stop) override {
    ++calls;
    while (!go && !stop.stop_requested()) std::this_thread::yield();
    if (stop.stop_requested()) return make_error(Code::cancelled, "Interrupted.");
    if (code == 0) std::ofstream(words.back()) << words.front();
    return Answer{code, "", "atelier: no video\nmore"};
  }
};

struct PreviewsTest : ::testing::Test {
  TestFolder folder;
  FakeCommands commands;
  std::unique_ptr<Previews> previews;

  void SetUp() override { create(2); }
  void create(size_t most) {
    previews = std::make_unique<Previews>(
        commands, folder.path(),
        [](const RunRow& run,
           const std::filesystem::path& path) -> Result<std::vector<std::string>> {
          return std::vector<std::string>{run.id, path.string()};
        },
        most);
  }
  Result<std::optional<std::filesystem::path>> ask(const std::string& id) const {
    RunRow run;
    run.id = id;
    return previews->of(run);
  }
  // Until it is there, or failed.
  Result<std::optional<std::filesystem::path>> wait(const std::string& id) const {
    for (;;) {
      auto got = ask(id);
      if (!got.ok() && got.error().code != Code::unavailable) return got;
      if (got.ok() && *got) return got;
      std::this_thread::yield();
    }
  }
};

TEST_F(PreviewsTest, APictureIsMadeOnceAndKept) {
  const auto path = wait("a");
  ASSERT_TRUE(path.ok());
  std::ifstream file(**path);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "a");
  ASSERT_TRUE(wait("a").ok());
  EXPECT_EQ(commands.calls, 1);
}

TEST_F(PreviewsTest, OneIsMadeAtATime) {
  commands.go = false;
  ASSERT_TRUE(ask("a").ok());
  EXPECT_FALSE(ask("a").value().has_value());
  const auto other = ask("b");
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().code, Code::unavailable);
  EXPECT_GT(other.error().retry_after.count(), 0);
  commands.go = true;
  EXPECT_TRUE(wait("a").ok());
  EXPECT_TRUE(wait("b").ok());
}

TEST_F(PreviewsTest, WhatFailedIsToldOnceAndTriedAgain) {
  commands.code = 3;
  const auto failed = wait("a");
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, Code::invalid_input);
  EXPECT_THAT(failed.error().message, HasSubstr("no video"));
  commands.code = 0;
  EXPECT_TRUE(wait("a").ok());
}

TEST_F(PreviewsTest, TheOldestGo) {
  for (const char* id : {"a", "b", "c", "d"}) ASSERT_TRUE(wait(id).ok());
  EXPECT_LE(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 3);
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "d.png"));
}

TEST_F(PreviewsTest, ItsEndEndsWhatIsBeingMade) {
  commands.go = false;
  ASSERT_TRUE(ask("a").ok());
  previews.reset();
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace atelier::server
