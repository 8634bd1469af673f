// SPDX-License-Identifier: Apache-2.0
#include "cli/ticker.h"

#include <condition_variable>
#include <utility>

#include "base/mutex.h"

namespace atelier::cli {

Ticker::Ticker(Console& console, const Clock& clock, Line line)
    : thread_([&console, &clock, line = std::move(line)](const std::stop_token& stop) {
        const auto begin = clock.now();
        Mutex mutex;
        std::condition_variable_any wake;
        while (!stop.stop_requested()) {
          mutex.lock();
          wake.wait_for(mutex, stop, std::chrono::milliseconds(200), [] { return false; });
          mutex.unlock();
          const std::string text = line(std::chrono::duration<double>(clock.now() - begin).count());
          if (!text.empty()) console.progress(text);
        }
        console.end_progress();
      }) {}

Ticker::Line line_of_phase(std::string name) {
  return [name = std::move(name)](double seconds) {
    constexpr double kMoments = 5, kMost = 6 * 3600;
    if (seconds < kMoments || seconds > kMost) return std::string();
    const auto whole = static_cast<uint64_t>(seconds);
    return fmt::format("{}: {}:{:02}", name, whole / 60, whole % 60);
  };
}

}  // namespace atelier::cli
