// SPDX-License-Identifier: Apache-2.0
#include "cli/ticker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>

namespace atelier::cli {
namespace {

TEST(Ticker, OfAPhaseItSaysHowLongItTakesUnlessThatIsMomentsOrTooLong) {
  const Ticker::Line line = line_of_phase("Preparing");
  EXPECT_EQ(line(4.9), "");
  EXPECT_EQ(line(5), "Preparing: 0:05");
  EXPECT_EQ(line(62.7), "Preparing: 1:02");
  EXPECT_EQ(line(3723), "Preparing: 62:03");
  EXPECT_EQ(line(6 * 3600 + 1), "") << "what hangs is found out by its silence";
}

TEST(Ticker, AsksAgainAndAgainUntilItIsDestroyed) {
  Console console(false, true);
  FakeClock clock;
  clock.advance(std::chrono::seconds(3));
  std::latch asked{3};
  std::atomic<int> calls = 0;
  {
    const Ticker ticker(console, clock, [&](double seconds) {
      EXPECT_EQ(seconds, 0);
      if (++calls <= 3) asked.count_down();
      return std::string();
    });
    asked.wait();
  }
  const int then = calls;
  std::this_thread::sleep_for(std::chrono::milliseconds(250));
  EXPECT_EQ(calls, then);
}

}  // namespace
}  // namespace atelier::cli
