// SPDX-License-Identifier: Apache-2.0
// The rule of the folders, as a pure function: what a source file under src/ may include.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace atelier {

// One sentence per forbidden #include of `text`, the file `path` ("media/probe.cc", relative to
// src/). Angle brackets name foreign headers, quotes name ours ("folder/file.h"). Includes inside
// comments count too: no file has a reason to hold one.
std::vector<std::string> forbidden_includes(std::string_view path, std::string_view text);

}  // namespace atelier
