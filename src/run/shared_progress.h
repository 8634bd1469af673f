// SPDX-License-Identifier: Apache-2.0
// Progress that a scorer's process writes and its broker reads, in memory of both.
#pragma once

#include <memory>

#include "base/file.h"
#include "run/scorer.h"

namespace atelier::run {

class SharedProgress {
 public:
  static Result<std::unique_ptr<SharedProgress>> create();
  // The other process's side. Errors: invalid_argument.
  static Result<std::unique_ptr<SharedProgress>> open(Fd memory);
  ~SharedProgress();
  SharedProgress(const SharedProgress&) = delete;
  SharedProgress& operator=(const SharedProgress&) = delete;
  Progress& get() { return *progress_; }
  const Fd& memory() const { return memory_; }

 private:
  SharedProgress(Fd memory, Progress* progress) : memory_(std::move(memory)), progress_(progress) {}
  Fd memory_;
  Progress* progress_;
};

}  // namespace atelier::run
