// SPDX-License-Identifier: Apache-2.0
// std::mutex with clang's thread-safety annotations, so that -Wthread-safety checks what is guarded
// by what.
#pragma once

#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define ATELIER_TSA(x) __attribute__((x))
#else
#define ATELIER_TSA(x)
#endif
#define GUARDED_BY(x) ATELIER_TSA(guarded_by(x))
#define REQUIRES(...) ATELIER_TSA(requires_capability(__VA_ARGS__))

namespace atelier {

class ATELIER_TSA(capability("mutex")) Mutex {
 public:
  void lock() ATELIER_TSA(acquire_capability()) { mutex_.lock(); }
  void unlock() ATELIER_TSA(release_capability()) { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class ATELIER_TSA(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ATELIER_TSA(acquire_capability(mutex)) : mutex_(mutex) {
    mutex_.lock();
  }
  ~MutexLock() ATELIER_TSA(release_capability()) { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace atelier
