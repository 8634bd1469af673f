// SPDX-License-Identifier: Apache-2.0
// A bounded queue between two stages of a pipeline. End of stream is a value; an abort wakes both
// sides.
#pragma once

#include <condition_variable>
#include <deque>
#include <optional>

#include "base/mutex.h"

namespace atelier {

// Any number of threads on either side. Memory is bounded by `capacity` items.
template <class T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t capacity) : capacity_(capacity) {}

  // Waits for room. False if the queue was aborted: the item is dropped.
  bool push(T item) {
    MutexLock lock(mutex_);
    while (items_.size() >= capacity_ && !aborted_) changed_.wait(mutex_);
    if (aborted_) return false;
    items_.push_back(std::move(item));
    changed_.notify_all();
    return true;
  }

  // Waits for an item. Empty when the producer has closed the queue and all was taken, or after an
  // abort.
  std::optional<T> pop() {
    MutexLock lock(mutex_);
    while (items_.empty() && !closed_ && !aborted_) changed_.wait(mutex_);
    if (aborted_ || items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    changed_.notify_all();
    return item;
  }

  // No more items will come.
  void close() {
    MutexLock lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

  // Something failed or was cancelled: both sides return at once.
  void abort() {
    MutexLock lock(mutex_);
    aborted_ = true;
    changed_.notify_all();
  }

 private:
  const size_t capacity_;
  Mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<T> items_ GUARDED_BY(mutex_);
  bool closed_ GUARDED_BY(mutex_) = false;
  bool aborted_ GUARDED_BY(mutex_) = false;
};

}  // namespace atelier
