// SPDX-License-Identifier: Apache-2.0
#include "server/database.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <fstream>
#include <thread>

#include "server/runs.h"
#include "server/schema.h"
#include "store/test_folder.h"

namespace atelier::server {
namespace {

constexpr const char* kAdd =
    "INSERT INTO audit (at, who, address, action, subject) "
    "VALUES (?, ?, '', 'test', '')";

int64_t count(Database& database) {
  int64_t found = -1;
  EXPECT_TRUE(database
                  .read([&](Connection& connection) -> Result<void> {
                    found = TRY(connection.integer("SELECT count(*) FROM audit")).value_or(-1);
                    return {};
                  })
                  .ok());
  return found;
}

Result<void> add(Database& database, int64_t at) {
  return database.write([&](Connection& connection) -> Result<void> {
    TRY(connection.run(kAdd, {at, "a"}));
    return {};
  });
}

struct DatabaseTest : ::testing::Test {
  TestFolder folder;
  std::filesystem::path file = folder.path() / "atelier.db";
  std::unique_ptr<Database> open(DatabaseOptions options = {}) {
    auto opened = Database::open(file, std::move(options));
    EXPECT_TRUE(opened.ok()) << opened.error().message;
    return std::move(opened).value();
  }
};

TEST_F(DatabaseTest, WhatWasWrittenIsThereAfterReopening) {
  ASSERT_TRUE(add(*open(), 7).ok());
  EXPECT_EQ(count(*open()), 1);
}

TEST_F(DatabaseTest, OnlyItsUserMayReadIt) {
  const auto database = open();
  ASSERT_TRUE(add(*database, 1).ok());
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    struct stat status {};
    ASSERT_EQ(::stat(entry.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0077U, 0U) << entry.path();
  }
}

TEST_F(DatabaseTest, AWriteThatFailsLeavesNothingAndHurtsNoOther) {
  const auto database = open();
  std::atomic<int> good = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 50; ++i) {
          const bool fails = (i + t) % 3 == 0;
          const Result<void> done = database->write([&](Connection& connection) -> Result<void> {
            TRY(connection.run(kAdd, {i, "a"}));
            if (fails) return make_error(Code::conflict, "no");
            return {};
          });
          EXPECT_EQ(done.ok(), !fails);
          if (done.ok()) ++good;
        }
      });
    }
  }
  EXPECT_EQ(count(*database), good);
}

TEST_F(DatabaseTest, ManyWritesShareACommit) {
  std::atomic<uint64_t> commits = 0;
  DatabaseOptions options;
  options.before_commit = [&](uint64_t n) { commits = n; };
  const auto database = open(std::move(options));
  // While the first is held back, the others gather.
  std::atomic<bool> go = false, begun = false;
  std::jthread first([&] {
    EXPECT_TRUE(database
                    ->write([&](Connection&) -> Result<void> {
                      begun = true;
                      while (!go) std::this_thread::yield();
                      return {};
                    })
                    .ok());
  });
  while (!begun) std::this_thread::yield();
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 20; ++t) {
      threads.emplace_back([&] { EXPECT_TRUE(add(*database, 1).ok()); });
    }
    while (database->waiting() < 20) std::this_thread::yield();
    go = true;
  }
  first.join();
  EXPECT_EQ(commits, 2U);
  EXPECT_EQ(count(*database), 20);
}

TEST_F(DatabaseTest, MoreThanMayWaitIsRefused) {
  DatabaseOptions options;
  options.most_waiting = 1;
  const auto database = open(std::move(options));
  std::atomic<bool> go = false, begun = false;
  std::jthread first([&] {
    EXPECT_TRUE(database
                    ->write([&](Connection&) -> Result<void> {
                      begun = true;
                      while (!go) std::this_thread::yield();
                      return {};
                    })
                    .ok());
  });
  while (!begun) std::this_thread::yield();
  std::jthread second([&] { EXPECT_TRUE(add(*database, 1).ok()); });
  while (database->waiting() < 1) std::this_thread::yield();
  const Result<void> third = add(*database, 2);
  ASSERT_FALSE(third.ok());
  EXPECT_EQ(third.error().code, Code::unavailable);
  EXPECT_GT(third.error().retry_after.count(), 0);
  go = true;
}

