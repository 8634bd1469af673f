// SPDX-License-Identifier: Apache-2.0
// Time as a dependency, so that tests never sleep.
#pragma once

#include <atomic>
#include <chrono>

namespace atelier {

// Safe from several threads.
class Clock {
 public:
  using Duration = std::chrono::nanoseconds;
  virtual ~Clock() = default;
  // Since an arbitrary start; never goes back.
  virtual Duration now() const = 0;
  virtual void sleep_for(Duration duration) = 0;
};

class SystemClock final : public Clock {
 public:
  Duration now() const override;
  void sleep_for(Duration duration) override;
};

// One for all, where nobody gives another.
Clock& system_clock();

// Ten times as fast as the system's: whoever repeats something for two minutes, waiting or being
// kept waiting, gives up after twelve seconds and what one attempt takes.
class HurriedClock final : public Clock {
 public:
  Duration now() const override;
  void sleep_for(Duration duration) override;
};

// Advances only when told to, or by sleeping.
class FakeClock final : public Clock {
 public:
  Duration now() const override { return Duration(now_.load()); }
  void sleep_for(Duration duration) override { now_ += duration.count(); }
  void advance(Duration duration) { now_ += duration.count(); }

 private:
  std::atomic<Duration::rep> now_{0};
};

}  // namespace atelier
