// SPDX-License-Identifier: Apache-2.0
// Commands of a cluster's manager (sbatch, squeue), run and listened to.
#pragma once

#include <chrono>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace atelier::engine {

class Commands {
 public:
  virtual ~Commands() = default;
  struct Answer {
    int code = 0;  // its exit code; 128 and the signal where one ended it
    std::string out;
    std::string err;
  };
  // Runs words[0], looked up in PATH, with `input` on its stdin, until it ends; no shell reads the
  // words. One that takes longer than the commands' time-out is ended. Errors: unavailable (there
  // is no such command, it does not answer in time or answers without end), cancelled, internal.
  virtual Result<Answer> run(const std::vector<std::string>& words, std::string_view input,
                             std::stop_token stop) = 0;
};

// Those of this machine. Safe from several threads.
std::unique_ptr<Commands> make_commands(std::chrono::milliseconds timeout);

}  // namespace atelier::engine
