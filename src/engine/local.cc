// SPDX-License-Identifier: Apache-2.0
#include "engine/local.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <thread>

#include "base/child_process.h"
#include "engine/worker_process.h"

namespace atelier::engine {
namespace {

constexpr std::chrono::milliseconds kTick(200);

Error cannot(const char* what) {
  return make_error(code_of_errno(errno, Code::internal), "Cannot {}: {}.", what,
                    describe_errno(errno));
}

class Worker {
 public:
  static Result<Worker> start(const LocalSetup& setup, int k) {
    Pipe words = TRY(Pipe::create());
    // On our end only: the worker may wait for us.
    if (::fcntl(words.reading.get(), F_SETFL, O_NONBLOCK) != 0) return cannot("make a pipe");
    ChildSetup child;
    child.program = setup.program;
    child.words = setup.arguments(k, setup.workers);
    child.words.insert(child.words.begin(), "atelier");
    child.out = ChildSetup::kNull;
    child.err = words.writing.get();
    // It is this program, which holds its signals back until it can obey them.
    child.keeps_signals = true;
    child.refused = [](int error) {
      return make_error(code_of_errno(error, Code::internal), "Cannot start a worker: {}.",
                        describe_errno(error));
    };
    auto process = TRY(ChildProcess::start(child));
    return Worker(k, std::move(process), std::move(words.reading));
  }

  int k() const { return k_; }
  int process() const { return process_.handle(); }
  void ask_to_leave() const { process_.send(SIGTERM); }

  // The status of waitpid(), once it has ended.
  std::optional<int> ended() {
    listen();
    const std::optional<int> status = process_.ended();
    if (status) listen();
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
  Worker(int k, ChildProcess process, Fd words)
      : k_(k), process_(std::move(process)), words_(std::move(words)) {}

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
  ChildProcess process_;
  Fd words_;
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
