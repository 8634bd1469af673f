// SPDX-License-Identifier: Apache-2.0
#include "store/local_files.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <ctime>

#include "store/names.h"

namespace atelier::local {
namespace {

namespace fs = std::filesystem;

Code code_of(int error) {
  switch (error) {
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOTDIR:
    case EISDIR:
    case EEXIST:
    case ELOOP:
    case ENAMETOOLONG: return Code::invalid_argument;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EAGAIN:
    case EBUSY:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN: return Code::unavailable;
    default: return code_of_errno(error, Code::internal);
  }
}

const char* advice_for(int error) {
  switch (error) {
    case EACCES:
    case EPERM:
    case EROFS: return "; get access to it or choose another place";
    case ENOTDIR: return ", as a file stands where a folder should be; choose another place";
    case EISDIR:
    case EEXIST: return ", as a folder has this name; choose another name";
    case ENAMETOOLONG: return "; choose a shorter name";
    case ELOOP: return "; mend the symbolic links";
    case ENOSPC:
    case EDQUOT: return "; free some room and try again";
    default: return "; try again";
  }
}

// Makes a new name lasting. Some file systems cannot flush folders and say EINVAL: they need not.
Result<void> flush_folder(const fs::path& folder) {
  const Fd fd(by_name([&] { return ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (fd && (::fsync(fd.get()) == 0 || errno == EINVAL || errno == EROFS)) return {};
  // A folder that may be written but not read cannot be opened, hence not flushed; one that another
  // writer's remove took away with all that was in it need not be.
  if (!fd && (errno == EACCES || errno == ENOENT)) return {};
  const int error = errno;
  Error result = errno_error("flush the folder", folder, error);
  // The name may be taken by now: the outcome is unknown.
  result.code = code_of_errno(error, Code::unavailable);
  return result;
}

Result<void> make_folders(const fs::path& folder, std::vector<fs::path>& made) {
  const auto make = [&] { return by_name([&] { return ::mkdir(folder.c_str(), 0777); }); };
  if (make() == 0) {
    made.push_back(folder);
    return flush_folder(folder.parent_path());
  }
  if (errno == ENOENT && folder.has_relative_path()) {
    TRY(make_folders(folder.parent_path(), made));
    if (make() == 0) {
      made.push_back(folder);
      return flush_folder(folder.parent_path());
    }
  }
  const int error = errno;
  struct stat info {};
  // Whatever mkdir says (EEXIST, or EROFS and EACCES before it looks), an existing folder will do.
  if (by_name([&] { return ::stat(folder.c_str(), &info); }) == 0) {
    if (S_ISDIR(info.st_mode)) return {};
    return errno_error("make the folder", folder, ENOTDIR);
  }
  // Removed by someone meanwhile: the caller tries again.
  if (error == ENOENT || error == EEXIST) return {};
  return errno_error("make the folder", folder, error);
}

// 0, or errno. What a network file system keeps of a file is seconds old: it is asked to look.
int stat_anew(const fs::path& path, struct stat& info) {
  struct statx found {};
  if (by_name([&] {
        return ::statx(AT_FDCWD, path.c_str(), AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &found);
      }) != 0) {
    return errno;
  }
  info.st_mode = found.stx_mode;
  info.st_ino = found.stx_ino;
  info.st_nlink = found.stx_nlink;
  info.st_size = static_cast<off_t>(found.stx_size);
  info.st_mtim.tv_sec = found.stx_mtime.tv_sec;
  info.st_mtim.tv_nsec = found.stx_mtime.tv_nsec;
  return 0;
}

// renameat2 is called by number: glibc has it, other C libraries may not.
int rename_no_replace(const fs::path& from, const fs::path& to) {
  return static_cast<int>(
      ::syscall(SYS_renameat2, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE));
}

}  // namespace

Error errno_error(std::string_view doing, const fs::path& path, int error) {
  return make_error(code_of(error), "Cannot {} '{}': {}{}.", doing, path.native(),
                    describe_errno(error), advice_for(error));
}

std::string random_name() {
  uint64_t bits = 0;
  if (::getrandom(&bits, sizeof bits, 0) != static_cast<ssize_t>(sizeof bits)) {
    // O_EXCL guards against a clash; this only makes one rare.
    struct timespec now {};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    bits = static_cast<uint64_t>(now.tv_nsec) ^ (static_cast<uint64_t>(::getpid()) << 32);
  }
  return fmt::format("{}{:016x}", kReservedName, bits);
}

bool means_absent(int error) { return error == ENOENT || error == ENOTDIR; }

Result<std::optional<struct stat>> find_file(const fs::path& path) {
  struct stat info {};
  int error = stat_anew(path, info);
  if (error == ENOENT) {
    // What is not there is remembered, too, for as long as the folder seems to be the same.
    const Fd folder(::open(path.parent_path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (folder) {
      look_anew(folder.get());
      error = stat_anew(path, info);
    }
  }
  if (error != 0) {
    if (means_absent(error)) return std::optional<struct stat>();
    return errno_error("look at", path, error);
  }
  if (!S_ISREG(info.st_mode)) return std::optional<struct stat>();
  return std::optional(info);
}

void look_anew(int folder) {
  struct statx ignored {};
  (void)::statx(folder, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &ignored);
}

std::string etag_of(const struct stat& info) {
  return fmt::format("{:x}-{:x}.{:x}-{:x}", info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec,
                     info.st_ino);
}

std::chrono::system_clock::time_point modified_of(const struct stat& info) {
  return std::chrono::system_clock::time_point(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(
          std::chrono::seconds(info.st_mtim.tv_sec) +
          std::chrono::nanoseconds(info.st_mtim.tv_nsec)));
}

void remove_empty_folders(fs::path folder, const fs::path& stop) {
  const std::string inside = stop.native() == "/" ? "/" : stop.native() + "/";
  while (folder.native().size() > inside.size() && folder.native().starts_with(inside) &&
         ::rmdir(folder.c_str()) == 0) {
    folder = folder.parent_path();
  }
}

Result<std::unique_ptr<PendingFile>> PendingFile::create(const fs::path& target,
                                                         std::chrono::milliseconds patience) {
  std::vector<fs::path> made;
  const fs::path folder = target.parent_path();
  int error = 0;
  // Another writer's remove can take an empty folder from under us; that cannot go on for ever.
  for (int attempt = 0; attempt < 100; ++attempt) {
    Result<void> ready = make_folders(folder, made);
    fs::path path = folder / random_name();
    Fd fd(ready.ok() ? by_name([&] {
      return ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    })
                     : -1);
    error = errno;
    if (fd) {
      return std::unique_ptr<PendingFile>(
          new PendingFile(std::move(fd), std::move(path), target, std::move(made), patience));
    }
    if (!ready.ok() || (error != ENOENT && error != EEXIST && error != ESTALE)) {
      for (auto at = made.rbegin(); at != made.rend(); ++at) ::rmdir(at->c_str());
      if (!ready.ok()) return ready.error();
      break;
    }
  }
  return errno_error("write in the folder", folder, error);
}

void PendingFile::discard() {
  if (path_.empty()) return;
  by_name([&] { return ::unlink(path_.c_str()); });
  path_.clear();
  fd_ = Fd();
  for (auto at = made_.rbegin(); at != made_.rend(); ++at) ::rmdir(at->c_str());
}

Result<void> PendingFile::write(std::span<const std::byte> bytes) {
  if (path_.empty()) {
    return make_error(Code::internal, "The write of '{}' has already ended; begin another one.",
                      target_.native());
  }
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd_.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int error = errno;
      discard();  // now, not later: the room may be wanted
      return errno_error("write", target_, error);
    }
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return {};
}

Result<PutOutcome> PendingFile::publish(const Condition& condition) {
  TRY(write({}));
  struct stat info {};
  struct timespec times[2] = {};
  ::clock_gettime(CLOCK_REALTIME, &times[0]);
  times[1] = times[0];
  int error = ::futimens(fd_.get(), times) != 0 || ::fsync(fd_.get()) != 0 ? errno : 0;
  if (error == 0) error = stat_anew(path_, info);
  if (error != 0) {
    discard();
    if (error == ENOENT) return taken_for_dead();
    return errno_error("write", target_, error);
  }
  Result<bool> taken = take_name(condition);
  if (!taken.ok() || !*taken) {
    discard();
    if (!taken.ok()) return taken.error();
    return PutOutcome{};
  }
  path_.clear();
  fd_ = Fd();
  TRY(flush_folder(target_.parent_path()));
  return PutOutcome{true, etag_of(info)};
}

Result<bool> PendingFile::take_name(const Condition& condition) {
  switch (condition.kind) {
    case Condition::Kind::if_absent: return take_free_name();
    case Condition::Kind::if_match: return take_matching_name(condition.etag);
    case Condition::Kind::always: return take_any_name();
  }
  return Error{Code::internal, "A put has an unknown condition; report this."};
}

Result<bool> PendingFile::take_free_name() {
  int error = by_name([&] { return ::link(path_.c_str(), target_.c_str()); }) == 0 ? 0 : errno;
  if (error == 0) {
    by_name([&] { return ::unlink(path_.c_str()); });
    return true;
  }
  if (error == EPERM || error == EOPNOTSUPP || error == ENOSYS || error == EMLINK) {
    // A file system without hard links.
    error = by_name([&] { return rename_no_replace(path_, target_); }) == 0 ? 0 : errno;
    if (error == 0) return true;
  }
  if (error != EEXIST) return errno_error("write", target_, error);
  return has_free_name();
}

// Whether a name that seemed to be taken is ours all the same.
Result<bool> PendingFile::has_free_name() {
  // NFS repeats a request whose answer was lost and then finds its own link.
  struct stat info {};
  if (stat_anew(path_, info) == 0 && info.st_nlink > 1) {
    by_name([&] { return ::unlink(path_.c_str()); });
    return true;
  }
  if (stat_anew(target_, info) == 0 && S_ISDIR(info.st_mode)) {
    return errno_error("write", target_, EISDIR);
  }
  return false;
}

Result<NameLock> PendingFile::lock() const {
  return NameLock::acquire(target_, path_.filename().native(), patience_);
}

Result<bool> PendingFile::take_matching_name(const std::string& etag) {
  const NameLock held = TRY(lock());
  const std::optional<struct stat> now = TRY(find_file(target_));
  if (!now || etag_of(*now) != etag) return false;
  TRY(rename_over());
  return true;
}

Result<bool> PendingFile::take_any_name() {
  // The lock keeps this rename out of the middle of another writer's if_match.
  const NameLock held = TRY(lock());
  TRY(rename_over());
  return true;
}

Result<void> PendingFile::rename_over() {
  if (by_name([&] { return ::rename(path_.c_str(), target_.c_str()); }) == 0) return {};
  if (errno == ENOENT) return taken_for_dead();
  return errno_error("write", target_, errno);
}

Error PendingFile::taken_for_dead() const {
  return make_error(Code::unavailable,
                    "Another writer took that of '{}' for dead, as it had stood still; try again.",
                    target_.native());
}

}  // namespace atelier::local
