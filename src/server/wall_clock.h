// SPDX-License-Identifier: Apache-2.0
// The time of day as a dependency: what the service writes down and compares with what others
// wrote.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace atelier::server {

// Milliseconds since 1970 (UTC). May go back when the machine's clock is set: durations are
// measured by base/clock.h.
using Millis = int64_t;

// Safe from several threads.
class WallClock {
 public:
  virtual ~WallClock() = default;
  virtual Millis now() const = 0;
};

class SystemWallClock final : public WallClock {
 public:
  Millis now() const override {
    using namespace std::chrono;
    return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
  }
};

class FakeWallClock final : public WallClock {
 public:
  explicit FakeWallClock(Millis start = 1'700'000'000'000) : now_(start) {}
  Millis now() const override { return now_.load(); }
  void advance(Millis by) { now_ += by; }

 private:
  std::atomic<Millis> now_;
};

}  // namespace atelier::server
