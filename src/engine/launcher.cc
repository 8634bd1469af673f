// SPDX-License-Identifier: Apache-2.0
#include "engine/launcher.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/child_process.h"

namespace atelier::engine {
namespace {

Error cannot(const char* what) {
  return make_error(code_of_errno(errno, Code::internal), "Cannot {}: {}.", what,
                    describe_errno(errno));
}

class Child final : public Program {
 public:
  Child(ChildProcess process, Fd output)
      : process_(std::move(process)), output_(std::move(output)) {}

  std::string read() override { return read_available(output_.get(), closed_); }

  std::optional<int> ended() override { return process_.ended(); }

  void ask_to_leave() override { process_.send(SIGTERM); }

  std::vector<int> handles() const override {
    return {closed_ ? -1 : output_.get(), process_.handle()};
  }

 private:
  ChildProcess process_;
  Fd output_;
  bool closed_ = false;
};

class ChildLauncher final : public Launcher {
 public:
  Result<std::unique_ptr<Program>> start(const std::vector<std::string>& words) override {
    Pipe output = TRY(Pipe::create());
    if (::fcntl(output.reading.get(), F_SETFL, O_NONBLOCK) != 0) return cannot("make a pipe");
    ChildSetup setup;
    setup.words = words;
    setup.out = output.writing.get();
    setup.err = output.writing.get();
    setup.death_signal = SIGTERM;
    setup.refused = [&](int error) {
      return make_error(Code::unavailable,
                        "'{}' cannot be started ({}); install Open MPI, or put it into $PATH.",
                        words.front(), describe_errno(error));
    };
    auto child =
        std::make_unique<Child>(TRY(ChildProcess::start(setup)), std::move(output.reading));
    return std::unique_ptr<Program>(std::move(child));
  }

  void wait(std::span<Program* const> programs, std::chrono::milliseconds most) override {
    wait_for_programs(programs, most);
  }
};

}  // namespace

std::string read_available(int fd, bool& closed) {
  std::string said;
  std::array<char, 4096> text{};
  for (;;) {
    const ssize_t count = ::read(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    closed = closed || count == 0;
    if (count <= 0) return said;
    said.append(text.data(), static_cast<size_t>(count));
  }
}

void wait_for_programs(std::span<Program* const> programs, std::chrono::milliseconds most) {
  std::vector<pollfd> signs;
  for (const Program* program : programs) {
    for (const int handle : program->handles()) signs.push_back({handle, POLLIN, 0});
  }
  ::poll(signs.data(), signs.size(), static_cast<int>(most.count()));
}

std::unique_ptr<Launcher> make_launcher() { return std::make_unique<ChildLauncher>(); }

}  // namespace atelier::engine
