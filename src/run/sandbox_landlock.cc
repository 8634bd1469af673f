// SPDX-License-Identifier: Apache-2.0
// Landlock by its raw system calls (Documentation/userspace-api/landlock.rst of the kernel), with
// constants of our own: the header of Debian 12 knows ABI 2, kernels are newer.
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>

#include "base/file.h"
#include "run/sandbox_layers.h"

namespace atelier::run {
namespace {

// The same numbers on every architecture.
constexpr long kCreateRuleset = 444;
constexpr long kRestrictSelf = 446;
constexpr uint32_t kCreateVersion = 1;

struct RulesetAttributes {
  uint64_t handled_fs = 0;
  uint64_t handled_net = 0;
  uint64_t scoped = 0;
};

// How many of the lowest bits of each field exist from which ABI on.
struct Known {
  int abi;
  int fs;
  int net;
  int scoped;
};
constexpr std::array kKnown = {
    Known{1, 13, 0, 0},  // execute, read, write, list, remove, make
    Known{2, 14, 0, 0},  // move between folders
    Known{3, 15, 0, 0},  // truncate
    Known{4, 15, 2, 0},  // TCP bind, connect
    Known{5, 16, 2, 0},  // ioctl of devices
    Known{6, 16, 2, 2},  // abstract sockets, signals
};

constexpr uint64_t lowest(int bits) { return (uint64_t{1} << bits) - 1; }

RulesetAttributes everything(int abi) {
  const auto after = std::find_if(kKnown.begin(), kKnown.end(),
                                  [&](const Known& known) { return known.abi > abi; });
  const Known& known = *std::prev(after);
  return {lowest(known.fs), lowest(known.net), lowest(known.scoped)};
}

}  // namespace

Result<int> restrict_by_landlock() {
  const long abi = ::syscall(kCreateRuleset, nullptr, 0, kCreateVersion);
  if (abi < 1) return 0;
  const RulesetAttributes attributes = everything(static_cast<int>(abi));
  const Fd ruleset(static_cast<int>(::syscall(kCreateRuleset, &attributes, sizeof attributes, 0)));
  if (!ruleset || ::syscall(kRestrictSelf, ruleset.get(), 0) != 0) {
    return make_error(Code::internal,
                      "Cannot lock the scorer in by Landlock (ABI {}): {}; --sandbox off goes "
                      "without.",
                      abi, describe_errno(errno));
  }
  return static_cast<int>(abi);
}

}  // namespace atelier::run
