// SPDX-License-Identifier: Apache-2.0
#include "base/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace atelier {
namespace {

Error cannot(const char* what) {
  return make_error(code_of_errno(errno, Code::internal), "Cannot {}: {}.", what,
                    describe_errno(errno));
}

// All that a child needs between fork and exec, where nothing may be allocated.
struct Plan {
  const char* program;
  char* const* words;
  std::array<int, 3> streams;  // above 2, so that none is overwritten before it is used; or -1
  int failure;
  pid_t parent;
  int death_signal;
  bool keeps_signals;
};

// Only calls that are safe in a signal handler. Answers errno through `failure`.
[[noreturn]] void become(const Plan& plan) {
  const auto fail = [&plan] {
    const int error = errno;
    (void)!::write(plan.failure, &error, sizeof error);
    ::_exit(127);
  };
  ::setpgid(0, 0);
  if (plan.death_signal != 0) {
    ::prctl(PR_SET_PDEATHSIG, plan.death_signal);
    if (::getppid() != plan.parent) ::_exit(127);
  }
  if (!plan.keeps_signals) {
    for (const int number : {SIGPIPE, SIGXFSZ}) ::signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
  }
  for (int number = 0; number < 3; ++number) {
    const int stream = plan.streams[static_cast<size_t>(number)];
    if (stream >= 0 && ::dup2(stream, number) < 0) fail();
  }
  ::execvp(plan.program, plan.words);
  fail();
  ::_exit(127);
}

// A copy that is none of stdin, stdout and stderr.
Result<Fd> copy_of(int stream) {
  if (stream == ChildSetup::kOurs) return Fd();
  const Fd null(stream == ChildSetup::kNull ? ::open("/dev/null", O_RDWR | O_CLOEXEC) : -1);
  Fd copy(::fcntl(null ? null.get() : stream, F_DUPFD_CLOEXEC, 3));
  if (!copy) return cannot("hand a file to a process");
  return copy;
}

// 0: the program runs.
int failure_of(const Fd& pipe) {
  int error = 0;
  ssize_t count = 0;
  while ((count = ::read(pipe.get(), &error, sizeof error)) < 0 && errno == EINTR) {
  }
  return count == static_cast<ssize_t>(sizeof error) ? error : 0;
}

}  // namespace

Result<Pipe> Pipe::create() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return cannot("make a pipe");
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

Result<ChildProcess> ChildProcess::start(const ChildSetup& setup) {
  const Fd in = TRY(copy_of(setup.in));
  const Fd out = TRY(copy_of(setup.out));
  const Fd err = TRY(copy_of(setup.err));
  Pipe failure = TRY(Pipe::create());
  Fd said = TRY(copy_of(failure.writing.get()));
  failure.writing = Fd();
  std::vector<std::string> copies = setup.words;
  std::vector<char*> pointers;
  for (std::string& word : copies) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const std::string& program = setup.program.empty() ? setup.words.front() : setup.program;
  const Plan plan = {program.c_str(),    pointers.data(), {in.get(), out.get(), err.get()},
                     said.get(),         ::getpid(),      setup.death_signal,
                     setup.keeps_signals};
  const pid_t pid = ::fork();
  if (pid < 0) return cannot("start a process");
  if (pid == 0) become(plan);
  ChildProcess child;
  child.pid_ = pid;
  child.with_descendants_ = setup.with_descendants;
  child.process_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  said = Fd();  // the child's is closed when the program runs
  const int error = failure_of(failure.reading);
  if (error == 0) return child;
  if (setup.refused) return setup.refused(error);
  return make_error(code_of_errno(error, Code::internal), "Cannot start '{}': {}.", program,
                    describe_errno(error));
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept { swap(other); }

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  swap(other);
  return *this;
}

void ChildProcess::swap(ChildProcess& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(process_, other.process_);
  std::swap(with_descendants_, other.with_descendants_);
  std::swap(status_, other.status_);
}

ChildProcess::~ChildProcess() {
  if (pid_ <= 0) return;
  ::kill(with_descendants_ ? -pid_ : pid_, SIGKILL);
  wait();
}

std::optional<int> ChildProcess::ended() {
  if (pid_ > 0 && ::waitpid(pid_, &status_, WNOHANG) != pid_) return std::nullopt;
  pid_ = -1;
  return status_;
}

int ChildProcess::wait() {
  while (pid_ > 0 && ::waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return status_;
}

void ChildProcess::send(int signal) const {
  if (pid_ > 0) ::kill(pid_, signal);
}

}  // namespace atelier
