// SPDX-License-Identifier: Apache-2.0
// What the tests of the dispatcher share: processes that do as they are told, and a queue.
#pragma once

#include <gtest/gtest.h>

#include <deque>

#include "server/dispatcher.h"
#include "store/test_folder.h"

namespace atelier::server {

constexpr int exit_status(int code) { return code << 8; }

// A process that a test tells what to say and when to end.
struct Play {
  std::vector<std::string> words;
  std::string says;
  std::optional<int> status;
  bool asked = false, gone = false;
};

class PlayedProgram final : public engine::Program {
 public:
  explicit PlayedProgram(Play& play) : play_(play) {}
  ~PlayedProgram() override { play_.gone = true; }
  std::string read() override { return std::exchange(play_.says, {}); }
  std::optional<int> ended() override { return play_.status; }
  void ask_to_leave() override { play_.asked = true; }

 private:
  Play& play_;
};

struct DispatcherTest : ::testing::Test, engine::Launcher {
  TestFolder folder;
  FakeClock clock;
  FakeWallClock wall;
  std::unique_ptr<Database> database =
      std::move(Database::open(folder.path() / "atelier.db")).value();
  std::deque<Play> plays;  // in the order of their start
  bool startable = true;
  size_t steps = 1;
  int64_t most_attempts = 3, most_running = 99;
  std::string output;  // of what is added
  std::map<std::string, std::string> reports;
  std::optional<Error> no_reports;  // why none can be read
  std::vector<std::string> ended, said;
  DispatcherSetup setup;
  std::unique_ptr<Dispatcher> dispatcher;

  Result<std::unique_ptr<engine::Program>> start(const std::vector<std::string>& words) override {
    if (!startable) return make_error(Code::unavailable, "no more processes");
    plays.push_back({words, "", std::nullopt});
    return std::unique_ptr<engine::Program>(std::make_unique<PlayedProgram>(plays.back()));
  }
  void wait(std::span<engine::Program* const>, std::chrono::milliseconds most) override {
    clock.advance(most);
  }

  void SetUp() override {
    setup.pools["local"] = {1, 1, 3.6};
    setup.is_run_url = [](const std::string& url) { return url.starts_with("file:///runs/"); };
    setup.most_running_of_owner = [this](const std::string&) { return most_running; };
    setup.steps_of = [this](const RunRow& run) -> Result<std::vector<std::vector<std::string>>> {
      std::vector<std::vector<std::string>> commands;
      for (size_t i = 0; i < steps; ++i) commands.push_back({"run", run.id, std::to_string(i)});
      return commands;
    };
    setup.max_attempts = [this](const RunRow&) { return most_attempts; };
    setup.read_report = [this](const std::string& url) -> Result<std::optional<std::string>> {
      if (no_reports) return *no_reports;
      const auto found = reports.find(url);
      if (found == reports.end()) return std::optional<std::string>();
      return std::optional(found->second);
    };
    setup.on_end = [this](Connection&, const std::string& id, int64_t) -> Result<void> {
      ended.push_back(id);
      return {};
    };
    setup.logs = folder.path() / "logs";
    setup.say = [this](const std::string& text) { said.push_back(text); };
    create();
  }
  void create() {
    dispatcher.reset();
    auto made = Dispatcher::create(*database, *this, clock, wall, setup);
    ASSERT_TRUE(made.ok()) << made.error().message;
    dispatcher = std::move(made).value();
  }
  // A run whose process ends well while the store that has its report is away.
  std::string end_without_store() {
    std::string id = add();
    step();
    plays.back().says = "Run: file:///runs/1\n";
    step();
    no_reports = Error{Code::unavailable, "The store is away."};
    end(exit_status(0));
    return id;
  }
  // No run comes so far as to start.
  void refuse_all(const Error& error) {
    setup.steps_of = [error](const RunRow&) -> Result<std::vector<std::vector<std::string>>> {
      return error;
    };
    create();
  }
  int64_t number(const std::string& sql) {
    int64_t found = -1;
    EXPECT_TRUE(database
                    ->read([&](Connection& connection) -> Result<void> {
                      found = TRY(connection.integer(sql)).value_or(0);
                      return {};
                    })
                    .ok());
    return found;
  }
  std::string add(const std::string& owner = "ann", std::optional<double> max_seconds = {},
                  std::optional<double> max_cost = {}) {
    NewRun run;
    run.pipeline = "paint";
    run.owner = owner;
    run.pool = "local";
    run.max_seconds = max_seconds;
    run.max_cost = max_cost;
    run.output = output;
    std::string id;
    EXPECT_TRUE(database
                    ->write([&](Connection& connection) -> Result<void> {
                      id = TRY(add_run(connection, run, {}, wall.now()));
                      return {};
                    })
                    .ok());
    return id;
  }
  RunRow find(const std::string& id) {
    RunRow row;
    EXPECT_TRUE(database
                    ->read([&](Connection& connection) -> Result<void> {
                      row = TRY(find_run(connection, id)).value();
                      return {};
                    })
                    .ok());
    return row;
  }
  void step() { ASSERT_TRUE(dispatcher->step().ok()); }
  // The last process ends so.
  void end(int status, const std::string& says = "") {
    plays.back().says = says;
    plays.back().status = status;
    step();
  }
};

}  // namespace atelier::server
