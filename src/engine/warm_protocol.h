// SPDX-License-Identifier: Apache-2.0
// A program that does one command after another, as whoever starts it and itself agree: `atelier
// warm-runs` has a SOCK_SEQPACKET socket of socketpair(2) as its stdin. A packet to it is a
// command, each word, from the program's own name on, with a NUL behind it; the packet back is the
// command's exit code as text, sent after all that the command printed. It takes one command at a
// time, and ends when the socket does, on SIGTERM, and after a command that did not end with 0.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace atelier::engine {

inline constexpr const char* kWarmCommand = "warm-runs";
inline constexpr size_t kLargestWarmCommand = size_t{128} << 10;  // bytes of a packet

// Errors: invalid_argument (it is too long, or empty).
Result<std::string> warm_command_text(const std::vector<std::string>& words);
// No words: it is no command.
std::vector<std::string> parse_warm_command(std::string_view text);

}  // namespace atelier::engine
