// SPDX-License-Identifier: Apache-2.0
// SIGINT, SIGTERM and SIGHUP as a stop_token: the first asks, the second ends the process at once
// with 130.
#pragma once

#include <stop_token>
#include <thread>

namespace atelier::cli {

// Made once in main before any other thread, so that every thread inherits the blocked signals.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  std::stop_token token() const { return stop_.get_token(); }

 private:
  void wait();
  std::stop_source stop_;
  std::jthread waiter_;
};

}  // namespace atelier::cli
