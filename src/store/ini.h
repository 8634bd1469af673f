// SPDX-License-Identifier: Apache-2.0
// INI files, as tools for clouds keep their settings in ("AWS SDKs and Tools Reference Guide:
// shared config and credentials files"):
//
//   # a comment, as is a line that begins with ';'
//   [any text up to the closing bracket]
//   key = value
//   key =
//     inner = value        its name is "key.inner"
//
// Keys are taken in lower case; values as they stand, without white space at their ends. A '#'
// within a line is part of the value, since a secret may hold one. A line that is indented belongs
// to the last key at the margin if that has no value of its own.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace atelier {

struct IniSection {
  std::string name;
  std::map<std::string, std::string> values;
  int line = 0;  // of its heading, counted from 1
};

// The sections in order; a name may come several times. `what` names the text in messages, which
// tell the line's number and nothing of what it holds: it may be a secret. Errors: invalid_argument
// (a line that is none of the above, a key before the first section or twice in one section,
// control characters).
Result<std::vector<IniSection>> parse_ini(std::string_view text, std::string_view what);

}  // namespace atelier
