// SPDX-License-Identifier: Apache-2.0
// A picture in memory, as every folder sees it: planar samples, with the colour that gives them
// meaning.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace atelier {

// Code points of ITU-T H.273 (ISO/IEC 23091-2), carried unchanged from the source to the output; 2
// is "unspecified".
struct ColorSpec {
  enum class Range : uint8_t { unspecified = 0, limited = 1, full = 2 };
  // Where a chroma sample sits relative to the luma samples it covers; the order is libav's
  // AVChromaLocation.
  enum class Siting : uint8_t { unspecified = 0, left, center, top_left, top, bottom_left, bottom };
  uint8_t matrix = 2;
  uint8_t primaries = 2;
  uint8_t transfer = 2;
  Range range = Range::unspecified;
  Siting siting = Siting::unspecified;
  bool operator==(const ColorSpec&) const = default;
};

// Planar samples. Depth 8 and less is one byte a sample, more is two bytes, native endian, in the
// low bits.
struct PixelFormat {
  enum class Family : uint8_t { gray, yuv, rgb };
  Family family = Family::yuv;
  uint8_t depth = 8;           // bits a sample, 8 to 16
  uint8_t chroma_shift_x = 1;  // log2 of the horizontal chroma subsampling; 0 unless yuv
  uint8_t chroma_shift_y = 1;
  bool alpha = false;
  bool operator==(const PixelFormat&) const = default;
  int planes() const { return (family == Family::gray ? 1 : 3) + (alpha ? 1 : 0); }
  int bytes_per_sample() const { return depth > 8 ? 2 : 1; }
};

// A view: owns nothing, valid as long as what it was made from. Planes are Y,U,V or R,G,B or Y
// alone, then alpha. `stride` counts bytes and may exceed the row. Chroma planes are ceil(width >>
// shift) wide.
struct FrameView {
  int width = 0;
  int height = 0;
  PixelFormat format;
  ColorSpec color;
  struct Plane {
    std::byte* data = nullptr;
    ptrdiff_t stride = 0;
  };
  std::array<Plane, 4> plane{};

  bool is_chroma(int p) const {
    return format.family == PixelFormat::Family::yuv && (p == 1 || p == 2);
  }
  int plane_width(int p) const {
    return is_chroma(p) ? -((-width) >> format.chroma_shift_x) : width;
  }
  int plane_height(int p) const {
    return is_chroma(p) ? -((-height) >> format.chroma_shift_y) : height;
  }
};

// Whether both hold the same samples with the same meaning: size, format, colour, every plane. What
// lies between the rows is not looked at.
bool same_picture(const FrameView& a, const FrameView& b);

// An owning picture with 64-byte aligned rows.
class FrameBuffer {
 public:
  FrameBuffer() = default;
  FrameBuffer(int width, int height, PixelFormat format, ColorSpec color);
  const FrameView& view() const { return view_; }
  FrameView& view() { return view_; }

 private:
  struct Free {
    void operator()(std::byte* p) const;
  };
  std::unique_ptr<std::byte, Free> bytes_;
  FrameView view_;
};

}  // namespace atelier
