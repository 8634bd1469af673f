// SPDX-License-Identifier: Apache-2.0
// What the fuzz targets share. Each is one function, LLVMFuzzerTestOneInput
// (https://llvm.org/docs/LibFuzzer.html), which is given any bytes and ends the process where
// something does not hold. libFuzzer calls it, or replay.cc with the files of a folder.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

namespace atelier::fuzz {

inline std::string_view text_of(const uint8_t* data, size_t size) {
  return size == 0 ? std::string_view()
                   : std::string_view(reinterpret_cast<const char*>(data), size);
}

inline void must(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

// The text before the next line feed, which are both taken off.
inline std::string_view take_line(std::string_view& rest) {
  const size_t end = rest.find('\n');
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return line;
}

// "name: value" lines up to an empty one; what follows is left in `rest`. Names are taken as they
// stand: listeners give them in lower case.
inline std::map<std::string, std::string> take_headers(std::string_view& rest) {
  std::map<std::string, std::string> headers;
  while (!rest.empty()) {
    const std::string_view line = take_line(rest);
    if (line.empty()) break;
    const size_t colon = line.find(": ");
    if (colon == std::string_view::npos) continue;
    headers.emplace(line.substr(0, colon), line.substr(colon + 2));
  }
  return headers;
}

}  // namespace atelier::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
