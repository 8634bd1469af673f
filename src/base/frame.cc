// SPDX-License-Identifier: Apache-2.0
#include "base/frame.h"

#include <cstring>
#include <new>

namespace atelier {
namespace {
constexpr std::align_val_t kAlignment{64};
// Vectorised code may read this far past a row's last sample.
constexpr size_t kTail = 64;
}  // namespace

void FrameBuffer::Free::operator()(std::byte* p) const { ::operator delete(p, kAlignment); }

FrameBuffer::FrameBuffer(int width, int height, PixelFormat format, ColorSpec color) {
  view_.width = width;
  view_.height = height;
  view_.format = format;
  view_.color = color;
  std::array<size_t, 4> offset{};
  size_t total = 0;
  for (int p = 0; p < format.planes(); ++p) {
    const size_t row =
        static_cast<size_t>(view_.plane_width(p)) * static_cast<size_t>(format.bytes_per_sample());
    const size_t stride = (row + 63) / 64 * 64;
    view_.plane[static_cast<size_t>(p)].stride = static_cast<ptrdiff_t>(stride);
    offset[static_cast<size_t>(p)] = total;
    total += stride * static_cast<size_t>(view_.plane_height(p));
  }
  bytes_.reset(static_cast<std::byte*>(::operator new(total + kTail, kAlignment)));
  for (int p = 0; p < format.planes(); ++p) {
    view_.plane[static_cast<size_t>(p)].data = bytes_.get() + offset[static_cast<size_t>(p)];
  }
}

bool same_picture(const FrameView& a, const FrameView& b) {
  if (a.width != b.width || a.height != b.height || a.format != b.format || a.color != b.color) {
    return false;
  }
  for (int p = 0; p < a.format.planes(); ++p) {
    const FrameView::Plane& left = a.plane[static_cast<size_t>(p)];
    const FrameView::Plane& right = b.plane[static_cast<size_t>(p)];
    const auto row = static_cast<size_t>(a.plane_width(p) * a.format.bytes_per_sample());
    for (int y = 0; y < a.plane_height(p); ++y) {
      if (std::memcmp(left.data + y * left.stride, right.data + y * right.stride, row) != 0) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace atelier
