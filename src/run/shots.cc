// SPDX-License-Identifier: Apache-2.0
#include "run/shots.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace atelier::run {
namespace {

constexpr float kLeastDistance = 0.05F;
constexpr float kStill = 0.002F;  // what coding alone changes
constexpr float kStandsOut = 3;   // times the distances around it
constexpr float kComesBack = 0.5F;
constexpr uint64_t kAround = 6;     // frames on each side
constexpr int kSamplesAcross = 16;  // of a cell, in each direction

float sample_at(const FrameView& frame, size_t plane, int x, int y) {
  const std::byte* row = frame.plane[plane].data + y * frame.plane[plane].stride;
  if (frame.format.bytes_per_sample() == 1) return static_cast<float>(std::to_integer<int>(row[x]));
  uint16_t value = 0;
  std::memcpy(&value, row + 2 * static_cast<ptrdiff_t>(x), 2);
  return static_cast<float>(value);
}

float cell_mean(const FrameView& frame, int plane, int column, int row) {
  const auto from = [](int i, int cells, int size) { return i * size / cells; };
  const int width = frame.plane_width(plane), height = frame.plane_height(plane);
  const int x0 = from(column, FrameSignature::kColumns, width);
  const int x1 = std::max(x0 + 1, from(column + 1, FrameSignature::kColumns, width));
  const int y0 = from(row, FrameSignature::kRows, height);
  const int y1 = std::max(y0 + 1, from(row + 1, FrameSignature::kRows, height));
  const int dx = std::max(1, (x1 - x0) / kSamplesAcross);
  const int dy = std::max(1, (y1 - y0) / kSamplesAcross);
  double sum = 0, count = 0;
  for (int y = y0; y < y1; y += dy) {
    for (int x = x0; x < x1; x += dx) {
      sum += static_cast<double>(sample_at(frame, static_cast<size_t>(plane), x, y));
      count++;
    }
  }
  return static_cast<float>(sum / (count * ((1 << frame.format.depth) - 1)));
}

}  // namespace

FrameSignature signature_of(const FrameView& frame) {
  FrameSignature made;
  const int planes = frame.format.family == PixelFormat::Family::gray ? 1 : 3;
  if (frame.format.family == PixelFormat::Family::yuv) made.weight = {1, 0.5F, 0.5F};
  if (frame.format.family == PixelFormat::Family::rgb) made.weight = {0.3F, 0.5F, 0.2F};
  for (int p = 0; p < planes; p++) {
    auto& cells = made.cells[static_cast<size_t>(p)];
    for (size_t i = 0; i < cells.size(); i++) {
      cells[i] = cell_mean(frame, p, static_cast<int>(i) % FrameSignature::kColumns,
                           static_cast<int>(i) / FrameSignature::kColumns);
    }
  }
  return made;
}

float distance(const FrameSignature& a, const FrameSignature& b) {
  float sum = 0;
  for (size_t p = 0; p < a.cells.size(); p++) {
    float plane = 0;
    for (size_t i = 0; i < a.cells[p].size(); i++) plane += std::abs(a.cells[p][i] - b.cells[p][i]);
    sum += a.weight[p] * plane / static_cast<float>(a.cells[p].size());
  }
  return sum;
}

void CutFinder::add(const FrameSignature& frame) {
  const uint64_t number = distances_.size();
  distances_.push_back(recent_.empty() ? 0 : distance(recent_.back(), frame));
  for (Candidate& c : open_) c.nearest = std::min(c.nearest, distance(c.before, frame));
  if (distances_.back() >= kLeastDistance) {
    Candidate made{number, distances_.back(), recent_.back()};
    for (size_t i = 0; i + 1 < recent_.size(); i++) {
      made.nearest = std::min(made.nearest, distance(recent_[i], frame));
    }
    open_.push_back(made);
  }
  while (!open_.empty() && open_.front().frame + kLeastShot - 1 <= number) {
    const Candidate& c = open_.front();
    if (c.nearest >= kComesBack * distances_[c.frame]) cuts_.push_back(c.frame);
    open_.pop_front();
  }
  recent_.push_back(frame);
  if (recent_.size() > kLeastShot) recent_.pop_front();
}

// From the mean of the frames around it that move, the most distant one left out: it may be a cut.
bool CutFinder::stands_out(uint64_t frame) const {
  const uint64_t first = frame > kAround ? frame - kAround : 1;
  const uint64_t end = std::min<uint64_t>(distances_.size(), frame + kAround + 1);
  float sum = 0, largest = 0;
  int count = 0;
  for (uint64_t i = first; i < end; i++) {
    if (i == frame || distances_[i] < kStill) continue;
    sum += distances_[i];
    largest = std::max(largest, distances_[i]);
    count++;
  }
  return count < 2 ||
         distances_[frame] * static_cast<float>(count - 1) >= kStandsOut * (sum - largest);
}

std::vector<uint64_t> CutFinder::shots(size_t most) const {
  if (distances_.empty()) return {};
  std::vector<uint64_t> strongest;
  for (const uint64_t cut : cuts_) {
    if (cut >= kLeastShot && stands_out(cut)) strongest.push_back(cut);
  }
  std::stable_sort(strongest.begin(), strongest.end(),
                   [&](uint64_t a, uint64_t b) { return distances_[a] > distances_[b]; });
  std::vector<uint64_t> kept{0};  // in order
  for (const uint64_t cut : strongest) {
    if (kept.size() >= most) break;
    const auto next = std::lower_bound(kept.begin(), kept.end(), cut);
    const bool near_next = next != kept.end() && *next - cut < kLeastShot;
    if (near_next || cut - *std::prev(next) < kLeastShot) continue;
    kept.insert(next, cut);
  }
  return kept;
}

}  // namespace atelier::run
