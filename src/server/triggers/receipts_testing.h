// SPDX-License-Identifier: Apache-2.0
// For tests: a database with a queue of runs that does no more than hold them.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "server/triggers/receipts.h"
#include "store/test_folder.h"

namespace atelier::server {

// Adds the row that a queue would. Every run has another id, so that two of one blob are two rows.
inline Result<std::string> submit_row(Connection& connection, const TriggeredRun& run) {
  const auto last = TRY(connection.integer("SELECT max(seq) FROM runs"));
  const std::string id = fmt::format("run-{}", last.value_or(0) + 1);
  TRY(connection.run(
      "INSERT INTO runs (id, pipeline, version, sha256, parameters, owner, pool, state, "
      "created_at, input, bytes, trigger_name) VALUES (?, ?, 1, '', ?, ?, 'p', 'queued', 0, ?, ?, "
      "?)",
      {id, run.pipeline, run.parameters, run.owner, run.input, static_cast<int64_t>(run.bytes),
       run.trigger}));
  return id;
}

// What looks at nothing before the transaction.
using SubmitRun = std::function<Result<std::string>(Connection&, const TriggeredRun&)>;
inline PrepareRun at_once(SubmitRun submit) {
  return [submit = std::move(submit)](const TriggeredRun& run) -> Result<AddRun> {
    return AddRun([submit, run](Connection& connection) { return submit(connection, run); });
  };
}

inline std::unique_ptr<Database> open_database(const std::filesystem::path& file,
                                               DatabaseOptions options = {}) {
  auto opened = Database::open(file, std::move(options));
  EXPECT_TRUE(opened.ok()) << (opened.ok() ? "" : opened.error().message);
  return opened.ok() ? std::move(opened).value() : nullptr;
}

inline int64_t number_of(Database& database, const std::string& sql) {
  int64_t number = -1;
  const Result<void> done = database.read([&](Connection& connection) -> Result<void> {
    number = TRY(connection.integer(sql)).value_or(-1);
    return {};
  });
  EXPECT_TRUE(done.ok());
  return number;
}

inline Trigger trigger_of(const std::string& toml) {
  Result<Trigger> trigger = parse_trigger(toml);
  EXPECT_TRUE(trigger.ok()) << (trigger.ok() ? "" : trigger.error().message);
  return trigger.ok() ? *std::move(trigger) : Trigger{};
}

inline bool always() { return true; }

}  // namespace atelier::server
