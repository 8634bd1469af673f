// SPDX-License-Identifier: Apache-2.0
#include "engine/local.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <thread>

#include "base/file.h"

namespace atelier::engine {
namespace {

constexpr std::chrono::milliseconds kTick(200);
constexpr int kInterrupted = 130;  // the program's exit code

Error cannot(const char* what) {
  return make_error(code_of_errno(errno, Code::internal), "Cannot {}: {}.", what,
                    describe_errno(errno));
}

// The inverse of what the program's exit codes mean.
Code code_of_exit(int code) {
  switch (code) {
    case 2: return Code::invalid_argument;
    case 3: return Code::invalid_input;
    case 4: return Code::unavailable;
    case kInterrupted: return Code::cancelled;
    default: return Code::internal;
  }
}

class Worker {
 public:
  static Result<Worker> start(const LocalSetup& setup, int k) {
    Worker worker(k);
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return cannot("make a pipe");
    worker.words_ = Fd(pipe[0]);
    const Fd end(pipe[1]);
    // On our end only: the worker may wait for us.
    if (::fcntl(pipe[0], F_SETFL, O_NONBLOCK) != 0) return cannot("make a pipe");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, end.get(), 2);
    std::vector<std::string> words = setup.arguments(k, setup.workers);
    words.insert(words.begin(), "atelier");
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    // A group of its own: what a terminal sends to ours is for us to pass on, once.
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    errno = ::posix_spawn(&worker.pid_, setup.program.c_str(), &actions, &attributes,
                          arguments.data(), environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (errno != 0) {
      worker.pid_ = -1;
      return cannot("start a worker");
    }
    worker.process_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, worker.pid_, 0)));
    return worker;
  }

  Worker(Worker&& other) noexcept
      : k_(other.k_),
        pid_(std::exchange(other.pid_, -1)),
        words_(std::move(other.words_)),
        process_(std::move(other.process_)),
        said_(std::move(other.said_)) {}
  Worker& operator=(Worker&& other) noexcept {
    std::swap(k_, other.k_);
    std::swap(pid_, other.pid_);
    std::swap(words_, other.words_);
    std::swap(process_, other.process_);
    std::swap(said_, other.said_);
    return *this;
  }
  ~Worker() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

  int k() const { return k_; }
  int process() const { return process_.get(); }
  void ask_to_leave() const { ::kill(pid_, SIGTERM); }

  // The status of waitpid(), once it has ended.
  std::optional<int> ended() {
    listen();
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
    pid_ = -1;
    listen();
    return status;
  }

  // Its last line on stderr, without the program's name before it.
  std::string last_line() const {
    std::string text = said_;
    while (text.ends_with('\n')) text.pop_back();
    text = text.substr(text.rfind('\n') + 1);
    constexpr std::string_view kName = "atelier: ";
    return text.starts_with(kName) ? text.substr(kName.size()) : text;
  }

 private:
  explicit Worker(int k) : k_(k) {}

  void listen() {
    constexpr size_t kKept = 8192;
    std::array<char, 4096> text{};
    for (;;) {
      const ssize_t count = ::read(words_.get(), text.data(), text.size());
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return;
      said_.append(text.data(), static_cast<size_t>(count));
      if (said_.size() > kKept) said_.erase(0, said_.size() - kKept);
    }
  }

  int k_;
  pid_t pid_ = -1;
  Fd words_;
  Fd process_;
  std::string said_;
};

class Engine {
 public:
  Engine(const LocalSetup& setup, std::stop_token stop) : setup_(setup), stop_(std::move(stop)) {}

  Result<void> run() {
    for (int k = 1; k <= setup_.workers; ++k) TRY(start(k));
    while (!workers_.empty()) {
      if (stop_.stop_requested()) {
        send_away();
        return make_error(Code::cancelled, "Interrupted.");
      }
      wait();
      if (const auto looked = look(); !looked.ok()) {
        send_away();
        return looked;
      }
    }
    return {};
  }

 private:
  Result<void> start(int k) {
    workers_.push_back(TRY(Worker::start(setup_, k)));
    return {};
  }

  // Until one ends, or for a moment: their words must not fill the pipes.
  void wait() const {
    std::vector<pollfd> processes;
    for (const Worker& worker : workers_) processes.push_back({worker.process(), POLLIN, 0});
    ::poll(processes.data(), processes.size(), static_cast<int>(kTick.count()));
  }

  Result<void> look() {
    for (size_t i = 0; i < workers_.size();) {
      const std::optional<int> status = workers_[i].ended();
      if (!status) {
        ++i;
        continue;
      }
      const Worker worker = std::move(workers_[i]);
      workers_.erase(workers_.begin() + static_cast<ptrdiff_t>(i));
      TRY(settle(worker, *status));
    }
    return {};
  }

  Result<void> settle(const Worker& worker, int status) {
    const bool left = WIFEXITED(status) && WEXITSTATUS(status) == kInterrupted;
    if (WIFSIGNALED(status) || (left && (!setup_.goes_on || setup_.goes_on()))) {
      const std::string how = left ? std::string("was asked to leave")
                                   : fmt::format("was killed by signal {}", WTERMSIG(status));
      if (++deaths_ > setup_.most_deaths) {
        return make_error(Code::internal,
                          "Worker {} {}, as did {} before it; what is done is kept.", worker.k(),
                          how, deaths_ - 1);
      }
      if (setup_.say) {
        setup_.say(fmt::format("Worker {} {}; another one takes its place.", worker.k(), how));
      }
      return start(worker.k());
    }
    if (const int code = WEXITSTATUS(status); code != 0) {
      const std::string line = worker.last_line();
      return Error{
          code_of_exit(code),
          line.empty() ? fmt::format("Worker {} ended with code {}.", worker.k(), code) : line};
    }
    return {};
  }

  // Those that leave in good order free their chunks at once.
  void send_away() {
    for (const Worker& worker : workers_) worker.ask_to_leave();
    const auto deadline = std::chrono::steady_clock::now() + setup_.patience;
    while (!workers_.empty() && std::chrono::steady_clock::now() < deadline) {
      wait();
      std::erase_if(workers_, [](Worker& worker) { return worker.ended().has_value(); });
    }
    workers_.clear();
  }

  const LocalSetup& setup_;
  std::stop_token stop_;
  std::vector<Worker> workers_;
  int deaths_ = 0;
};

}  // namespace

int threads_of_each(int workers, int threads) {
  if (threads > 0) return threads;
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  return std::max(1, cores / std::max(1, workers));
}

int default_workers(int processors, size_t chunks, uint64_t scorer_bytes, uint64_t memory) {
  constexpr int kProcessorsOfEach = 8;
  const auto by_processors = static_cast<uint64_t>(std::max(1, processors / kProcessorsOfEach));
  uint64_t most = std::min<uint64_t>(by_processors, chunks);
  if (scorer_bytes > 0 && memory > 0) most = std::min(most, memory / scorer_bytes);
  return static_cast<int>(std::max<uint64_t>(1, most));
}

Result<void> run_local_workers(const LocalSetup& setup, std::stop_token stop) {
  return Engine(setup, std::move(stop)).run();
}

}  // namespace atelier::engine
