// SPDX-License-Identifier: Apache-2.0
#include "media/matroska_rotation.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cmath>
#include <new>

#include "base/file.h"

extern "C" {
#include <libavutil/display.h>
#include <libavutil/spherical.h>
}

namespace atelier::media {
namespace {

// Tracks stand at the file's front; only codec headers come between.
constexpr size_t kSearched = 4 << 20;
constexpr std::array<uint8_t, 3> kRollElement = {0x76, 0x75, 0x88};
constexpr std::array<uint8_t, 4> kSphereElement = {0x76, 0x71, 0x81, 0x01};

std::vector<uint8_t> roll_element(double roll) {
  std::vector<uint8_t> bytes(kRollElement.begin(), kRollElement.end());
  const auto bits = std::bit_cast<uint64_t>(roll);
  for (int shift = 56; shift >= 0; shift -= 8) bytes.push_back(static_cast<uint8_t>(bits >> shift));
  return bytes;
}

}  // namespace

Turn add_rotation_stand_in(AVStream& stream, std::vector<double>& rolls) {
  size_t size = 0;
  const uint8_t* data = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
  if (!data || size < 9 * sizeof(int32_t)) return Turn::none;
  std::array<int32_t, 9> matrix{};
  std::copy_n(reinterpret_cast<const int32_t*>(data), matrix.size(), matrix.begin());
  const double angle = av_display_rotation_get(matrix.data());  // counter-clockwise, as roll is
  const double determinant =
      static_cast<double>(matrix[0]) * matrix[4] - static_cast<double>(matrix[1]) * matrix[3];
  if (std::isnan(angle) || determinant <= 0 ||
      av_stream_get_side_data(&stream, AV_PKT_DATA_SPHERICAL, nullptr)) {
    return Turn::not_possible;
  }
  const auto fixed = static_cast<int32_t>(std::lround(angle * (1 << 16)));
  if (fixed == 0) return Turn::none;
  size_t bytes = 0;
  AVSphericalMapping* sphere = av_spherical_alloc(&bytes);
  if (!sphere) throw std::bad_alloc();
  sphere->projection = AV_SPHERICAL_EQUIRECTANGULAR;
  sphere->roll = fixed;
  if (av_stream_add_side_data(&stream, AV_PKT_DATA_SPHERICAL, reinterpret_cast<uint8_t*>(sphere),
                              bytes) < 0) {
    av_free(sphere);
    throw std::bad_alloc();
  }
  rolls.push_back(static_cast<double>(fixed) / (1 << 16));
  return Turn::written;
}

Result<void> make_rotations_flat(const std::filesystem::path& file, std::span<const double> rolls) {
  if (rolls.empty()) return {};
  const Fd fd(::open(file.c_str(), O_RDWR | O_CLOEXEC));
  const auto failed = [&](const char* why) {
    return make_error(code_of_errno(errno, Code::internal), "Cannot turn the video in '{}': {}.",
                      file.string(), why);
  };
  if (!fd) return failed(describe_errno(errno).c_str());
  std::vector<uint8_t> head(kSearched);
  const ssize_t got = ::pread(fd.get(), head.data(), head.size(), 0);
  if (got < 0) return failed(describe_errno(errno).c_str());
  head.resize(static_cast<size_t>(got));
  auto from = head.begin();
  for (const double roll : rolls) {
    const std::vector<uint8_t> wanted = roll_element(roll);
    const auto at = std::search(from, head.end(), wanted.begin(), wanted.end());
    const auto sphere = std::find_end(from, at, kSphereElement.begin(), kSphereElement.end());
    if (at == head.end() || sphere == at) return failed("its projection is not where it was put");
    // ProjectionPrivate of 20 bytes may follow, which a rectangle must not have: as many bytes of
    // Void instead.
    constexpr std::array<uint8_t, 3> kBounds = {0x76, 0x72, 0x94};
    constexpr std::array<uint8_t, 4> kFlat = {0x00, 0xEC, 0x95, 0x00};
    const bool bounds = std::equal(kBounds.begin(), kBounds.end(), sphere + 4);
    const size_t size = bounds ? kFlat.size() : 1;
    const auto offset = static_cast<off_t>(sphere - head.begin()) + 3;
    if (::pwrite(fd.get(), kFlat.data(), size, offset) != static_cast<ssize_t>(size)) {
      return failed(describe_errno(errno).c_str());
    }
    from = at + static_cast<ptrdiff_t>(wanted.size());
  }
  return {};
}

}  // namespace atelier::media
