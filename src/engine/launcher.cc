// SPDX-License-Identifier: Apache-2.0
#include "engine/launcher.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/file.h"

namespace atelier::engine {
namespace {

Error cannot(const char* what) {
  return make_error(code_of_errno(errno, Code::internal), "Cannot {}: {}.", what,
                    describe_errno(errno));
}

// Between fork and exec, where only calls that are safe in a signal handler may be made. Answers
// errno through `failure`.
[[noreturn]] void become(char* const* words, int output, int failure, pid_t parent) {
  const auto fail = [failure] {
    const int error = errno;
    (void)!::write(failure, &error, sizeof error);
    ::_exit(127);
  };
  // A group of its own: what a terminal sends to ours is for us to pass on, once.
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(127);
  // What this program holds back or ignores is not the other's.
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int number : {SIGPIPE, SIGXFSZ}) ::signal(number, SIG_DFL);
  const int null = ::open("/dev/null", O_RDONLY);
  if (null < 0 || ::dup2(null, 0) < 0 || ::dup2(output, 1) < 0 || ::dup2(output, 2) < 0) fail();
  if (null > 2) ::close(null);
  ::execvp(words[0], words);
  fail();
  ::_exit(127);
}

class Child final : public Program {
 public:
  Child(pid_t pid, Fd output) : pid_(pid), output_(std::move(output)) {
    process_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  }
  ~Child() override {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

  std::string read() override {
    std::string said;
    std::array<char, 4096> text{};
    for (;;) {
      const ssize_t count = ::read(output_.get(), text.data(), text.size());
      if (count < 0 && errno == EINTR) continue;
      closed_ = closed_ || count == 0;
      if (count <= 0) return said;
      said.append(text.data(), static_cast<size_t>(count));
    }
  }

  std::optional<int> ended() override {
    int status = 0;
    if (pid_ > 0 && ::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      status_ = status;
    }
    return status_;
  }

  void ask_to_leave() override {
    if (pid_ > 0) ::kill(pid_, SIGTERM);
  }

  // What shows that it prints, unless its end of the pipe is closed, or that it ends.
  pollfd output() const { return {closed_ ? -1 : output_.get(), POLLIN, 0}; }
  pollfd process() const { return {process_.get(), POLLIN, 0}; }

 private:
  pid_t pid_;
  Fd output_;
  Fd process_;
  bool closed_ = false;
  std::optional<int> status_;
};

struct Pipe {
  Fd read;
  Fd write;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return cannot("make a pipe");
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

class ChildLauncher final : public Launcher {
 public:
  Result<std::unique_ptr<Program>> start(const std::vector<std::string>& words) override {
    Pipe output = TRY(make_pipe());
    Pipe failure = TRY(make_pipe());
    if (::fcntl(output.read.get(), F_SETFL, O_NONBLOCK) != 0) return cannot("make a pipe");
    std::vector<std::string> copies = words;
    std::vector<char*> pointers;
    for (std::string& word : copies) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid < 0) return cannot("start a process");
    if (pid == 0) become(pointers.data(), output.write.get(), failure.write.get(), parent);
    failure.write = Fd();
    auto child = std::make_unique<Child>(pid, std::move(output.read));
    int error = 0;
    ssize_t count = 0;
    while ((count = ::read(failure.read.get(), &error, sizeof error)) < 0 && errno == EINTR) {
    }
    if (count == 0) return std::unique_ptr<Program>(std::move(child));
    return make_error(Code::unavailable,
                      "'{}' cannot be started ({}); install Open MPI, or put it into $PATH.",
                      words.front(), describe_errno(error));
  }

  void wait(std::span<Program* const> programs, std::chrono::milliseconds most) override {
    std::vector<pollfd> signs;
    for (const Program* program : programs) {
      const auto* child = static_cast<const Child*>(program);
      signs.push_back(child->output());
      signs.push_back(child->process());
    }
    ::poll(signs.data(), signs.size(), static_cast<int>(most.count()));
  }
};

}  // namespace

std::unique_ptr<Launcher> make_launcher() { return std::make_unique<ChildLauncher>(); }

}  // namespace atelier::engine
