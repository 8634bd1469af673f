// SPDX-License-Identifier: Apache-2.0
// Private to src/media: a turned picture in Matroska.
//
// Matroska says it with a rectangular Projection and its ProjectionPoseRoll (RFC 9559), which
// players and libav read, but libav 5.1 writes projections of spherical video alone. So the muxer
// is given a sphere that is rolled by the angle; afterwards the byte that calls it a sphere is set
// to "rectangular", and the sphere's bounds become Void.
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "media/av.h"

namespace atelier::media {

enum class Turn { none, written, not_possible };
// Before the header: gives `stream`, if it has a display matrix, the stand-in; its roll is added to
// `rolls`. A mirrored picture is not possible, nor one with a projection of its own.
Turn add_rotation_stand_in(AVStream& stream, std::vector<double>& rolls);
// After the file is complete. Errors: internal, no_space.
Result<void> make_rotations_flat(const std::filesystem::path& file, std::span<const double> rolls);

}  // namespace atelier::media
