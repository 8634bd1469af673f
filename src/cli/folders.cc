// SPDX-License-Identifier: Apache-2.0
#include "cli/folders.h"

#include <linux/magic.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <system_error>

namespace atelier::cli {
namespace {

namespace fs = std::filesystem;

fs::path home() {
  if (const char* folder = std::getenv("HOME"); folder != nullptr && *folder == '/') return folder;
  const passwd* user = getpwuid(getuid());
  return user != nullptr ? fs::path(user->pw_dir) : fs::path("/");
}

// The specification: a relative path is invalid and ignored.
fs::path xdg(const char* variable, const char* otherwise) {
  const char* folder = std::getenv(variable);
  return (folder != nullptr && *folder == '/' ? fs::path(folder) : home() / otherwise) / "atelier";
}

}  // namespace

fs::path data_home() { return xdg("XDG_DATA_HOME", ".local/share"); }
fs::path state_home() { return xdg("XDG_STATE_HOME", ".local/state"); }
fs::path cache_home() { return xdg("XDG_CACHE_HOME", ".cache"); }

fs::path program_folder() {
  std::error_code ignored;
  return fs::read_symlink("/proc/self/exe", ignored).parent_path();
}

Result<fs::path> scratch_folder() {
  const char* chosen = std::getenv("TMPDIR");
  const fs::path folder =
      chosen != nullptr && *chosen == '/' ? fs::path(chosen) : cache_home() / "scratch";
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    return make_error(Code::invalid_argument,
                      "Cannot make the scratch folder '{}' ({}); set TMPDIR to a writable one.",
                      folder.string(), error.message());
  }
  return folder;
}

Result<fs::path> scratch_in_memory() {
  const auto in_memory = [](const fs::path& folder) {
    struct statfs info {};
    return ::statfs(folder.c_str(), &info) == 0 && info.f_type == TMPFS_MAGIC;
  };
  const char* chosen = std::getenv("TMPDIR");
  if (chosen != nullptr && *chosen == '/' && in_memory(chosen)) return scratch_folder();
  const fs::path folder = fs::path("/dev/shm") / ("atelier-" + std::to_string(::geteuid()));
  struct stat info {};
  // Who made it first decides who may look: it must be this user, and nobody else.
  const bool made = ::mkdir(folder.c_str(), 0700) == 0 || errno == EEXIST;
  if (made && in_memory(folder) && ::lstat(folder.c_str(), &info) == 0 && S_ISDIR(info.st_mode) &&
      info.st_uid == ::geteuid() && (info.st_mode & 077) == 0) {
    return folder;
  }
  return make_error(Code::invalid_argument,
                    "What is encrypted needs a scratch folder in memory, and '{}' is none of this "
                    "user's alone; set TMPDIR to a folder on a tmpfs.",
                    folder.string());
}

}  // namespace atelier::cli
