// SPDX-License-Identifier: Apache-2.0
// Shows how far something is, a few times a second, until it is destroyed: a thread of its own.
// Whoever watches a run's process (a service) takes one that says nothing for half an hour for one
// that hangs, so everything that may take so long has one.
#pragma once

#include <functional>
#include <string>
#include <thread>

#include "base/clock.h"
#include "cli/console.h"

namespace atelier::cli {

class Ticker {
 public:
  // `line` makes what is shown after so many seconds; empty: nothing. Called in the thread. All
  // must outlive it.
  using Line = std::function<std::string(double seconds)>;
  Ticker(Console& console, const Clock& clock, Line line);

 private:
  std::jthread thread_;
};

// What has no parts that could be counted: "Preparing: 0:42", when it takes more than moments.
// After six hours it says no more, so that what hangs is found out.
Ticker::Line line_of_phase(std::string name);

}  // namespace atelier::cli
