// SPDX-License-Identifier: Apache-2.0
// SIGINT, SIGTERM and SIGHUP as a stop_token: the first asks, the second ends the process at once
// with 130. A program that goes on for ever may take SIGHUP for something else.
#pragma once

#include <functional>
#include <stop_token>
#include <thread>

#include "base/mutex.h"

namespace atelier::cli {

// Blocks the signals for the calling thread and all that it starts; they wait, also across an exec,
// until an Interrupt is made. A broken pipe and a file-size limit become errors of the write that
// meets them.
void hold_signals();

// Made once in main before any other thread, so that every thread inherits the blocked signals.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  std::stop_token token() const { return stop_.get_token(); }
  // From now on SIGHUP calls `work`, in a thread of its own, instead of stopping; empty: it stops
  // again. When this returns the one before is not running any more.
  void on_hangup(std::function<void()> work);

 private:
  void wait();
  bool hang_up();
  std::stop_source stop_;
  Mutex mutex_;
  std::function<void()> hangup_ GUARDED_BY(mutex_);
  std::jthread waiter_;
};

}  // namespace atelier::cli
