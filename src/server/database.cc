// SPDX-License-Identifier: Apache-2.0
#include "server/database.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <array>
#include <map>

#include "server/schema.h"

namespace atelier::server {
namespace {

struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
};
using DatabasePtr = std::unique_ptr<sqlite3, CloseDatabase>;

struct FinalizeStatement {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using StatementPtr = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

Code code_of(int result) {
  switch (result & 0xff) {
    case SQLITE_FULL: return Code::no_space;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM: return Code::unavailable;
    case SQLITE_CONSTRAINT: return Code::conflict;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return Code::corrupt;
    default: return Code::internal;
  }
}

Error error_of(sqlite3* database, int result) {
  Error error =
      make_error(code_of(result), "The database says: {} ({}).",
                 database != nullptr ? sqlite3_errmsg(database) : sqlite3_errstr(result), result);
  if (error.code == Code::unavailable) error.retry_after = std::chrono::seconds(1);
  return error;
}

struct Bind {
  sqlite3_stmt* statement;
  int index;
  int operator()(std::nullptr_t) const { return sqlite3_bind_null(statement, index); }
  int operator()(int64_t value) const { return sqlite3_bind_int64(statement, index, value); }
  int operator()(double value) const { return sqlite3_bind_double(statement, index, value); }
  int operator()(const std::string& value) const {
    return sqlite3_bind_text64(statement, index, value.data(), value.size(), SQLITE_TRANSIENT,
                               SQLITE_UTF8);
  }
};

}  // namespace

struct Connection::Handle {
  DatabasePtr database;
  // Those that nobody reads from at the moment.
  std::multimap<std::string, StatementPtr, std::less<>> idle;
};

struct Rows::Statement {
  StatementPtr statement;
  std::string sql;
  Connection::Handle* handle;
};

Rows::Rows(std::unique_ptr<Statement> statement) : statement_(std::move(statement)) {}
Rows::Rows(Rows&&) noexcept = default;
Rows::~Rows() {
  if (!statement_) return;
  sqlite3_reset(statement_->statement.get());
  sqlite3_clear_bindings(statement_->statement.get());
  statement_->handle->idle.emplace(std::move(statement_->sql), std::move(statement_->statement));
}

Result<bool> Rows::next() {
  const int result = sqlite3_step(statement_->statement.get());
  if (result == SQLITE_ROW) return true;
  if (result == SQLITE_DONE) return false;
  return error_of(sqlite3_db_handle(statement_->statement.get()), result);
}

int64_t Rows::integer(int column) const {
  return sqlite3_column_int64(statement_->statement.get(), column);
}

double Rows::real(int column) const {
  return sqlite3_column_double(statement_->statement.get(), column);
}

std::string Rows::text(int column) const {
  const auto* text = sqlite3_column_text(statement_->statement.get(), column);
  if (text == nullptr) return {};
  const int size = sqlite3_column_bytes(statement_->statement.get(), column);
  return {reinterpret_cast<const char*>(text), static_cast<size_t>(size)};
}

bool Rows::is_null(int column) const {
  return sqlite3_column_type(statement_->statement.get(), column) == SQLITE_NULL;
}

Connection::Connection(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}
Connection::~Connection() = default;

Result<Rows> Connection::query(std::string_view sql, const std::vector<Value>& values) {
  StatementPtr statement;
  if (const auto found = handle_->idle.find(sql); found != handle_->idle.end()) {
    statement = std::move(found->second);
    handle_->idle.erase(found);
  } else {
    sqlite3_stmt* made = nullptr;
    const int result =
        sqlite3_prepare_v3(handle_->database.get(), sql.data(), static_cast<int>(sql.size()),
                           SQLITE_PREPARE_PERSISTENT, &made, nullptr);
    statement.reset(made);
    if (result != SQLITE_OK) return error_of(handle_->database.get(), result);
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const int result = std::visit(Bind{statement.get(), static_cast<int>(i) + 1}, values[i]);
    if (result != SQLITE_OK) return error_of(handle_->database.get(), result);
  }
  return Rows(std::make_unique<Rows::Statement>(
      Rows::Statement{std::move(statement), std::string(sql), handle_.get()}));
}

Result<int64_t> Connection::run(std::string_view sql, const std::vector<Value>& values) {
  Rows rows = TRY(query(sql, values));
  while (TRY(rows.next())) {
  }
  return sqlite3_changes64(handle_->database.get());
}

Result<void> Connection::run_script(const std::string& sql) {
  const int result = sqlite3_exec(handle_->database.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (result != SQLITE_OK) return error_of(handle_->database.get(), result);
  return {};
}

Result<std::optional<int64_t>> Connection::integer(std::string_view sql,
                                                   const std::vector<Value>& values) {
  Rows rows = TRY(query(sql, values));
  if (!TRY(rows.next())) return std::optional<int64_t>();
  return std::optional<int64_t>(rows.integer(0));
}

int64_t Connection::last_row() const { return sqlite3_last_insert_rowid(handle_->database.get()); }

// A write and whoever waits for it.
struct Database::Waiting {
  const Write* work;
  Result<void> result{};
  bool done = false;
  // Its own: woken all at once, those that wait would take the processors from the writer.
  std::condition_variable_any changed{};
};

Database::Database(std::filesystem::path file, DatabaseOptions options)
    : file_(std::move(file)), options_(std::move(options)) {}

namespace {

// One process has the database: its queue would be run twice otherwise.
Result<Fd> take_lock(const std::filesystem::path& file) {
  const std::filesystem::path name = file.string() + ".lock";
  Fd lock(::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock) {
    return make_error(code_of_errno(errno, Code::invalid_argument),
                      "The service cannot open '{}' ({}); its folder must exist and be writable.",
                      name.string(), describe_errno(errno));
  }
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return make_error(Code::unavailable,
                      "Another service has the database '{}'; stop it first, or give this one a "
                      "folder of its own.",
                      file.string());
  }
  return lock;
}

Result<DatabasePtr> open_file(const std::filesystem::path& file, std::chrono::milliseconds busy) {
  sqlite3* made = nullptr;
  const int result =
      sqlite3_open_v2(file.c_str(), &made,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  DatabasePtr database(made);
  if (result != SQLITE_OK) return error_of(made, result);
  sqlite3_extended_result_codes(made, 1);
  sqlite3_busy_timeout(made, static_cast<int>(busy.count()));
  return database;
}

// A statement that answers nothing.
Result<void> simple(Connection& connection, std::string_view sql) {
  TRY(connection.run(sql));
  return {};
}

}  // namespace

Result<std::unique_ptr<Database>> Database::open(const std::filesystem::path& file,
                                                 DatabaseOptions options) {
  std::unique_ptr<Database> database(new Database(file, std::move(options)));
  database->lock_ = TRY(take_lock(file));
  // SQLite gives its other files the mode of this one: created here, no umask can open it to
  // others. Closed before SQLite opens it: a process that closes any descriptor of a file loses all
  // its locks on it (fcntl(2)), and another program that looks in would then take the log away, as
  // whoever closes a database last does, with all that is committed to it afterwards.
  (void)Fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  auto handle = std::make_unique<Connection::Handle>();
  handle->database = TRY(open_file(file, database->options_.busy_timeout));
  database->writer_.reset(new Connection(std::move(handle)));
  Connection& writer = *database->writer_;
  // FULL: a commit is on disk when it returns, also if the power goes. What savepoints need to be
  // undone stays in memory: as files, which is the default, it is 20 writes for each submission.
  const Result<void> opened = writer.run_script(
      "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; "
      "PRAGMA temp_store=MEMORY;");
  if (!opened && opened.error().code == Code::corrupt) {
    return make_error(Code::invalid_argument,
                      "'{}' is no database of the service; move it away, or restore a backup.",
                      file.string());
  }
  TRY(Result<void>(opened));
  TRY(migrate(writer, file.string()));
  database->thread_ = std::jthread(
      [self = database.get()](const std::stop_token& stop) { self->run_writer(stop); });
  return database;
}

Database::~Database() {
  if (!thread_.joinable()) return;
  {
    MutexLock lock(mutex_);
    ending_ = true;
    work_.notify_one();
  }
  thread_.join();
}

Result<void> Database::write(const Write& work) {
  Waiting mine{&work};
  MutexLock lock(mutex_);
  if (waiting_.size() >= options_.most_waiting) {
    Error error = make_error(Code::unavailable,
                             "The service has more to write than its disk takes; try again later.");
    error.retry_after = std::chrono::seconds(1);
    return error;
  }
  // A writer that has some to take already does not wait.
  if (waiting_.empty()) work_.notify_one();
  waiting_.push_back(&mine);
  while (!mine.done) mine.changed.wait(mutex_);
  return mine.result;
}

size_t Database::waiting() const {
  MutexLock lock(mutex_);
  return waiting_.size();
}

void Database::run_writer(const std::stop_token&) {
  for (;;) {
    std::vector<Waiting*> batch;
    {
      MutexLock lock(mutex_);
      while (waiting_.empty() && !ending_) work_.wait(mutex_);
      if (waiting_.empty()) return;
      batch.assign(waiting_.begin(), waiting_.end());
      waiting_.clear();
    }
    commit_batch(batch);
    MutexLock lock(mutex_);
    for (Waiting* waiting : batch) {
      waiting->done = true;
      waiting->changed.notify_one();  // under the lock: it is gone once its thread has that
    }
  }
}

// All together; if the commit itself fails (the disk is full), each alone, so that one write that
// is too large takes no other with it. While somebody else has the database nobody writes: each
// alone would wait as long again.
void Database::commit_batch(const std::vector<Waiting*>& batch) {
  if (const Result<void> begun = simple(*writer_, "BEGIN IMMEDIATE"); !begun) {
    for (Waiting* waiting : batch) waiting->result = begun;
    return;
  }
  const Result<void> all = try_batch(batch);
  if (all.ok()) return;
  if (batch.size() == 1) {
    batch[0]->result = all;
    return;
  }
  for (Waiting* waiting : batch) {
    Result<void> alone = simple(*writer_, "BEGIN IMMEDIATE");
    if (alone) alone = try_batch({waiting});
    if (!alone) waiting->result = alone;
  }
}

// In a transaction that has begun, and which it ends.
Result<void> Database::try_batch(const std::vector<Waiting*>& batch) {
  for (Waiting* waiting : batch) {
    Result<void> done = simple(*writer_, "SAVEPOINT one");
    if (done) {
      waiting->result = (*waiting->work)(*writer_);
      if (!waiting->result) done = simple(*writer_, "ROLLBACK TO one");
      if (done) {
        done = simple(*writer_, "RELEASE one");
      } else {  // what it met, such as a full disk, has ended the transaction
        done = waiting->result;
      }
    }
    if (!done) {
      // Also if it has ended by itself: that does no harm.
      (void)writer_->run("ROLLBACK");
      return done;
    }
  }
  return try_commit();
}

Result<void> Database::try_commit() {
  if (options_.before_commit) options_.before_commit(++commits_);
  Result<void> done = simple(*writer_, "COMMIT");
  if (!done) (void)writer_->run("ROLLBACK");
  if (done && options_.after_commit) options_.after_commit();
  return done;
}

Result<std::unique_ptr<Connection>> Database::take_reader() {
  {
    MutexLock lock(mutex_);
    if (!readers_.empty()) {
      std::unique_ptr<Connection> reader = std::move(readers_.back());
      readers_.pop_back();
      return reader;
    }
  }
  auto handle = std::make_unique<Connection::Handle>();
  handle->database = TRY(open_file(file_, options_.busy_timeout));
  std::unique_ptr<Connection> reader(new Connection(std::move(handle)));
  TRY(reader->run_script("PRAGMA query_only=ON;"));
  return reader;
}

Result<void> Database::read(const Write& work) {
  std::unique_ptr<Connection> reader = TRY(take_reader());
  TRY(reader->run("BEGIN"));
  const Result<void> result = work(*reader);
  TRY(reader->run("ROLLBACK"));
  MutexLock lock(mutex_);
  readers_.push_back(std::move(reader));
  return result;
}

Result<void> Database::back_up(const std::filesystem::path& file) {
  MutexLock lock(backup_mutex_);
  std::error_code ignored;
  if (std::filesystem::exists(file, ignored)) {
    return make_error(Code::invalid_argument, "'{}' exists; name a file that does not.",
                      file.string());
  }
  // Under another name until it is whole: who keeps backups must not take half of one for one.
  const std::filesystem::path part = file.string() + ".part";
  std::filesystem::remove(part, ignored);
  const Fd created(::open(part.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!created) {
    return make_error(code_of_errno(errno, Code::invalid_argument),
                      "The backup '{}' cannot be written: {}.", file.string(),
                      describe_errno(errno));
  }
  const Result<void> copied = copy_to(part);
  if (!copied || ::rename(part.c_str(), file.c_str()) == 0) {
    if (!copied) std::filesystem::remove(part, ignored);
    return copied;
  }
  const int failure = errno;
  std::filesystem::remove(part, ignored);
  return make_error(Code::unavailable, "The backup '{}' cannot be given its name: {}.",
                    file.string(), describe_errno(failure));
}

Result<void> Database::copy_to(const std::filesystem::path& file) {
  const DatabasePtr from = TRY(open_file(file_, options_.busy_timeout));
  const DatabasePtr to = TRY(open_file(file, options_.busy_timeout));
  sqlite3_backup* backup = sqlite3_backup_init(to.get(), "main", from.get(), "main");
  if (backup == nullptr) return error_of(to.get(), sqlite3_errcode(to.get()));
  const int stepped = sqlite3_backup_step(backup, -1);
  const int finished = sqlite3_backup_finish(backup);
  if (stepped == SQLITE_DONE && finished == SQLITE_OK) return {};
  return error_of(to.get(), finished != SQLITE_OK ? finished : stepped);
}

Result<void> Database::checkpoint() {
  std::unique_ptr<Connection> reader = TRY(take_reader());
  const int result = sqlite3_wal_checkpoint_v2(reader->handle_->database.get(), nullptr,
                                               SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  MutexLock lock(mutex_);
  readers_.push_back(std::move(reader));
  if (result == SQLITE_OK || (result & 0xff) == SQLITE_BUSY) return {};
  return make_error(code_of(result), "The database's log cannot be folded in: {}.",
                    sqlite3_errstr(result));
}

}  // namespace atelier::server
