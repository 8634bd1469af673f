// SPDX-License-Identifier: Apache-2.0
#include "run/scorer_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "run/scorer_limits.h"
#include "run/scorer_program.h"

namespace atelier::run {
namespace {

// Under the sanitizers what a scorer prints must be seen, and how it ends matters even after its
// work is done.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

Error cannot(const char* what) {
  return make_error(code_of_errno(errno, Code::internal), "Cannot {}: {}.", what,
                    describe_errno(errno));
}

// A copy out of the way of the numbers that the child expects.
Fd moved_up(int fd) { return Fd(::fcntl(fd, F_DUPFD_CLOEXEC, kScorerProgress + 1)); }

class FileActions {
 public:
  FileActions() { posix_spawn_file_actions_init(&actions_); }
  ~FileActions() { posix_spawn_file_actions_destroy(&actions_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

// The program's own variables, the loader's and the sanitizers'. Tokens and keys stay here.
std::vector<std::string> environment_of_scorer() {
  std::vector<std::string> kept;
  for (const char* name : {"OMP_WAIT_POLICY", "SVT_LOG", "LANG", "LC_ALL", "LD_LIBRARY_PATH",
                           "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"}) {
    if (const char* value = std::getenv(name)) kept.push_back(fmt::format("{}={}", name, value));
  }
  return kept;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

bool concerns_one_chunk(Code code) { return code == Code::corrupt || code == Code::internal; }

}  // namespace

Result<std::unique_ptr<ScorerProcess>> ScorerProcess::start(const std::string& program,
                                                            const ScorerTask& task,
                                                            SharedProgress& progress) {
  std::unique_ptr<ScorerProcess> process(new ScorerProcess(task, progress));
  TRY(process->spawn(program));
  return process;
}

Result<void> ScorerProcess::spawn(const std::string& program) {
  auto control = TRY(Channel::pair());
  auto results = TRY(Channel::pair());
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return cannot("make a pipe for a scorer's log");
  Fd log(pipe[0]);
  if (::fcntl(log.get(), F_SETFL, O_NONBLOCK) != 0) return cannot("make a pipe for a scorer's log");
  const Fd log_end(pipe[1]);
  const std::array<Fd, 4> given = {moved_up(control.second.socket().get()),
                                   moved_up(results.second.socket().get()),
                                   moved_up(progress_.memory().get()), moved_up(log_end.get())};
  for (const Fd& each : given) {
    if (!each) return cannot("give a scorer its files");
  }
  FileActions actions;
  posix_spawn_file_actions_addopen(actions.get(), 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(actions.get(), given[3].get(), 1);
  posix_spawn_file_actions_adddup2(actions.get(), given[3].get(), 2);
  posix_spawn_file_actions_adddup2(actions.get(), given[0].get(), kScorerControl);
  posix_spawn_file_actions_adddup2(actions.get(), given[1].get(), kScorerResults);
  posix_spawn_file_actions_adddup2(actions.get(), given[2].get(), kScorerProgress);
  // Libraries open files without telling (MPI's sockets): a scorer gets what it is given, no more.
  posix_spawn_file_actions_addclosefrom_np(actions.get(), kScorerProgress + 1);
  std::vector<std::string> words = {"atelier", kScorerCommand, std::to_string(::getpid())};
  if (task_->sandbox) words.emplace_back(kScorerLocked);
  std::vector<std::string> variables = environment_of_scorer();
  errno = ::posix_spawn(&pid_, program.c_str(), actions.get(), nullptr, pointers_to(words).data(),
                        pointers_to(variables).data());
  if (errno != 0) {
    pid_ = -1;
    return cannot("start a scorer");
  }
  offer_to_the_kernel(pid_);
  limit_processor_time(pid_, Usage(), task_->limits.progress);
  if (task_->started) task_->started(pid_);
  control_ = std::move(control.first);
  results_ = std::move(results.first);
  listen(std::move(log));
  return {};
}

void ScorerProcess::listen(Fd log) {
  // A manifest of 400,000 chunks; a commit; a picture.
  constexpr size_t kLargestQuestion = size_t{64} << 20;
  constexpr size_t kLargestCommit = size_t{64} << 10;
  const size_t largest_result =
      task_->parameters.keep_frames.empty() && !task_->trace ? kLargestCommit : kLargestBody;
  control_thread_ = std::jthread([this] {
    const auto ended = answer_calls(
        *control_, [this](Message& m) { return answer_control(m); }, kLargestQuestion);
    end_source().request_stop();
    // It closes this end before it says why on the other; nonsense ends it.
    if (!ended.ok()) results_->shut_down();
  });
  result_thread_ = std::jthread([this, largest_result] {
    (void)answer_calls(
        *results_, [this](Message& m) { return answer_result(m); }, largest_result);
    end_source().request_stop();
    control_->shut_down();
    end_unfinished();
  });
  log_pipe_ = std::move(log);
  log_thread_ = std::jthread([this] {
    pollfd more{log_pipe_.get(), POLLIN, 0};
    for (;;) {
      if (::poll(&more, 1, -1) < 0 && errno != EINTR) return;
      MutexLock lock(log_mutex_);
      if (!hear_log(1)) return;
    }
  });
}

ScorerProcess::~ScorerProcess() {
  if (pid_ > 0) finish_off();
}

// What there is, but not for as long as it talks; false: there will be no more.
bool ScorerProcess::hear_log(int most_reads) {
  constexpr size_t kLastWords = 200;
  std::array<char, 4096> text{};
  for (int i = 0; i < most_reads; ++i) {
    const ssize_t count = ::read(log_pipe_.get(), text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno == EAGAIN;
    if (count == 0) return false;
    const std::string_view said(text.data(), static_cast<size_t>(count));
    if (kSanitized) (void)!::write(STDERR_FILENO, said.data(), said.size());
    last_words_ += said;
    if (last_words_.size() > kLastWords) last_words_.erase(0, last_words_.size() - kLastWords);
    if (log_) log_(said);
  }
  return true;
}

void ScorerProcess::enter(State state) {
  MutexLock lock(mutex_);
  state_ = state;
  changed_.notify_all();
}

bool ScorerProcess::is_in(State state) {
  MutexLock lock(mutex_);
  return state_ == state;
}

std::stop_source ScorerProcess::end_source() {
  MutexLock lock(mutex_);
  return ended_;
}

bool ScorerProcess::is_over() {
  MutexLock lock(mutex_);
  return state_ == State::done || state_ == State::failed || state_ == State::resting;
}

void ScorerProcess::end_unfinished() {
  MutexLock lock(mutex_);
  if (state_ != State::done && state_ != State::failed) state_ = State::gone;
  changed_.notify_all();
}

// Ticks are counted, not the clock: while the broker itself is stopped, nobody can ask it for
// anything.
ScorerProcess::State ScorerProcess::wait_while(State state, const std::stop_token& stop) {
  constexpr std::chrono::milliseconds kTick(250);
  const TimeLimits& limits = task_->limits;
  Idle idle;
  idle.tick = std::min({kTick, limits.start, limits.progress, limits.chunk});
  MutexLock lock(mutex_);
  for (;;) {
    const auto moved = [&] { return state_ != state; };
    if (changed_.wait_for(mutex_, stop, idle.tick, moved) || stop.stop_requested()) return state_;
    if (is_stuck(state, idle) || has_excess(idle)) return state_;
  }
}

// After each tick. Sets stuck_.
bool ScorerProcess::is_stuck(State state, Idle& idle) {
  const Progress& progress = progress_.get();
  const uint64_t steps =
      progress.prepared + progress.decoded + progress.scored + progress.encoded + calls_;
  const bool moved = std::exchange(idle.steps, steps) != steps;
  const bool committed = std::exchange(idle.commits, commits_.load()) != commits_;
  const bool waits = waits_ && !has_work();
  // What the broker takes long for is not the scorer's fault.
  const bool busy = answering_ > (waits_ ? 1 : 0);
  if (moved || waits || busy) idle.without_step = {};
  if (committed || waits) idle.without_commit = {};
  if (!waits && !busy) {
    if (!moved) idle.without_step += idle.tick;
    if (!committed) idle.without_commit += idle.tick;
  }
  const auto in_seconds = [](std::chrono::milliseconds time) {
    return std::chrono::duration<double>(time).count();
  };
  const TimeLimits& limits = task_->limits;
  const auto start =
      task_->parameters.norm == "shot" ? std::max(limits.start, limits.chunk) : limits.start;
  if (idle.without_step >= limits.progress) {
    stuck_ = fmt::format("made no progress for {:g} seconds", in_seconds(limits.progress));
  } else if (state == State::starting && idle.without_commit >= start) {
    stuck_ = fmt::format("was not ready after {:g} seconds", in_seconds(start));
  } else if (state == State::scoring && idle.without_commit >= limits.chunk) {
    stuck_ = fmt::format("finished no chunk for {:g} seconds", in_seconds(limits.chunk));
  }
  return !stuck_.empty();
}

// Likewise. Sees to the limit of processor time, too.
bool ScorerProcess::has_excess(const Idle& idle) {
  const auto usage = usage_of(pid_);
  if (!usage) return false;
  stuck_ = find_excess(*usage, task_->memory, most_threads(task_->threads));
  if (idle.without_step == idle.without_step.zero()) {
    limit_processor_time(pid_, *usage, task_->limits.progress);
  }
  return !stuck_.empty();
}

// Once the scorer asks for another task its threads here answer nothing else, and look at nothing
// of this one. One that does not ask soon does not stay.
bool ScorerProcess::take_rest() {
  constexpr int kMostReads = 32;  // more than a pipe holds
  {
    MutexLock lock(mutex_);
    changed_.wait_for(mutex_, task_->end_timeout,
                      [this] { return asks_for_task_ || state_ != State::done; });
    if (!asks_for_task_ || state_ != State::done) return false;
    state_ = State::resting;
    desk_ = nullptr;
  }
  open_.clear();
  {
    MutexLock lock(log_mutex_);
    (void)hear_log(kMostReads);  // what it said before it asked
    log_ = nullptr;
  }
  at_rest_ = usage_of(pid_).value_or(Usage());
  return true;
}

bool ScorerProcess::rests_well() {
  constexpr uint64_t kMoreMemory = uint64_t{64} << 20;  // bytes
  constexpr int kMoreThreads = 8;
  constexpr std::chrono::seconds kMoreTime(2);
  if (!rests()) return false;
  const auto usage = usage_of(pid_);
  return usage && usage->memory <= at_rest_.memory + kMoreMemory &&
         usage->threads <= at_rest_.threads + kMoreThreads &&
         usage->processor <= at_rest_.processor + kMoreTime;
}

bool ScorerProcess::rests() { return is_in(State::resting); }

bool ScorerProcess::give(const ScorerTask& task) {
  {
    MutexLock lock(log_mutex_);
    log_ = task.log;
    last_words_.clear();
  }
  if (const auto usage = usage_of(pid_)) {
    limit_processor_time(pid_, *usage, task.limits.progress);
  }
  MutexLock lock(mutex_);
  if (state_ != State::resting) return false;
  task_ = &task;
  model_ = {};
  standing_.reset();
  prepared_ = {};
  beside_.clear();
  at_work_.clear();
  desk_failure_.reset();
  ended_ = std::stop_source();
  Progress& progress = progress_.get();
  for (auto* count : {&progress.prepared, &progress.decoded, &progress.scored, &progress.encoded,
                      &progress.chunks}) {
    *count = 0;
  }
  state_ = State::starting;
  changed_.notify_all();
  if (task.started) task.started(pid_);
  return true;
}

std::string ScorerProcess::finish_off() {
  end_source().request_stop();
  bool ends_itself = false;
  {
    MutexLock lock(mutex_);
    ends_ = true;
    changed_.notify_all();
    ends_itself = stuck_.empty() && !asks_for_task_ &&
                  (state_ == State::gone || state_ == State::done || state_ == State::failed);
  }
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  pollfd ended{process.get(), POLLIN, 0};
  if (!ends_itself || !process ||
      ::poll(&ended, 1, static_cast<int>(task_->end_timeout.count())) <= 0) {
    ::kill(pid_, SIGKILL);
  }
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  end_status_ = status;
  for (std::jthread* thread : {&control_thread_, &result_thread_, &log_thread_}) {
    if (thread->joinable()) thread->join();
  }
  MutexLock lock(log_mutex_);
  return how_it_ended(status) +
         (last_words_.empty() ? "" : " with the last words '" + plain(last_words_) + "'");
}

std::string ScorerProcess::how_it_ended(int status) const {
  if (!stuck_.empty()) return stuck_;
  if (WIFSIGNALED(status)) {
    if (WTERMSIG(status) == SIGXCPU) return "took more processor time than it may";
    const char* name = ::sigabbrev_np(WTERMSIG(status));
    return fmt::format("was killed by signal {} ({})", WTERMSIG(status), name ? name : "?");
  }
  return fmt::format("ended by itself with code {}", WEXITSTATUS(status));
}

Result<Prepared> ScorerProcess::prepare(std::stop_token stop) {
  const State state = wait_while(State::starting, stop);
  if (state == State::ready) return prepared_;
  if (stop.stop_requested()) return make_error(Code::cancelled, "Interrupted.");
  if (state == State::failed) {
    MutexLock lock(mutex_);
    return failure_;
  }
  died_ = true;
  return make_error(Code::corrupt,
                    "The scorer {} while it looked at the model and at '{}'; one of them may be "
                    "damaged, or the memory too small.",
                    finish_off(), task_->shown_name);
}

Result<std::string> ScorerProcess::score(ChunkDesk& desk, std::stop_token stop) {
  {
    MutexLock lock(mutex_);
    // It may have died since it was ready.
    if (state_ == State::ready) state_ = State::scoring;
    desk_ = &desk;
    changed_.notify_all();
  }
  const State state = wait_while(State::scoring, stop);
  if (state == State::done && task_->stays && take_rest()) return std::string();
  const bool stopped = stop.stop_requested() && state != State::done;
  const std::string end = finish_off();
  if (stopped) return make_error(Code::cancelled, "Interrupted.");
  if (state == State::done) {
    if (kSanitized && end_status_ != 0) {
      return make_error(Code::internal, "The scorer {} after its work.", end);
    }
    return std::string();
  }
  if (state != State::failed) return fmt::format("The scorer {}.", end);
  MutexLock lock(mutex_);
  if (desk_failure_) return *desk_failure_;
  if (!concerns_one_chunk(failure_.code)) return failure_;
  return failure_.message;
}

}  // namespace atelier::run
