// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include <thread>

namespace atelier {
namespace {

constexpr int kHurry = 10;

}  // namespace

Clock::Duration SystemClock::now() const {
  return std::chrono::steady_clock::now().time_since_epoch();
}

void SystemClock::sleep_for(Duration duration) { std::this_thread::sleep_for(duration); }

Clock::Duration HurriedClock::now() const { return system_clock().now() * kHurry; }

void HurriedClock::sleep_for(Duration duration) { system_clock().sleep_for(duration / kHurry); }

Clock& system_clock() {
  static SystemClock clock;
  return clock;
}

}  // namespace atelier
