// SPDX-License-Identifier: Apache-2.0
// A lock on one name of a folder that holds between machines which share no locks: only one of them
// can make a symbolic link (where there are none: a file) under a hidden name beside it.
//
// Limits: who waits asks again every few milliseconds. A holder that is killed leaves its lock
// behind: after `patience` without any change, by the clock of who waits, it is taken for dead.
// Then the file that it was about to give its name is removed first, so that a holder that only
// stood still cannot write any more. A remove that stood still so long can still fall into another
// writer's if_match, and so can a third writer if two take over in the same microseconds.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>

#include "base/result.h"

namespace atelier::local {

class NameLock {
 public:
  // `pending`: the name, in the same folder, of the file that the holder will rename; of a remove,
  // any that no file has. Errors: unavailable, as errno_error.
  static Result<NameLock> acquire(const std::filesystem::path& target, const std::string& pending,
                                  std::chrono::milliseconds patience);
  NameLock(NameLock&& other) noexcept;
  NameLock& operator=(NameLock&&) = delete;
  ~NameLock();

 private:
  NameLock(std::filesystem::path path, std::string holder, std::chrono::milliseconds patience);
  std::filesystem::path path_;                   // empty once moved from
  std::string holder_;                           // what the lock says of us
  std::chrono::steady_clock::time_point until_;  // until then nobody can have taken it over
};

}  // namespace atelier::local
