// SPDX-License-Identifier: Apache-2.0
// Processes that stay from one command to the next, with what they have loaded
// (engine/warm_protocol.h): those of one pool of this machine.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/child_process.h"
#include "base/clock.h"
#include "engine/launcher.h"

namespace atelier::engine {

struct WarmRules {
  std::vector<std::string> words;  // of the program that takes commands, and its arguments
  // One without a command for so long is ended, unless there are no more than `least` in all.
  std::chrono::milliseconds idle_timeout{0};
  size_t least = 0;
  // Where there are so many, one of another user that has nothing to do is ended before another is
  // started. Not a bound on what is busy.
  size_t most = 1;
};

// One thread, that of its programs, too; it outlives them.
class WarmPool {
 public:
  WarmPool(const Clock& clock, WarmRules rules) : clock_(clock), rules_(std::move(rules)) {}
  ~WarmPool();
  WarmPool(const WarmPool&) = delete;
  WarmPool& operator=(const WarmPool&) = delete;

  // The command in a process that did commands of the same user and no other before, or none at
  // all. Such a process is used again if the command ends with 0. Otherwise as Launcher::start.
  Result<std::unique_ptr<Program>> start(const std::string& user,
                                         const std::vector<std::string>& words);
  // To be called often: ends what has had nothing to do for long enough, and starts what `least`
  // asks for. Errors: those of starting; internal (one that waited for its first command ended:
  // others are started only some seconds later).
  Result<void> look();
  size_t idle() const { return idle_.size(); }
  size_t busy() const { return busy_; }

 private:
  friend class WarmProgram;
  struct Child {
    Child(ChildProcess started, Fd out, Fd commands)
        : process(std::move(started)), output(std::move(out)), socket(std::move(commands)) {}
    ChildProcess process;
    Fd output, socket;
    bool output_closed = false;
    std::optional<std::string> user;  // nothing: it has not had a command yet
    Clock::Duration idle_since{0};    // or leaving
  };
  Result<std::unique_ptr<Child>> make() const;
  std::unique_ptr<Child> take_idle(const std::string& user);
  bool forget_ended();
  void put_back(std::unique_ptr<Child> child);
  void let_go(std::unique_ptr<Child> child);

  const Clock& clock_;
  const WarmRules rules_;
  std::vector<std::unique_ptr<Child>> idle_;  // the one used last is the last
  // Those whose socket is closed: they end by themselves, and their own children with them.
  std::vector<std::unique_ptr<Child>> leaving_;
  Clock::Duration not_before_{0};  // none is started for `least`
  size_t busy_ = 0;
};

}  // namespace atelier::engine