TEST_F(DatabaseTest, AProcessThatDiesBeforeACommitLosesThatAlone) {
  for (int dies_at = 1; dies_at <= 3; ++dies_at) {
    std::filesystem::remove(file);
    std::filesystem::remove(file.string() + "-wal");
    const pid_t pid = ::fork();
    if (pid == 0) {
      DatabaseOptions options;
      options.before_commit = [dies_at](uint64_t n) {
        if (n == static_cast<uint64_t>(dies_at)) ::_exit(9);
      };
      auto database = Database::open(file, std::move(options));
      if (!database.ok()) ::_exit(1);
      for (int i = 0; i < 5; ++i) (void)add(**database, i);
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    ASSERT_EQ(WEXITSTATUS(status), 9);
    EXPECT_EQ(count(*open()), dies_at - 1);
  }
}

// Another program's handle on the file.
struct Stranger {
  explicit Stranger(const std::filesystem::path& file) {
    EXPECT_EQ(sqlite3_open(file.c_str(), &handle), SQLITE_OK);
  }
  Stranger(const Stranger&) = delete;
  Stranger& operator=(const Stranger&) = delete;
  ~Stranger() { EXPECT_EQ(sqlite3_close(handle), SQLITE_OK); }
  void say(const char* sql) const {
    EXPECT_EQ(sqlite3_exec(handle, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sql;
  }
  sqlite3* handle = nullptr;
};

// The last that closes a database takes its log away: that must not be an operator's shell while
// the service goes on.
TEST_F(DatabaseTest, AnotherProgramThatLooksInTakesNothingAway) {
  std::array<int, 2> wrote{}, looked{};
  ASSERT_EQ(::pipe(wrote.data()), 0);
  ASSERT_EQ(::pipe(looked.data()), 0);
  const pid_t service = ::fork();
  if (service == 0) {
    auto database = Database::open(file);
    char byte = 0;
    const bool fine = database.ok() && add(**database, 1).ok() && ::write(wrote[1], "w", 1) == 1 &&
                      ::read(looked[0], &byte, 1) == 1 && add(**database, 2).ok();
    ::_exit(fine ? 0 : 1);  // as if it were killed
  }
  char byte = 0;
  ::close(wrote[1]);  // else its end would not be seen
  ASSERT_EQ(::read(wrote[0], &byte, 1), 1);
  Stranger(file).say("SELECT count(*) FROM audit");
  ASSERT_EQ(::write(looked[1], "l", 1), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(service, &status, 0), service);
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(count(*open()), 2);
  for (const int end : {wrote[0], looked[0], looked[1]}) ::close(end);
}

TEST_F(DatabaseTest, WhileAnotherProgramHasItNothingIsWritten) {
  DatabaseOptions options;
  options.busy_timeout = std::chrono::milliseconds(20);
  const auto database = open(options);
  ASSERT_TRUE(add(*database, 1).ok());
  Stranger stranger(file);
  stranger.say("BEGIN IMMEDIATE");
  for (int i = 0; i < 2; ++i) {
    const Result<void> refused = add(*database, 2);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, Code::unavailable);
    EXPECT_GT(refused.error().retry_after.count(), 0);
  }
  EXPECT_EQ(count(*database), 1);
  stranger.say("ROLLBACK");
  EXPECT_TRUE(add(*database, 3).ok());
  EXPECT_EQ(count(*database), 2);
}

TEST_F(DatabaseTest, AFullDiskRefusesAndIsUsedAgainWhenThereIsRoom) {
  const auto database = open();
  ASSERT_TRUE(add(*database, 1).ok());
  const auto limit_pages = [&](const char* statement) {
    return database->write([&](Connection& connection) -> Result<void> {
      TRY(connection.integer(statement));
      return {};
    });
  };
  const std::string large(1 << 20, 'x');
  const auto add_large = [&](Connection& connection) -> Result<void> {
    TRY(connection.run(kAdd, {2, large}));
    return {};
  };
  // Never less than there are.
  ASSERT_TRUE(limit_pages("PRAGMA max_page_count=1").ok());
  const Result<void> refused = database->write(add_large);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::no_space);
  EXPECT_EQ(count(*database), 1);
  ASSERT_TRUE(limit_pages("PRAGMA max_page_count=100000").ok());
  EXPECT_TRUE(database->write(add_large).ok());
  EXPECT_EQ(count(*database), 2);
}

TEST_F(DatabaseTest, OneServiceHasIt) {
  const auto first = open();
  const auto second = Database::open(file);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, Code::unavailable);
  EXPECT_NE(second.error().message.find("Another service"), std::string::npos);
}

