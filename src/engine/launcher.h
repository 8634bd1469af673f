// SPDX-License-Identifier: Apache-2.0
// Starting a program that starts others (mpirun) and hearing what it says: a small interface, so
// that an engine is tested without any process.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace atelier::engine {

// A program that was started. One thread. It is killed with this object, and asked to leave
// (SIGTERM) by the kernel if the thread that started it ends.
class Program {
 public:
  virtual ~Program() = default;
  // What it printed since, on stdout and stderr as it came.
  virtual std::string read() = 0;
  // The status of waitpid(), once it has ended; read() then has its last words.
  virtual std::optional<int> ended() = 0;
  virtual void ask_to_leave() = 0;
  // For poll(): readable when there is something to read, or it has ended. Those below 0 are none.
  virtual std::vector<int> handles() const { return {}; }
};

class Launcher {
 public:
  virtual ~Launcher() = default;
  // `words`: a program, looked for in $PATH, and its arguments. Errors: unavailable naming it where
  // there is none; internal, no_space.
  virtual Result<std::unique_ptr<Program>> start(const std::vector<std::string>& words) = 0;
  // Until one of them prints or ends, or for so long.
  virtual void wait(std::span<Program* const> programs, std::chrono::milliseconds most) = 0;
};

std::unique_ptr<Launcher> make_launcher();

// All that there is to read from a descriptor that does not block. `closed` is set when there will
// be no more.
std::string read_available(int fd, bool& closed);
// Waits for one of the programs' handles.
void wait_for_programs(std::span<Program* const> programs, std::chrono::milliseconds most);

}  // namespace atelier::engine
