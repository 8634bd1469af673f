// SPDX-License-Identifier: Apache-2.0
#include "engine/warm_pool.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

#include "engine/warm_protocol.h"

namespace atelier::engine {
namespace {

Error cannot(const char* what) {
  return make_error(code_of_errno(errno, Code::internal), "Cannot {}: {}.", what,
                    describe_errno(errno));
}

// As waitpid() has it.
int status_of_exit(int code) { return W_EXITCODE(code, 0); }

}  // namespace

// One command of a process that stays.
class WarmProgram final : public Program {
 public:
  WarmProgram(WarmPool& pool, std::unique_ptr<WarmPool::Child> child)
      : pool_(pool), child_(std::move(child)) {
    ++pool_.busy_;
  }
  ~WarmProgram() override {
    --pool_.busy_;
    if (!answered_) return;  // killed with its object
    if (status_ == status_of_exit(0) && !asked_to_leave_) {
      pool_.put_back(std::move(child_));
    } else {
      pool_.let_go(std::move(child_));
    }
  }
  WarmProgram(const WarmProgram&) = delete;
  WarmProgram& operator=(const WarmProgram&) = delete;

  std::string read() override {
    return read_available(child_->output.get(), child_->output_closed);
  }

  std::optional<int> ended() override {
    if (status_) return status_;
    hear_answer();
    if (status_) return status_;
    status_ = child_->process.ended();
    if (!status_) return status_;
    // It may have answered and ended since.
    const int ending = *std::exchange(status_, std::nullopt);
    hear_answer();
    // A good end without an answer is none.
    if (!status_) status_ = ending == status_of_exit(0) ? status_of_exit(1) : ending;
    return status_;
  }

  void ask_to_leave() override {
    asked_to_leave_ = true;
    child_->process.send(SIGTERM);
  }

  std::vector<int> handles() const override {
    return {child_->output_closed ? -1 : child_->output.get(),
            socket_closed_ ? -1 : child_->socket.get(), child_->process.handle()};
  }

 private:
  void hear_answer() {
    std::array<char, 16> text{};
    const ssize_t size = ::recv(child_->socket.get(), text.data(), text.size(), MSG_DONTWAIT);
    if (size <= 0) {
      socket_closed_ = size == 0 || (errno != EAGAIN && errno != EINTR);
      return;
    }
    int code = 1;  // of what is no number
    std::from_chars(text.data(), text.data() + size, code);
    status_ = status_of_exit(code & 0xFF);
    answered_ = true;
  }

  WarmPool& pool_;
  std::unique_ptr<WarmPool::Child> child_;
  std::optional<int> status_;
  bool answered_ = false, socket_closed_ = false, asked_to_leave_ = false;
};

WarmPool::~WarmPool() = default;

Result<std::unique_ptr<WarmPool::Child>> WarmPool::make() const {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return cannot("make a socket for a process");
  }
  Fd ours(ends[0]);
  const Fd theirs(ends[1]);
  Pipe output = TRY(Pipe::create());
  if (::fcntl(output.reading.get(), F_SETFL, O_NONBLOCK) != 0) return cannot("make a pipe");
  ChildSetup setup;
  setup.words = rules_.words;
  setup.in = theirs.get();
  setup.out = output.writing.get();
  setup.err = output.writing.get();
  setup.death_signal = SIGTERM;
  return std::make_unique<Child>(TRY(ChildProcess::start(setup)), std::move(output.reading),
                                 std::move(ours));
}

// Whether one of those ended that never had a command.
bool WarmPool::forget_ended() {
  constexpr std::chrono::seconds kPatience(30);
  bool ended_early = false;
  std::erase_if(idle_, [&](const auto& child) {
    const bool ended = child->process.ended().has_value();
    ended_early = ended_early || (ended && !child->user);
    return ended;
  });
  std::erase_if(leaving_, [&](const auto& child) {
    return child->process.ended() || clock_.now() - child->idle_since >= kPatience;
  });
  return ended_early;
}

void WarmPool::let_go(std::unique_ptr<Child> child) {
  child->socket = Fd();
  child->idle_since = clock_.now();
  leaving_.push_back(std::move(child));
}

// The user's own that worked last, else one that is nobody's yet.
std::unique_ptr<WarmPool::Child> WarmPool::take_idle(const std::string& user) {
  forget_ended();
  auto best = idle_.end();
  for (auto child = idle_.begin(); child != idle_.end(); ++child) {
    if ((*child)->user == user) best = child;
    if (!(*child)->user && best == idle_.end()) best = child;
  }
  if (best == idle_.end()) return nullptr;
  std::unique_ptr<Child> taken = std::move(*best);
  idle_.erase(best);
  return taken;
}

Result<std::unique_ptr<Program>> WarmPool::start(const std::string& user,
                                                 const std::vector<std::string>& words) {
  const std::string text = TRY(warm_command_text(words));
  for (;;) {
    std::unique_ptr<Child> child = take_idle(user);
    const bool is_new = child == nullptr;
    if (is_new) {
      if (!idle_.empty() && idle_.size() + busy_ >= rules_.most) {
        let_go(std::move(idle_.front()));
        idle_.erase(idle_.begin());
      }
      child = TRY(make());
    }
    // What it said while it had no command belongs to none.
    (void)read_available(child->output.get(), child->output_closed);
    if (::send(child->socket.get(), text.data(), text.size(), MSG_NOSIGNAL) >= 0) {
      child->user = user;
      return std::unique_ptr<Program>(std::make_unique<WarmProgram>(*this, std::move(child)));
    }
    // One that has just ended is no reason not to try another.
    if (is_new) return cannot("give a process its command");
  }
}

void WarmPool::put_back(std::unique_ptr<Child> child) {
  child->idle_since = clock_.now();
  idle_.push_back(std::move(child));
}

Result<void> WarmPool::look() {
  constexpr std::chrono::seconds kPause(5);
  const bool ended_early = forget_ended();
  const auto now = clock_.now();
  // The longest without a command first.
  while (!idle_.empty() && idle_.size() + busy_ > rules_.least &&
         now - idle_.front()->idle_since >= rules_.idle_timeout) {
    let_go(std::move(idle_.front()));
    idle_.erase(idle_.begin());
  }
  if (ended_early) {
    not_before_ = now + kPause;
    return make_error(Code::internal,
                      "'{}' ended although it was to wait for runs; others are started, but no "
                      "more than one in {} seconds.",
                      rules_.words.front(), kPause.count());
  }
  if (now < not_before_) return {};
  while (idle_.size() + busy_ < rules_.least) {
    std::unique_ptr<Child> child = TRY(make());
    child->idle_since = now;
    idle_.insert(idle_.begin(), std::move(child));
  }
  return {};
}

}  // namespace atelier::engine