TEST_F(DatabaseTest, WhatIsNoDatabaseIsRefused) {
  std::ofstream(file) << std::string(5000, 'x');
  const auto opened = Database::open(file);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code, Code::invalid_argument);
}

TEST_F(DatabaseTest, ANewerSchemaIsRefused) {
  ASSERT_TRUE(open()
                  ->write([](Connection& connection) {
                    return connection.run_script("PRAGMA user_version=9999");
                  })
                  .ok());
  const auto opened = Database::open(file);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code, Code::invalid_argument);
  EXPECT_NE(opened.error().message.find("9999"), std::string::npos);
}

// A database as version 1 left it, with runs in it.
TEST_F(DatabaseTest, AnOlderDatabaseIsBroughtUpToDate) {
  constexpr const char* kRun =
      "INSERT INTO runs (id, pipeline, version, sha256, parameters, owner, pool, state, "
      "created_at, "
      "input, output, run_urls) VALUES (?, 'p', 1, '', '{}', 'ann', 'local', ?, 0, ?, ?, ?)";
  ASSERT_TRUE(open()
                  ->write([&](Connection& connection) -> Result<void> {
                    TRY(connection.run(kRun, {"done", "finished", "in1", "out1", "[\"u\"]"}));
                    TRY(connection.run(kRun, {"failed", "failed", "in2", "out2", "[\"u\"]"}));
                    TRY(connection.run(kRun, {"waits", "queued", "in3", "out3", "[]"}));
                    TRY(connection.run(kRun, {"goes", "running", "in4", "out4", "[\"u\"]"}));
                    return connection.run_script(
                        "DROP TABLE outputs; ALTER TABLE runs DROP COLUMN prefixes; ALTER TABLE "
                        "runs DROP COLUMN troubles; ALTER TABLE runs DROP COLUMN replace_own; "
                        "ALTER TABLE runs DROP COLUMN repeats; PRAGMA user_version=1");
                  })
                  .ok());
  const auto database = open();
  EXPECT_TRUE(database
                  ->read([](Connection& connection) -> Result<void> {
                    EXPECT_EQ(TRY(connection.integer("PRAGMA user_version")), schema_version());
                    EXPECT_EQ(TRY(connection.integer("SELECT count(*) FROM runs")), 4);
                    EXPECT_EQ(
                        TRY(connection.integer(
                            "SELECT count(*) FROM outputs WHERE (url, run_id, input, state) IN "
                            "(VALUES ('out1', 'done', 'in1', 'written'), ('out4', 'goes', 'in4', "
                            "'written'))")),
                        2);
                    EXPECT_EQ(TRY(connection.integer("SELECT count(*) FROM outputs")), 2);
                    EXPECT_EQ(TRY(connection.integer("SELECT sum(runs) FROM run_counts")), 4);
                    const auto run = TRY(find_run(connection, "waits"));
                    EXPECT_TRUE(run && run->prefixes.empty() && run->troubles == 0);
                    return {};
                  })
                  .ok());
}

TEST_F(DatabaseTest, ABackupIsWholeWhileItIsWritten) {
  const auto database = open();
  ASSERT_TRUE(add(*database, 1).ok());
  const auto copy = folder.path() / "backup.db";
  {
    std::jthread writer([&](const std::stop_token& stop) {
      while (!stop.stop_requested()) EXPECT_TRUE(add(*database, 2).ok());
    });
    ASSERT_TRUE(database->back_up(copy).ok());
  }
  auto restored = Database::open(copy);
  ASSERT_TRUE(restored.ok()) << restored.error().message;
  EXPECT_GE(count(**restored), 1);
  EXPECT_FALSE(std::filesystem::exists(copy.string() + ".part"));
  EXPECT_EQ(database->back_up(copy).error().code, Code::invalid_argument);
}

TEST_F(DatabaseTest, AReaderCannotWrite) {
  const auto database = open();
  const Result<void> done = database->read([](Connection& connection) -> Result<void> {
    TRY(connection.run(kAdd, {1, "a"}));
    return {};
  });
  EXPECT_FALSE(done.ok());
}

}  // namespace
}  // namespace atelier::server
