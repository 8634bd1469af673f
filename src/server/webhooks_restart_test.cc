// SPDX-License-Identifier: Apache-2.0
// A process that adds events and tells of them is ended at each of its commits; another goes on.
// Whatever was added is told at least once, always under the same id, and nothing else is told.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <set>

#include "server/webhooks.h"
#include "server/webhooks_testing.h"
#include "store/test_folder.h"

namespace atelier::server {
namespace {

constexpr int64_t kEvents = 3;

// What was sent is a line in a file, which outlives the process. Every third attempt fails, so that
// repetitions are killed, too.
class FileSender final : public WebhookSender {
 public:
  explicit FileSender(const std::filesystem::path& file) : out_(file, std::ios::app) {}
  Result<WebhookAnswer> send(const Webhook&, const WebhookMessage& message, int) override {
    const bool fails = ++count_ % 3 == 2;
    if (!fails) out_ << message.id << ' ' << message.body << std::endl;
    return WebhookAnswer{fails ? 500 : 200};
  }

 private:
  std::ofstream out_;
  int count_ = 0;
};

struct RestartTest : ::testing::Test {
  TestFolder folder;
  std::filesystem::path file = folder.path() / "atelier.db", sent = folder.path() / "sent";
  FakeWallClock clock;
  NullLog log;
  const Webhook hook = webhook_to("https://hooks.example.com/");

  // Adds what is missing of the events and tells what is due. The number of commits that it made;
  // empty: something failed.
  std::optional<uint64_t> work(uint64_t dies_at) {
    uint64_t commits = 0;
    DatabaseOptions options;
    options.before_commit = [&](uint64_t n) {
      commits = n;
      if (n == dies_at) ::_exit(9);
    };
    const auto database = Database::open(file, std::move(options));
    if (!database.ok()) return std::nullopt;
    FileSender sender(sent);
    Deliveries deliveries(**database, sender, clock, log);
    int64_t there = -1;
    const Result<void> counted = (*database)->read([&](Connection& connection) -> Result<void> {
      there = TRY(connection.integer("SELECT count(*) FROM events")).value_or(-1);
      return {};
    });
    if (!counted.ok() || there < 0) return std::nullopt;
    for (int64_t seq = there + 1; seq <= kEvents; ++seq) {
      if (!add_event(**database, {hook}, clock, seq, "finished").ok()) return std::nullopt;
      if (!deliveries.deliver_due(hook).ok()) return std::nullopt;
    }
    for (int round = 0; round < 10; ++round) {
      clock.advance(3'600'000);
      if (!deliveries.deliver_due(hook).ok()) return std::nullopt;
    }
    return commits;
  }

  // In a process of its own. True: it was ended by its commit.
  bool dies(uint64_t at) {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(work(at) ? 0 : 1);
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) != 1) << status;
    return WEXITSTATUS(status) == 9;
  }

  // How often each was told, by event; each under one id and in one form.
  std::map<std::string, int> told() {
    std::map<std::string, int> times;
    std::map<std::string, std::string> bodies;
    std::ifstream in(sent);
    std::string id, body;
    while (in >> id && std::getline(in, body)) {
      ++times[id];
      EXPECT_EQ(bodies.emplace(id, body).first->second, body);
    }
    std::set<std::string> different;
    for (const auto& [ignored, text] : bodies) different.insert(text);
    EXPECT_EQ(different.size(), bodies.size()) << "an event was told under two ids";
    return times;
  }
};

TEST_F(RestartTest, WhateverTheCommitAtWhichItDiesEveryEventIsTold) {
  uint64_t dies_at = 1;
  int doubled = 0;
  for (;; ++dies_at) {
    ASSERT_LT(dies_at, 100U) << "it never came to its end";
    std::filesystem::remove(sent);
    for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(file.string() + suffix);
    const bool died = dies(dies_at);
    ASSERT_FALSE(dies(0));
    for (const auto& [id, times] : told()) {
      EXPECT_LE(times, died ? 2 : 1) << id;
      doubled += times - 1;
    }
    EXPECT_EQ(told().size(), static_cast<size_t>(kEvents)) << dies_at;
    const auto database = Database::open(file).value();
    const auto rows = delivery_rows(*database);
    EXPECT_EQ(rows.size(), static_cast<size_t>(kEvents));
    for (const auto& [key, row] : rows) EXPECT_EQ(row.state, "delivered") << key.second;
    if (!died) break;
  }
  EXPECT_GT(dies_at, static_cast<uint64_t>(2 * kEvents));
  EXPECT_GT(doubled, 0) << "no death fell between sending and writing it down";
}

TEST_F(RestartTest, OneThatDiesAgainAndAgainStillComesToItsEnd) {
  int lives = 0;
  // Each life gets one commit further than none at all.
  while (dies(2)) ASSERT_LT(++lives, 100);
  EXPECT_GT(lives, kEvents);
  EXPECT_EQ(told().size(), static_cast<size_t>(kEvents));
}

}  // namespace
}  // namespace atelier::server
