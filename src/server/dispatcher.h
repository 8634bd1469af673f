// SPDX-License-Identifier: Apache-2.0
// Makes queued runs go on: starts a process for each run whose turn it is, watches it, and writes
// down what came of it.
//
// A process is `atelier run` with the arguments of the run's step. The run folder is the truth
// (DESIGN): what this process, the machine or the service loses is only time, since the same
// command goes on where it stopped. So a service that starts finds runs "running" that nobody
// works on, and puts them into the queue again.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "engine/launcher.h"
#include "server/judge.h"
#include "server/node_times.h"
#include "server/runs.h"

namespace atelier::server {

struct PoolLimits {
  int64_t max_running = 1;         // runs at the same time
  int64_t most_nodes = 1;          // of one run
  double price_per_node_hour = 0;  // in whatever money the configuration counts
  bool is_elsewhere = false;       // nodes come and go while the run's process waits for them
};

// All are called from the dispatcher's thread alone.
struct DispatcherSetup {
  std::map<std::string, PoolLimits> pools;
  std::function<int64_t(const std::string& owner)> most_running_of_owner;
  // The commands of a run's steps, each a program and its arguments. Errors: those of the run.
  std::function<Result<std::vector<std::vector<std::string>>>(const RunRow&)> steps_of;
  // How many attempts a run has.
  std::function<int64_t(const RunRow&)> max_attempts;
  // Whether a URL is that of a run folder of this service's: what a process prints holds names that
  // strangers chose.
  std::function<bool(const std::string& url)> is_run_url;
  // report.json of a run folder; nothing if there is none. Errors: those of the store; while it is
  // unavailable, the end of the run waits.
  std::function<Result<std::optional<std::string>>(const std::string& run_url)> read_report;
  // When nodes worked in a run folder, those that beat at `since` or later; of pools elsewhere.
  // Empty: all nodes count for all of an attempt. Errors: those of the store.
  std::function<Result<std::vector<NodeTime>>(const RunRow&, const std::string& run_url,
                                              Millis since)>
      node_times;
  // URLs that what a run writes is known by (known_urls() of outputs.h). Empty: its own alone.
  std::function<std::vector<std::string>(const std::string& output)> output_urls;
  // Why no run may be started now: a sentence, or nothing. May be empty.
  std::function<std::string()> why_not_ready;
  // Called in the transaction that ends a run, with the event that tells it. May be empty.
  std::function<Result<void>(Connection&, const std::string& run_id, int64_t event)> on_end;
  // Called after that transaction. May be empty.
  std::function<void(const RunRow&, RunState)> after_end;
  // Starts a command of a run. Empty: the launcher does.
  std::function<Result<std::unique_ptr<engine::Program>>(const RunRow&,
                                                         const std::vector<std::string>& words)>
      start_command;
  // Called each time that the queue is looked at. May be empty.
  std::function<Result<void>()> look_at_processes;
  std::filesystem::path logs;  // a folder: what the processes of a run print goes to ID.log
  std::function<void(const std::string&)> say;
  // Of a process that is asked to leave, before it is killed.
  std::chrono::milliseconds patience = std::chrono::seconds(30);
  // A process that prints nothing for so long hangs; they print every few seconds.
  std::chrono::milliseconds silence = std::chrono::minutes(30);
};

// One thread.
class Dispatcher {
 public:
  // All must outlive it. Errors: those of Database; internal where the folder of logs cannot be
  // made.
  static Result<std::unique_ptr<Dispatcher>> create(Database& database, engine::Launcher& launcher,
                                                    const Clock& clock, const WallClock& wall,
                                                    DispatcherSetup setup);
  ~Dispatcher();
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  // Looks once at processes, wishes and the queue. What the database refuses (it is locked, the
  // disk is full) is tried again next time.
  Result<void> step();
  // Steps until it is asked to stop; then processes are asked to leave, their runs are queued
  // again, and it returns.
  void run(const std::stop_token& stop);
  size_t running() const { return jobs_.size(); }

 private:
  struct Job;
  Dispatcher(Database& database, engine::Launcher& launcher, const Clock& clock,
             const WallClock& wall, DispatcherSetup setup);
  Result<void> recover();
  Result<AttemptEnd> end_of_lost(const RunRow& run, std::vector<NodeTime>& worked);
  Result<void> watch();
  Result<void> watch(Job& job);
  void listen(Job& job);
  Result<void> note_urls(Job& job);
  void check_bounds(Job& job);
  bool is_overdue(const Job& job) const;
  Result<void> hear_cancels();
  bool is_ready();
  Result<void> fill_pools();
  Result<bool> begin_next(const std::string& pool);
  void start(RunRow run);
  void start_step(Job& job);
  Result<void> write_end(Job& job);
  // What a report said, if there is one.
  struct Read {
    std::optional<std::string> report;
  };
  std::optional<Read> read_report(Job& job, const std::string& url);
  void end_process(Job& job);
  void ask_to_leave(Job& job);
  const PoolLimits& pool_of(const RunRow& run) const;
  std::vector<NodeTime> worked_of(const RunRow& run, const std::string& url, int64_t nodes,
                                  Millis begin, Millis end);
  Result<std::vector<NodeTime>> ask_for_nodes(const RunRow& run, const std::string& url,
                                              Millis since);
  double hours_since_nodes(Job& job);
  void leave();
  bool has_left() const;

  Database& database_;
  engine::Launcher& launcher_;
  const Clock& clock_;
  const WallClock& wall_;
  const DispatcherSetup setup_;
  std::vector<std::unique_ptr<Job>> jobs_;
  std::map<std::string, uint64_t> last_begun_;
  uint64_t begun_ = 0;
  std::optional<Clock::Duration> leaving_since_;
  bool is_held_ = false;                // it said that it starts nothing
  std::optional<Error> nodes_unknown_;  // what node_times had last
  Clock::Duration nodes_unknown_since_{0};
  Clock::Duration no_reports_until_{0};
};

}  // namespace atelier::server
