// SPDX-License-Identifier: Apache-2.0
#include "engine/commands.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/file.h"

namespace atelier::engine {
namespace {

using Time = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kTick(100), kShortTick(5);
constexpr size_t kMostOutput = size_t{256} << 20;

Error cannot(const char* what) {
  return make_error(code_of_errno(errno, Code::internal), "Cannot {}: {}.", what,
                    describe_errno(errno));
}

struct Pipe {
  Fd reading;
  Fd writing;
  static Result<Pipe> create() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return cannot("make a pipe");
    return Pipe{Fd(ends[0]), Fd(ends[1])};
  }
};

// A file in memory at its beginning: unlike a pipe it takes everything at once.
Result<Fd> file_with(std::string_view text) {
  Fd file(::memfd_create("atelier-input", MFD_CLOEXEC));
  if (!file) return cannot("make a file in memory");
  TRY(write_fully(file.get(), as_bytes(text), "a file in memory"));
  if (::lseek(file.get(), 0, SEEK_SET) != 0) return cannot("rewind a file in memory");
  return file;
}

// Killed with its descendants unless it was waited for.
class Child {
 public:
  static Result<Child> start(const std::vector<std::string>& words, int in, int out, int err) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawn_file_actions_adddup2(&actions, err, 2);
    // What this program blocks and ignores is its own affair; a terminal's signals reach it alone.
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    sigset_t defaults;
    sigemptyset(&defaults);
    for (const int signal : {SIGPIPE, SIGXFSZ}) sigaddset(&defaults, signal);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    std::vector<std::string> copies = words;
    std::vector<char*> arguments;
    for (std::string& word : copies) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    Child child;
    errno =
        ::posix_spawnp(&child.pid_, arguments[0], &actions, &attributes, arguments.data(), environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (errno == ENOENT) {
      return make_error(Code::unavailable,
                        "There is no command '{}' on this machine; install what it belongs to or "
                        "put its folder on PATH.",
                        words[0]);
    }
    if (errno != 0) return cannot(("start '" + words[0] + "'").c_str());
    return child;
  }
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Child& operator=(Child&&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(-pid_, SIGKILL);
    wait();
  }

  // It is waited for all the same.
  bool has_ended() const {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
           info.si_pid == pid_;
  }

  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  Child() = default;
  pid_t pid_ = -1;
};

class ShellFreeCommands final : public Commands {
 public:
  explicit ShellFreeCommands(std::chrono::milliseconds timeout) : timeout_(timeout) {}

  Result<Answer> run(const std::vector<std::string>& words, std::string_view input,
                     std::stop_token stop) override {
    const Fd in = TRY(file_with(input));
    Pipe out = TRY(Pipe::create());
    Pipe err = TRY(Pipe::create());
    Child child = TRY(Child::start(words, in.get(), out.writing.get(), err.writing.get()));
    out.writing = Fd();
    err.writing = Fd();
    Answer answer;
    const auto deadline = Time::now() + timeout_;
    TRY(listen(words[0], out.reading, err.reading, answer, deadline, stop));
    // It may go on though it says nothing any more.
    while (!child.has_ended()) {
      TRY(check_time(words[0], deadline, stop));
      ::poll(nullptr, 0, static_cast<int>(kShortTick.count()));
    }
    answer.code = child.wait();
    return answer;
  }

 private:
  Result<void> check_time(const std::string& name, Time::time_point deadline,
                          const std::stop_token& stop) const {
    if (stop.stop_requested()) return make_error(Code::cancelled, "Interrupted.");
    if (Time::now() <= deadline) return {};
    return make_error(Code::unavailable, "'{}' does not answer within {} s.", name,
                      std::chrono::duration_cast<std::chrono::seconds>(timeout_).count());
  }

  // Until both ends are closed.
  Result<void> listen(const std::string& name, const Fd& out, const Fd& err, Answer& answer,
                      Time::time_point deadline, const std::stop_token& stop) const {
    std::array<pollfd, 2> ends = {pollfd{out.get(), POLLIN, 0}, pollfd{err.get(), POLLIN, 0}};
    while (ends[0].fd >= 0 || ends[1].fd >= 0) {
      TRY(check_time(name, deadline, stop));
      ::poll(ends.data(), ends.size(), static_cast<int>(kTick.count()));
      read_some(ends[0], answer.out);
      read_some(ends[1], answer.err);
      if (answer.out.size() + answer.err.size() > kMostOutput) {
        return make_error(Code::unavailable, "'{}' answers without end.", name);
      }
    }
    return {};
  }

  static void read_some(pollfd& end, std::string& into) {
    if (end.fd < 0 || end.revents == 0) return;
    std::array<char, 65536> text{};
    const ssize_t count = ::read(end.fd, text.data(), text.size());
    if (count > 0) {
      into.append(text.data(), static_cast<size_t>(count));
    } else if (count == 0 || (errno != EINTR && errno != EAGAIN)) {
      end.fd = -1;
    }
  }

  const std::chrono::milliseconds timeout_;
};

}  // namespace

std::unique_ptr<Commands> make_commands(std::chrono::milliseconds timeout) {
  return std::make_unique<ShellFreeCommands>(timeout);
}

}  // namespace atelier::engine
