// SPDX-License-Identifier: Apache-2.0
#include "server/dispatcher.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "server/outputs.h"
#include "server/turn.h"

namespace atelier::server {
namespace {

using nlohmann::json;

constexpr std::chrono::milliseconds kTick(200);
// For the database to take what is left, when everything else has ended.
constexpr std::chrono::seconds kGrace(5);
// What is nobody's fault and passes: no processes, no store to ask.
constexpr Millis kLaterWait = 30'000;
// How often it is asked whether nodes have begun.
constexpr std::chrono::seconds kNodesTick(10);
// After so long a store that did not answer is asked again.
constexpr std::chrono::seconds kLeftAlone(60);
// And a report that its store does not give is waited for, before its run goes without.
constexpr std::chrono::minutes kMostUnread(30);
constexpr uint64_t kMostLog = uint64_t{8} << 20;

Millis milliseconds(Clock::Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

// Of a report.json; what is not as expected counts for nothing.
const json& member(const json& object, const char* key, const json& otherwise) {
  if (!object.is_object()) return otherwise;
  const auto found = object.find(key);
  return found == object.end() ? otherwise : *found;
}
int64_t frames_in(const json& report) {
  const json none;
  const json& frames = member(report, "frames", none);
  return frames.is_number_integer() ? frames.get<int64_t>() : 0;
}
int64_t nodes_in(const json& report) {
  const json none;
  const json& engine = member(report, "engine", none);
  const json& nodes = member(engine, "nodes", none);
  return nodes.is_array() && !nodes.empty() ? static_cast<int64_t>(nodes.size()) : 1;
}

}  // namespace

// A run that goes on.
struct Dispatcher::Job {
  RunRow run;
  std::vector<std::vector<std::string>> steps;
  std::unique_ptr<engine::Program> program;
  Fd log;
  uint64_t logged = 0;
  std::string line;       // what it has said of the next line
  std::string last_line;  // that was whole and not empty
  Clock::Duration begun{0}, heard{0};
  std::optional<Clock::Duration> asked_to_leave;
  bool was_silent = false, was_late = false, was_costly = false;
  std::optional<std::string> url;  // of the run folder, that the database does not have yet
  std::vector<NodeTime> worked;
  std::optional<Clock::Duration> nodes_since, asked_for_nodes;  // of pools elsewhere
  std::optional<int> status;      // of a process that ended, and whose report is not read
  Clock::Duration ended{0};       // then
  std::optional<AttemptEnd> end;  // that the database does not have yet
};

Dispatcher::Dispatcher(Database& database, engine::Launcher& launcher, const Clock& clock,
                       const WallClock& wall, DispatcherSetup setup)
    : database_(database),
      launcher_(launcher),
      clock_(clock),
      wall_(wall),
      setup_(std::move(setup)) {}
Dispatcher::~Dispatcher() = default;

Result<std::unique_ptr<Dispatcher>> Dispatcher::create(Database& database,
                                                       engine::Launcher& launcher,
                                                       const Clock& clock, const WallClock& wall,
                                                       DispatcherSetup setup) {
  std::error_code error;
  std::filesystem::create_directories(setup.logs, error);
  if (error) {
    return make_error(Code::internal, "The folder '{}' for logs cannot be made: {}.",
                      setup.logs.string(), error.message());
  }
  std::unique_ptr<Dispatcher> made(
      new Dispatcher(database, launcher, clock, wall, std::move(setup)));
  TRY(made->recover());
  return made;
}

// Nobody works on what was "running" when the service ended.
Result<void> Dispatcher::recover() {
  std::vector<RunRow> lost;
  TRY(database_.read([&](Connection& connection) -> Result<void> {
    RunFilter filter;
    filter.state = RunState::running;
    filter.limit = INT64_MAX;
    lost = TRY(list_runs(connection, filter));
    return {};
  }));
  for (const RunRow& run : lost) {
    std::vector<NodeTime> worked;
    const AttemptEnd end = TRY(end_of_lost(run, worked));
    TRY(database_.write([&](Connection& connection) -> Result<void> {
      TRY(end_attempt(connection, run.id, end, wall_.now()));
      return write_pool_time(connection, run.pool, run.id, worked);
    }));
  }
  return {};
}

// An attempt that ended with the service: from its start to its last sign of life.
Result<AttemptEnd> Dispatcher::end_of_lost(const RunRow& run, std::vector<NodeTime>& worked) {
  AttemptEnd end;
  end.step = run.step;
  end.counts = false;
  end.may_have_written = !run.run_urls.empty();
  end.reason = "The service was started again.";
  if (run.cancel_asked) {
    end.state = RunState::cancelled;
    end.reason = "Cancelled.";
  }
  std::optional<int64_t> begin;
  TRY(database_.read([&](Connection& connection) -> Result<void> {
    begin = TRY(connection.integer(
        "SELECT max(at) FROM events WHERE run_id = ? AND kind = 'running'", {run.id}));
    return {};
  }));
  struct stat written {};
  if (!begin || ::stat((setup_.logs / (run.id + ".log")).c_str(), &written) != 0) return end;
  const Millis heard = Millis{written.st_mtim.tv_sec} * 1000 + written.st_mtim.tv_nsec / 1'000'000;
  const Millis last = std::clamp(heard, *begin, std::max(*begin, wall_.now()));
  const std::string url = run.run_urls.empty() ? "" : run.run_urls.back();
  worked = worked_of(run, url, 1, *begin, last);
  end.busy_ms = last - *begin;
  end.cost = cost_of(worked, pool_of(run).price_per_node_hour);
  return end;
}

Result<void> Dispatcher::step() {
  TRY(watch());
  TRY(hear_cancels());
  if (leaving_since_) return {};
  if (is_ready()) TRY(fill_pools());
  return setup_.look_at_processes ? setup_.look_at_processes() : Result<void>();
}

void Dispatcher::run(const std::stop_token& stop) {
  std::string last_error;
  while (!stop.stop_requested() || !has_left()) {
    if (stop.stop_requested()) leave();
    const Result<void> done = step();
    if (!done && done.error().message != last_error) setup_.say(done.error().message);
    last_error = done ? "" : done.error().message;
    std::vector<engine::Program*> programs;
    for (const auto& job : jobs_) {
      if (job->program) programs.push_back(job->program.get());
    }
    launcher_.wait(programs, kTick);
  }
}

// Nothing goes on; or nothing but what the database does not take, which the next start makes up.
bool Dispatcher::has_left() const {
  const bool over = std::none_of(jobs_.begin(), jobs_.end(),
                                 [](const auto& job) { return job->program != nullptr; });
  if (!over || !leaving_since_) return jobs_.empty();
  return jobs_.empty() || clock_.now() - *leaving_since_ > setup_.patience + kGrace;
}

void Dispatcher::leave() {
  if (leaving_since_) return;
  leaving_since_ = clock_.now();
  for (const auto& job : jobs_) ask_to_leave(*job);
}

void Dispatcher::ask_to_leave(Job& job) {
  if (job.asked_to_leave || !job.program) return;
  job.asked_to_leave = clock_.now();
  job.program->ask_to_leave();
}

// All of them, whatever becomes of one; the first error.
Result<void> Dispatcher::watch() {
  Result<void> first;
  for (size_t i = 0; i < jobs_.size();) {
    Result<void> done = watch(*jobs_[i]);
    if (!done && first) first = done;
    if (!jobs_[i]->end && !jobs_[i]->status && !jobs_[i]->program) {
      jobs_.erase(jobs_.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      ++i;
    }
  }
  return first;
}

Result<void> Dispatcher::watch(Job& job) {
  if (job.program) {
    listen(job);
    check_bounds(job);
    if (is_overdue(job)) {
      // Killed with its object; what it started ends with it.
      job.program.reset();
      job.status = SIGKILL;
    } else if (const std::optional<int> status = job.program->ended()) {
      // Read again after its end: its last words may have come in between.
      listen(job);
      job.program.reset();
      job.status = status;
    }
    job.ended = clock_.now();
  }
  if (job.status) end_process(job);
  TRY(note_urls(job));
  if (job.end) return write_end(job);
  return {};
}

void Dispatcher::listen(Job& job) {
  const std::string said = job.program->read();
  if (said.empty()) return;
  job.heard = clock_.now();
  if (job.log && job.logged < kMostLog) {
    job.logged += said.size();
    // A log that cannot be written is no reason to end what it tells of.
    (void)write_fully(job.log.get(), as_bytes(said), "log");
  }
  constexpr size_t kLongestLine = 8192;
  constexpr std::string_view kRun = "Run: ";
  for (const char c : said) {
    if (c != '\n' && job.line.size() < kLongestLine) {
      job.line += c;
      continue;
    }
    if (job.line.starts_with(kRun)) {
      std::string url = job.line.substr(kRun.size());
      if (setup_.is_run_url(url)) job.url = std::move(url);
    }
    if (!job.line.empty()) job.last_line = std::exchange(job.line, {});
  }
}

Result<void> Dispatcher::note_urls(Job& job) {
  if (!job.url) return {};
  TRY(database_.write([&](Connection& connection) {
    return note_run_url(connection, job.run.id, job.run.step, *job.url);
  }));
  job.run.run_urls.resize(static_cast<size_t>(job.run.step) + 1);
  job.run.run_urls.back() = *std::exchange(job.url, std::nullopt);
  return {};
}

const PoolLimits& Dispatcher::pool_of(const RunRow& run) const {
  static const PoolLimits kNone;
  const auto pool = setup_.pools.find(run.pool);
  return pool == setup_.pools.end() ? kNone : pool->second;
}

// Of an attempt from `begin` to `end`. While a cluster's queue keeps a job waiting, nobody works.
// `nodes`: how many there were where nothing better is known.
std::vector<NodeTime> Dispatcher::worked_of(const RunRow& run, const std::string& url,
                                            int64_t nodes, Millis begin, Millis end) {
  if (!pool_of(run).is_elsewhere || !setup_.node_times) return all_of(nodes, begin, end);
  if (url.empty()) return {};
  auto times = ask_for_nodes(run, url, begin);
  if (times.ok()) return within(std::move(times).value(), begin, end);
  setup_.say(
      fmt::format("How long nodes worked for {} is not known, and all of its time counts: {}",
                  run.id, times.error().message));
  return all_of(nodes, begin, end);
}

// A store that does not answer is left alone for a while: everybody waits while it is asked.
Result<std::vector<NodeTime>> Dispatcher::ask_for_nodes(const RunRow& run, const std::string& url,
                                                        Millis since) {
  if (nodes_unknown_ && clock_.now() - nodes_unknown_since_ < kLeftAlone) return *nodes_unknown_;
  auto times = setup_.node_times(run, url, since);
  nodes_unknown_.reset();
  if (!times.ok() && times.error().code == Code::unavailable) {
    nodes_unknown_ = times.error();
    nodes_unknown_since_ = clock_.now();
  }
  return times;
}

// Since the first node began; 0 before.
double Dispatcher::hours_since_nodes(Job& job) {
  const auto now = clock_.now();
  const auto hours = [&](Clock::Duration since) {
    return std::chrono::duration<double>(now - since).count() / 3600;
  };
  if (!pool_of(job.run).is_elsewhere || !setup_.node_times) return hours(job.begun);
  if (job.nodes_since) return hours(*job.nodes_since);
  if (job.asked_for_nodes && now - *job.asked_for_nodes < kNodesTick) return 0;
  job.asked_for_nodes = now;
  const auto since_begin = std::chrono::duration_cast<std::chrono::milliseconds>(now - job.begun);
  if (job.run.run_urls.size() <= static_cast<size_t>(job.run.step)) return 0;
  const Millis wall = wall_.now();
  const auto times = ask_for_nodes(job.run, job.run.run_urls.back(), wall - since_begin.count());
  if (!times.ok() || times->empty()) return 0;
  Millis first = wall;
  for (const NodeTime& time : *times) first = std::min(first, time.begin);
  job.nodes_since = std::max(job.begun, now - std::chrono::milliseconds(wall - first));
  return hours(*job.nodes_since);
}

void Dispatcher::check_bounds(Job& job) {
  const auto now = clock_.now();
  const double worked = std::chrono::duration<double>(now - job.begun).count();
  const double seconds = static_cast<double>(job.run.busy_ms) / 1000 + worked;
  if (now - job.heard > setup_.silence) job.was_silent = true;
  if (job.run.max_seconds && seconds > *job.run.max_seconds) job.was_late = true;
  if (job.run.max_cost) {
    const PoolLimits& pool = pool_of(job.run);
    // As if it had all nodes that it may have: it is ended too early rather than too late.
    const double cost = job.run.cost + hours_since_nodes(job) * pool.price_per_node_hour *
                                           static_cast<double>(pool.most_nodes);
    if (cost > *job.run.max_cost) job.was_costly = true;
  }
  if (job.was_silent || job.was_late || job.was_costly) ask_to_leave(job);
}

bool Dispatcher::is_overdue(const Job& job) const {
  return job.asked_to_leave && clock_.now() - *job.asked_to_leave > setup_.patience;
}

// The report of what went well; nothing while its store is waited for.
std::optional<Dispatcher::Read> Dispatcher::read_report(Job& job, const std::string& url) {
  const auto now = clock_.now();
  if (!exited(*job.status, 0) || url.empty()) return Read{};
  const bool may_wait = now - job.ended < kMostUnread;
  if (may_wait && now < no_reports_until_) return std::nullopt;
  auto report = setup_.read_report(url);
  if (report.ok()) return Read{std::move(report).value()};
  if (report.error().code == Code::unavailable) {
    // Everybody waits while it is asked: it is left alone for a while.
    no_reports_until_ = clock_.now() + kLeftAlone;
    if (may_wait) return std::nullopt;
  }
  setup_.say(
      fmt::format("The report of {} cannot be read: {}", job.run.id, report.error().message));
  return Read{};
}

void Dispatcher::end_process(Job& job) {
  const std::string url = job.url                    ? *job.url
                          : job.run.run_urls.empty() ? ""
                                                     : job.run.run_urls.back();
  auto read = read_report(job, url);
  if (!read) return;
  const int status = *std::exchange(job.status, std::nullopt);
  if (!job.line.empty()) job.last_line = std::exchange(job.line, {});
  const auto last = static_cast<size_t>(job.run.step) + 1 >= job.steps.size();
  Ended ended{status, job.last_line, job.was_silent, job.was_late, job.was_costly};
  ended.was_sent_away = leaving_since_.has_value();
  AttemptEnd came = judge(job.run, ended, setup_.max_attempts(job.run), wall_.now());
  came.busy_ms = milliseconds(job.ended - job.begun);
  int64_t nodes = 1;
  if (read->report) {
    const json report = json::parse(*read->report, nullptr, false);
    if (last) came.frames = frames_in(report);
    nodes = nodes_in(report);
    came.report = std::move(read->report);
  }
  const Millis until = wall_.now() - milliseconds(clock_.now() - job.ended);
  job.worked = worked_of(job.run, url, nodes, until - came.busy_ms, until);
  came.cost = cost_of(job.worked, pool_of(job.run).price_per_node_hour);
  // What ends with 2 or 3, or before it has a run folder, wrote nothing; all else may have, before
  // it was ended or a store went.
  const bool wrote_nothing = exited(status, 2) || exited(status, 3) || url.empty();
  came.may_have_written = last && (!WIFEXITED(status) || !wrote_nothing);
  if (came.state == RunState::finished && !last) {
    came.state = RunState::queued;
    came.counts = false;
    came.step = job.run.step + 1;
    came.reason = "The next step is in the queue.";
  }
  job.end = came;
}

// The job's end is in the database, or stays with the job for the next time.
Result<void> Dispatcher::write_end(Job& job) {
  AttemptEnd& end = *job.end;
  TRY(database_.write([&](Connection& connection) -> Result<void> {
    const Millis now = wall_.now();
    if (end.state == RunState::queued && TRY(is_cancelled(connection, job.run.id))) {
      end.state = RunState::cancelled;  // asked for while it ended
      end.reason = "Cancelled.";
    }
    if (!TRY(end_attempt(connection, job.run.id, end, now))) return {};
    TRY(write_pool_time(connection, job.run.pool, job.run.id, job.worked));
    if (is_over(end.state) && setup_.on_end) {
      const auto event = TRY(connection.integer("SELECT max(seq) FROM events"));
      TRY(setup_.on_end(connection, job.run.id, event.value_or(0)));
    }
    return {};
  }));
  const RunState state = end.state;
  job.end.reset();
  if (is_over(state) && setup_.after_end) setup_.after_end(job.run, state);
  return {};
}

Result<void> Dispatcher::hear_cancels() {
  if (jobs_.empty()) return {};
  std::vector<std::string> asked;
  TRY(database_.read([&](Connection& connection) -> Result<void> {
    Rows rows =
        TRY(connection.query("SELECT id FROM runs WHERE state = 'running' AND cancel_asked = 1"));
    while (TRY(rows.next())) asked.push_back(rows.text(0));
    return {};
  }));
  for (const auto& job : jobs_) {
    if (std::find(asked.begin(), asked.end(), job->run.id) == asked.end()) continue;
    job->run.cancel_asked = true;
    ask_to_leave(*job);
  }
  return {};
}

// What would be started into a full disk would only fail. It is said once.
bool Dispatcher::is_ready() {
  const std::string why = setup_.why_not_ready ? setup_.why_not_ready() : "";
  if (why.empty() == is_held_) {
    setup_.say(why.empty() ? "Runs are started again." : "No run is started: " + why);
    is_held_ = !why.empty();
  }
  return why.empty();
}

Result<void> Dispatcher::fill_pools() {
  for (const auto& [name, pool] : setup_.pools) {
    for (;;) {
      const auto busy = std::count_if(jobs_.begin(), jobs_.end(), [&name = name](const auto& job) {
        return job->run.pool == name;
      });
      if (busy >= pool.max_running || !TRY(begin_next(name))) break;
    }
  }
  return {};
}

Result<bool> Dispatcher::begin_next(const std::string& pool) {
  std::vector<Candidate> candidates;
  TRY(database_.read([&](Connection& connection) -> Result<void> {
    candidates = TRY(find_candidates(connection, pool, last_begun_, wall_.now()));
    return {};
  }));
  const Candidate* next = choose_next(candidates, setup_.most_running_of_owner);
  if (next == nullptr) return false;
  last_begun_[next->owner] = ++begun_;
  std::vector<std::string> outputs;
  TRY(database_.read([&](Connection& connection) -> Result<void> {
    const auto run = TRY(find_run(connection, next->id));
    if (run) outputs = {run->output};
    return {};
  }));
  // Links are looked at before the transaction: everybody who writes would wait for the disk.
  if (!outputs.empty() && setup_.output_urls) outputs = setup_.output_urls(outputs[0]);
  std::optional<RunRow> run;
  TRY(database_.write([&](Connection& connection) -> Result<void> {
    run.reset();
    if (!TRY(begin_attempt(connection, next->id, wall_.now()))) return {};
    run = TRY(find_run(connection, next->id));
    if (!run) return {};
    return note_outputs(connection, run->id, run->input, outputs);
  }));
  if (run) start(std::move(*run));
  return true;
}

void Dispatcher::start(RunRow run) {
  auto job = std::make_unique<Job>();
  job->run = std::move(run);
  job->begun = job->heard = clock_.now();
  const std::filesystem::path log = setup_.logs / (job->run.id + ".log");
  job->log = Fd(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  struct stat status {};
  if (job->log && ::fstat(job->log.get(), &status) == 0) {
    job->logged = static_cast<uint64_t>(status.st_size);
  }
  start_step(*job);
  jobs_.push_back(std::move(job));
}

void Dispatcher::start_step(Job& job) {
  AttemptEnd failed;
  failed.step = job.run.step;
  failed.state = RunState::failed;
  auto steps = setup_.steps_of(job.run);
  if (!steps.ok()) {
    const Code code = steps.error().code;
    failed.reason = steps.error().message;
    if (code == Code::corrupt || code == Code::invalid_input) {
      failed.state = RunState::set_aside;
    } else if (code != Code::invalid_argument) {
      try_after_trouble(job.run, failed, wall_.now());
    }
    job.end = failed;
    return;
  }
  job.steps = std::move(steps).value();
  if (static_cast<size_t>(job.run.step) >= job.steps.size()) {
    failed.reason = "Its pipeline has no such step any more.";
    job.end = failed;
    return;
  }
  const std::vector<std::string>& words = job.steps[static_cast<size_t>(job.run.step)];
  auto program =
      setup_.start_command ? setup_.start_command(job.run, words) : launcher_.start(words);
  if (!program.ok()) {  // this machine has no processes, files or memory to spare at the moment
    failed.state = RunState::queued;
    failed.counts = false;
    failed.reason = program.error().message;
    failed.not_before = wall_.now() + kLaterWait;
    job.end = failed;
    return;
  }
  job.program = std::move(program).value();
}

}  // namespace atelier::server
