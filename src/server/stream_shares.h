// SPDX-License-Identifier: Apache-2.0
// How many streams each caller has: a stream holds a thread for as long as it is listened to.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/mutex.h"

namespace atelier::server {

// Safe from several threads. It must outlive what take() gave.
class StreamShares {
 public:
  explicit StreamShares(int64_t most) : most_(most) {}

  // A place for a stream of that caller, kept for as long as the value lives; nothing if it has as
  // many as it may.
  std::shared_ptr<void> take(const std::string& name) {
    MutexLock lock(mutex_);
    int64_t& held = held_[name];
    if (held >= most_) return nullptr;
    ++held;
    return {this, [this, name](void*) { give_back(name); }};
  }

 private:
  void give_back(const std::string& name) {
    MutexLock lock(mutex_);
    const auto held = held_.find(name);
    if (--held->second == 0) held_.erase(held);
  }
  const int64_t most_;
  Mutex mutex_;
  std::map<std::string, int64_t> held_ GUARDED_BY(mutex_);
};

}  // namespace atelier::server
