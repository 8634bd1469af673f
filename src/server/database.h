// SPDX-License-Identifier: Apache-2.0
// The service's memory: one SQLite file (https://sqlite.org/wal.html), written by one thread.
//
// The idea: a write is a function that runs in the writer's transaction, under a savepoint of its
// own. The writer takes all functions that wait, runs them one after another and commits once, so
// that a thousand submissions cost a few dozen fsyncs. write() returns after that commit: what it
// answered is on disk. Reads go past the writer on connections of their own and see the last
// commit. Cost: one fsync per batch; reads never wait for writes. Limits: one process at a time
// (a lock beside the file says so), one machine.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <variant>
#include <vector>

#include "base/file.h"
#include "base/mutex.h"
#include "base/result.h"

namespace atelier::server {

// What goes into a statement's "?"; text is copied.
using Value = std::variant<std::nullptr_t, int64_t, double, std::string>;

// One row at a time of an answer. A column that is NULL reads as 0 or "".
class Rows {
 public:
  Rows(Rows&&) noexcept;
  Rows(const Rows&) = delete;
  Rows& operator=(Rows&&) = delete;
  Rows& operator=(const Rows&) = delete;
  ~Rows();
  // Steps to the next row; false after the last one. Errors: those of Connection.
  Result<bool> next();
  int64_t integer(int column) const;
  double real(int column) const;
  std::string text(int column) const;
  bool is_null(int column) const;

 private:
  friend class Connection;
  struct Statement;
  explicit Rows(std::unique_ptr<Statement> statement);
  std::unique_ptr<Statement> statement_;
};

// One thread at a time. Statements are compiled once and kept.
// Errors of all: no_space (the disk is full), unavailable (locked, cannot be read or written),
// conflict (a constraint: somebody else's row is there), corrupt (no database), internal (a bug in
// the statement).
class Connection {
 public:
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  Result<Rows> query(std::string_view sql, const std::vector<Value>& values = {});
  // The number of rows that changed.
  Result<int64_t> run(std::string_view sql, const std::vector<Value>& values = {});
  // Statements without values, ended by semicolons: for schemas.
  Result<void> run_script(const std::string& sql);
  // The first column of the first row; empty if there is none.
  Result<std::optional<int64_t>> integer(std::string_view sql,
                                         const std::vector<Value>& values = {});
  // The rowid of the last row that was added.
  int64_t last_row() const;

 private:
  friend class Database;
  friend class Rows;
  struct Handle;
  explicit Connection(std::unique_ptr<Handle> handle);
  std::unique_ptr<Handle> handle_;
};

// What is done with a connection inside a transaction; an error undoes it.
using Write = std::function<Result<void>(Connection&)>;

struct DatabaseOptions {
  // Writes that may wait for the writer; more are refused.
  size_t most_waiting = 4096;
  // Another program may have the file for so long before a write or a read is unavailable.
  std::chrono::milliseconds busy_timeout = std::chrono::seconds(5);
  // Called in the writer's thread with the number of the commit that is next, before it is made:
  // where tests end the process. Unset: nothing.
  std::function<void(uint64_t)> before_commit;
  // Called there after each commit: for who waits for news. Unset: nothing.
  std::function<void()> after_commit;
};

// Safe from several threads.
class Database {
 public:
  // Opens or creates `file` (mode 0600, in a folder that exists), takes its lock and brings its
  // schema up to date. Errors: invalid_argument (a newer schema than this program knows; no
  // database), unavailable (another process has it, cannot be opened), no_space.
  static Result<std::unique_ptr<Database>> open(const std::filesystem::path& file,
                                                DatabaseOptions options = {});
  // Whatever waits is written first.
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Blocks until what `work` did is on disk, or gives its error: then nothing of it is. It may
  // run twice (if another write of the batch broke the transaction), so it must set, not add to,
  // what it captures. Errors: those of `work` and of Connection; unavailable with retry_after if
  // too many wait.
  Result<void> write(const Write& work);
  // `work` sees one state of the database throughout. Errors: those of `work` and of Connection.
  Result<void> read(const Write& work);

  // A whole copy of the database at one moment, while it is used: `file` must not exist. Errors:
  // invalid_argument (it does), no_space, unavailable.
  Result<void> back_up(const std::filesystem::path& file);
  // Gives the log's room back; for once in a while.
  Result<void> checkpoint();
  size_t waiting() const;

 private:
  struct Waiting;
  Database(std::filesystem::path file, DatabaseOptions options);
  void run_writer(const std::stop_token& stop);
  void commit_batch(const std::vector<Waiting*>& batch);
  Result<void> try_batch(const std::vector<Waiting*>& batch);
  Result<void> try_commit();
  Result<std::unique_ptr<Connection>> take_reader();
  Result<void> copy_to(const std::filesystem::path& file);

  const std::filesystem::path file_;
  const DatabaseOptions options_;
  Fd lock_;
  std::unique_ptr<Connection> writer_;
  uint64_t commits_ = 0;
  mutable Mutex mutex_;
  std::condition_variable_any work_;  // for the writer: there is some, or it is to end
  std::deque<Waiting*> waiting_ GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Connection>> readers_ GUARDED_BY(mutex_);
  bool ending_ GUARDED_BY(mutex_) = false;
  Mutex backup_mutex_;  // one is made at a time: who comes second would take the first's file away
  std::jthread thread_;
};

}  // namespace atelier::server
