// SPDX-License-Identifier: Apache-2.0
// Finds the cuts of a video from small signatures of its frames, one after the other.
//
// A signature is a thumbnail of a few cells for each plane, so noise and small motion average out.
// A cut is a frame whose distance to the one before it is large, stands out from the distances
// around it (a pan or a fade is far from frame to frame, too, but evenly so), and after which the
// picture does not come back (a flash does: of the frames around it, one before is like one
// after). Of cuts nearer to each other than kLeastShot the stronger one stays. Frames that stand
// still are not counted as surroundings: a repeated frame says nothing about how fast things move.
//
// Cost: one look at some 25,000 samples of each plane; memory: kLeastShot signatures and four bytes
// a frame. Limits: a dissolve or a fade is no cut, so both scenes are one shot; neither is a change
// between pictures of like brightness and colour in every cell.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "base/frame.h"

namespace atelier::run {

struct FrameSignature {
  static constexpr int kColumns = 12, kRows = 8;
  std::array<std::array<float, kColumns * kRows>, 3> cells{};  // of each plane, 0 to 1
  std::array<float, 3> weight{1, 0, 0};                        // of each plane
};

FrameSignature signature_of(const FrameView& frame);
// 0 (the same) to about 1.
float distance(const FrameSignature& a, const FrameSignature& b);

class CutFinder {
 public:
  static constexpr uint64_t kLeastShot = 8;  // frames

  void add(const FrameSignature& frame);
  // Numbers of the frames, from 0, that begin a shot: 0 and the strongest `most` - 1 cuts, in
  // order; nothing if there was no frame.
  std::vector<uint64_t> shots(size_t most) const;

 private:
  struct Candidate {
    uint64_t frame = 0;
    float nearest = 0;  // distance of the most alike frames before and after it
    FrameSignature before;
  };
  bool stands_out(uint64_t frame) const;

  std::deque<FrameSignature> recent_;  // the last kLeastShot
  std::vector<float> distances_;       // of each frame from the one before; of the first: 0
  std::deque<Candidate> open_;         // the frames after them are still coming
  std::vector<uint64_t> cuts_;         // after which the picture did not come back
};

}  // namespace atelier::run
