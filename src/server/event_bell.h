// SPDX-License-Identifier: Apache-2.0
// Wakes those who wait for news of the database.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>

#include "base/mutex.h"

namespace atelier::server {

// Safe from several threads.
class EventBell {
 public:
  void ring() {
    MutexLock lock(mutex_);
    ++rung_;
    changed_.notify_all();
  }
  uint64_t rung() const {
    MutexLock lock(mutex_);
    return rung_;
  }
  // Until it was rung more often than `before` times, or for so long.
  void wait_past(uint64_t before, std::chrono::milliseconds most) {
    const auto deadline = std::chrono::steady_clock::now() + most;
    MutexLock lock(mutex_);
    while (rung_ <= before) {
      if (changed_.wait_until(mutex_, deadline) == std::cv_status::timeout) return;
    }
  }

 private:
  mutable Mutex mutex_;
  std::condition_variable_any changed_;
  uint64_t rung_ GUARDED_BY(mutex_) = 0;
};

}  // namespace atelier::server
