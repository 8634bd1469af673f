// SPDX-License-Identifier: Apache-2.0
#include "engine/commands.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

#include "base/child_process.h"

namespace atelier::engine {
namespace {

using Time = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kTick(100);
constexpr size_t kMostOutput = size_t{256} << 20;

Error cannot(const char* what) {
  return make_error(code_of_errno(errno, Code::internal), "Cannot {}: {}.", what,
                    describe_errno(errno));
}

// A file in memory at its beginning: unlike a pipe it takes everything at once.
Result<Fd> file_with(std::string_view text) {
  Fd file(::memfd_create("atelier-input", MFD_CLOEXEC));
  if (!file) return cannot("make a file in memory");
  TRY(write_fully(file.get(), as_bytes(text), "a file in memory"));
  if (::lseek(file.get(), 0, SEEK_SET) != 0) return cannot("rewind a file in memory");
  return file;
}

// A terminal's signals reach this program alone.
Result<ChildProcess> start(const std::vector<std::string>& words, int in, int out, int err) {
  ChildSetup setup;
  setup.words = words;
  setup.in = in;
  setup.out = out;
  setup.err = err;
  setup.with_descendants = true;
  setup.refused = [&](int error) {
    if (error != ENOENT) {
      return make_error(code_of_errno(error, Code::internal), "Cannot start '{}': {}.", words[0],
                        describe_errno(error));
    }
    return make_error(Code::unavailable,
                      "There is no command '{}' on this machine; install what it belongs to or "
                      "put its folder on PATH.",
                      words[0]);
  };
  return ChildProcess::start(setup);
}

class ShellFreeCommands final : public Commands {
 public:
  explicit ShellFreeCommands(std::chrono::milliseconds timeout) : timeout_(timeout) {}

  Result<Answer> run(const std::vector<std::string>& words, std::string_view input,
                     std::stop_token stop) override {
    const Fd in = TRY(file_with(input));
    Pipe out = TRY(Pipe::create());
    Pipe err = TRY(Pipe::create());
    ChildProcess child = TRY(start(words, in.get(), out.writing.get(), err.writing.get()));
    out.writing = Fd();
    err.writing = Fd();
    Answer answer;
    const auto deadline = Time::now() + timeout_;
    TRY(listen(words[0], out.reading, err.reading, answer, deadline, stop));
    // It may go on though it says nothing any more.
    std::optional<int> status;
    while (!(status = child.ended())) {
      TRY(check_time(words[0], deadline, stop));
      pollfd end{child.handle(), POLLIN, 0};
      ::poll(&end, 1, static_cast<int>(kTick.count()));
    }
    answer.code = WIFEXITED(*status) ? WEXITSTATUS(*status) : 128 + WTERMSIG(*status);
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
