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

  std::optional<int> ended() override { return process_.ended(); }

  void ask_to_leave() override { process_.send(SIGTERM); }

  // What shows that it prints, unless its end of the pipe is closed, or that it ends.
  pollfd output() const { return {closed_ ? -1 : output_.get(), POLLIN, 0}; }
  pollfd process() const { return {process_.handle(), POLLIN, 0}; }

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
