// SPDX-License-Identifier: Apache-2.0
// Adds up what is used at single moments and at rates, over simulated time, and finds the busiest
// second. Used inside src/engine. Cost: O(1) a change, however long the time between two of them.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace atelier::engine {

// `Kinds` things are metered beside each other; the peak of the sum of the first two, too. Seconds
// are whole: those from 3 to 4 are one.
template <size_t Kinds>
class CallMeter {
 public:
  // Time never goes back.
  void advance(double now) {
    if (now >= end_) {
      run_to(end_);
      close_second();
      // Of the whole seconds up to `now` all are alike.
      const double whole = std::floor(now - end_);
      if (whole >= 1) {
        for (size_t i = 0; i < Kinds; ++i) second_[i] = rate_[i];
        for (size_t i = 0; i < Kinds; ++i) total_[i] += rate_[i] * whole;
        close_second();
        at_ += whole;
        end_ += whole;
      }
      end_ += 1;
    }
    run_to(now);
  }
  void add(size_t kind, double amount) {
    second_[kind] += amount;
    total_[kind] += amount;
  }
  void add_to_total(size_t kind, double amount) { total_[kind] += amount; }
  // So much more a second from now on; less if negative.
  void change_rate(size_t kind, double by) { rate_[kind] = std::max(0.0, rate_[kind] + by); }
  void finish() { close_second(); }

  double total(size_t kind) const { return total_[kind]; }
  double peak(size_t kind) const { return peak_[kind]; }
  double peak_of_first_two() const { return peak_of_sum_; }

 private:
  void run_to(double now) {
    const double passed = now - at_;
    for (size_t i = 0; i < Kinds; ++i) {
      second_[i] += rate_[i] * passed;
      total_[i] += rate_[i] * passed;
    }
    at_ = now;
  }
  void close_second() {
    for (size_t i = 0; i < Kinds; ++i) peak_[i] = std::max(peak_[i], second_[i]);
    peak_of_sum_ = std::max(peak_of_sum_, second_[0] + second_[1]);
    second_.fill(0);
  }

  double at_ = 0;
  double end_ = 1;  // of the present second
  std::array<double, Kinds> rate_{};
  std::array<double, Kinds> second_{};
  std::array<double, Kinds> total_{};
  std::array<double, Kinds> peak_{};
  double peak_of_sum_ = 0;
};

}  // namespace atelier::engine
