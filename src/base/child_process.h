// SPDX-License-Identifier: Apache-2.0
// Another program as a child of this one: started, looked at, ended. The one place that forks for
// that; what is said to it and heard of it is its owner's affair. It gets three descriptors and no
// other of ours, provided that they all close on exec.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"

namespace atelier {

// Both ends close on exec.
struct Pipe {
  Fd reading;
  Fd writing;
  // Errors: internal, as where there are too many open files.
  static Result<Pipe> create();
};

struct ChildSetup {
  static constexpr int kNull = -1;  // /dev/null
  static constexpr int kOurs = -2;  // this program's own

  std::vector<std::string> words;  // all its arguments, the first, its own name, too
  std::string program;             // a path, or a name to look for in $PATH; empty: words[0]
  int in = kNull;                  // what becomes its stdin, and so on; they stay the caller's
  int out = kNull;
  int err = kOurs;
  // What is sent to it when the thread that starts it ends, however; 0: nothing.
  int death_signal = 0;
  // Signals that this program blocks or ignores it does, too; otherwise they are as at first.
  bool keeps_signals = false;
  // It is killed with all of its group, that is, with its own children.
  bool with_descendants = false;
  // What is said where the program cannot be run, by errno; unset: internal, naming it.
  std::function<Error(int error)> refused;
};

// In a process group of its own: what a terminal sends to ours is for us to pass on, once. Killed
// and waited for with this object unless its end was seen before. One thread.
class ChildProcess {
 public:
  // Returns when the program runs. Errors: those of `refused`; internal, no_space.
  static Result<ChildProcess> start(const ChildSetup& setup);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess();

  // The status of waitpid() once it has ended, each time; does not wait.
  std::optional<int> ended();
  // Waits for that.
  int wait();
  // To the process alone; nothing if its end was seen.
  void send(int signal) const;
  // For poll(): readable when it ends. -1 where the kernel has no such thing.
  int handle() const { return process_.get(); }

 private:
  ChildProcess() = default;
  void swap(ChildProcess& other) noexcept;

  pid_t pid_ = -1;  // -1: its end was seen
  Fd process_;
  bool with_descendants_ = false;
  int status_ = 0;
};

}  // namespace atelier
