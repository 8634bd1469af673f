// SPDX-License-Identifier: Apache-2.0
// Small files that a person wrote: configurations, pipelines, certificates.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace atelier::server {

// All of it. Errors: invalid_argument (absent, unreadable, larger than `most` bytes), a sentence
// that begins with `what`, "The pipeline".
Result<std::string> read_text_file(const std::filesystem::path& path, std::string_view what,
                                   uint64_t most);

}  // namespace atelier::server
