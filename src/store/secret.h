// SPDX-License-Identifier: Apache-2.0
// A secret from outside: given as text, or as a file that is read again whenever it changes, so
// that a run that lasts longer than its token goes on with the next one.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/mutex.h"
#include "base/result.h"

namespace atelier {

// A regular file of this user's or root's that nobody else can use, open for reading. `what` names
// it in messages, "the master key". Errors: invalid_argument (it is not that).
Result<Fd> open_private_file(const std::filesystem::path& path, std::string_view what);

// The text of a file that only this user (or root) can read, without white space at its ends.
// Errors, which name the file and never its content: invalid_argument (absent, empty, longer than
// 64 KiB, of another user, readable by others).
Result<std::string> read_secret_file(const std::filesystem::path& path);

// Safe from several threads.
class Secret {
 public:
  static std::shared_ptr<Secret> text(std::string value);
  static std::shared_ptr<Secret> file(std::filesystem::path path);

  // Errors: those of read_secret_file.
  Result<std::string> read();

 private:
  Mutex mutex_;
  std::string value_ GUARDED_BY(mutex_);
  std::filesystem::path path_;  // empty: the text is all there is
  timespec read_at_ GUARDED_BY(mutex_){};
  ino_t inode_ GUARDED_BY(mutex_) = 0;
};

}  // namespace atelier
