// SPDX-License-Identifier: Apache-2.0
// A job's pictures as files of their own: "frames/%06d.png".
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <stop_token>
#include <string>

#include "media/muxer.h"

namespace atelier::media {

// Whether the container is a picture sequence.
bool is_pictures(Container container);

// "a-%03d.png" and 7 give "a-007.png". `name` was accepted by container_of().
std::string picture_name(const std::string& name, uint64_t number);
// Whether some number from 1 on gives `file`.
bool is_picture_name(const std::string& name, const std::string& file);

// Gives the encoded pictures of all chunks in display order, numbered from 1, each a whole file;
// of `request` the input, the container and the scratch file are not used.
// Errors: corrupt (a chunk is damaged or has other than its frames), cancelled, those of `take`.
using TakePicture = std::function<Result<void>(uint64_t number, std::span<const std::byte> file)>;
Result<void> for_each_picture(const MuxRequest& request, const TakePicture& take,
                              std::stop_token stop);

}  // namespace atelier::media
