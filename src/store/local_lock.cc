// SPDX-License-Identifier: Apache-2.0
#include "store/local_lock.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <optional>
#include <thread>

#include "base/file.h"
#include "base/hash.h"
#include "store/local_files.h"
#include "store/names.h"

namespace atelier::local {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kLongestPause(16);

// Of a fixed length, so that any name that fits can be locked.
fs::path lock_of(const fs::path& target) {
  const std::string name = target.filename().native();
  return target.parent_path() /
         fmt::format("{}lock-{}", kReservedName, sha256_hex(as_bytes(name)).substr(0, 16));
}

bool without_links(int error) { return error == EPERM || error == EOPNOTSUPP || error == ENOSYS; }

// 0, or errno. Whether the name is free is asked of the server by both, whatever is cached here.
int make_lock(const fs::path& path, const std::string& holder) {
  if (by_name([&] { return ::symlink(holder.c_str(), path.c_str()); }) == 0) return 0;
  if (!without_links(errno)) return errno;
  const Fd fd(by_name([&] {
    return ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
  }));
  if (!fd) return errno;
  if (write_fully(fd.get(), as_bytes(holder), path).ok()) return 0;
  ::unlink(path.c_str());
  return ENOSPC;
}

// What the lock says; of a file that says nothing yet, what it is. Nothing if there is no lock.
Result<std::optional<std::string>> holder_of(const fs::path& path) {
  std::array<char, PATH_MAX> text{};
  const ssize_t count = by_name([&] { return ::readlink(path.c_str(), text.data(), text.size()); });
  if (count >= 0) return std::optional(std::string(text.data(), static_cast<size_t>(count)));
  if (means_absent(errno)) return std::optional<std::string>();
  if (errno != EINVAL) return errno_error("look at the lock", path, errno);
  const Fd file(by_name([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW); }));
  const ssize_t said = file ? ::read(file.get(), text.data(), text.size()) : 0;
  if (said > 0) return std::optional(std::string(text.data(), static_cast<size_t>(said)));
  const auto info = TRY(find_file(path));
  return info ? std::optional(etag_of(*info)) : std::nullopt;
}

// Ends a lock whose holder seems dead. Another one's, which came meanwhile, is put back.
Result<void> take_over(const fs::path& path, const std::string& holder) {
  if (holder.starts_with(kReservedName) && holder.find('/') == std::string::npos) {
    const fs::path pending = path.parent_path() / holder;
    // All that keeps it from its name.
    if (by_name([&] { return ::unlink(pending.c_str()); }) != 0 && !means_absent(errno)) {
      return errno_error("take over the lock", path, errno);
    }
  }
  const fs::path moved = path.parent_path() / random_name();
  if (by_name([&] { return ::rename(path.c_str(), moved.c_str()); }) != 0) {
    if (means_absent(errno)) return {};
    return errno_error("take over the lock", path, errno);
  }
  const auto found = TRY(holder_of(moved));
  if (found && *found != holder) make_lock(path, *found);
  by_name([&] { return ::unlink(moved.c_str()); });
  return {};
}

}  // namespace

Result<NameLock> NameLock::acquire(const fs::path& target, const std::string& pending,
                                   std::chrono::milliseconds patience) {
  const fs::path path = lock_of(target);
  std::optional<std::string> seen;
  auto since = steady_clock::now();
  for (auto pause = std::chrono::milliseconds(1);; pause = std::min(2 * pause, kLongestPause)) {
    NameLock lock(path, pending, patience);  // before it is made: nobody waits longer than we know
    const int error = make_lock(path, pending);
    if (error == 0) return lock;
    lock.path_.clear();
    if (error != EEXIST) return errno_error("write beside", target, error);
    auto holder = TRY(holder_of(path));
    // A lock whose maker's answer was lost, as NFS repeats what it asks.
    if (holder == pending) return NameLock(path, pending, patience);
    if (!holder || holder != seen) {
      seen = std::move(holder);
      since = steady_clock::now();
    } else if (steady_clock::now() - since >= patience) {
      TRY(take_over(path, *seen));
      continue;
    }
    std::this_thread::sleep_for(pause);
  }
}

NameLock::NameLock(fs::path path, std::string holder, std::chrono::milliseconds patience)
    : path_(std::move(path)),
      holder_(std::move(holder)),
      until_(steady_clock::now() + patience / 2) {}

NameLock::NameLock(NameLock&& other) noexcept
    : path_(std::exchange(other.path_, fs::path())),
      holder_(std::move(other.holder_)),
      until_(other.until_) {}

NameLock::~NameLock() {
  if (path_.empty()) return;
  if (steady_clock::now() >= until_) {
    // It may be another one's by now.
    const auto holder = holder_of(path_);
    if (!holder.ok() || *holder != holder_) return;
  }
  by_name([&] { return ::unlink(path_.c_str()); });
}

}  // namespace atelier::local
