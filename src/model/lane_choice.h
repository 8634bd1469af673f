// SPDX-License-Identifier: Apache-2.0
// Whether small frames are scored one after the other, each by all threads, or as many at once as
// there are threads, each by one. Threads that share a small frame spend their time meeting each
// other; threads that each hold a frame share caches and memory worse. Which costs more depends on
// network, size and machine, so both are measured on the first frames. Never changes bits.
#pragma once

#include <array>

namespace atelier::model {

class LaneChoice {
 public:
  // How the next frames are to be scored: at once or one after the other. Until each way was
  // measured kRounds times they take turns, then the one with the better best time stands.
  bool at_once() const;
  // `frames` took `seconds` in the way that was told.
  void took(int frames, double seconds);
  bool decided() const { return rounds_[0] >= kRounds && rounds_[1] >= kRounds; }

 private:
  static constexpr int kRounds = 3;  // the first of which touches memory
  std::array<int, 2> rounds_{};
  std::array<double, 2> best_{};  // seconds a frame
};

}  // namespace atelier::model
