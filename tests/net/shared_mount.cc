// SPDX-License-Identifier: Apache-2.0
// shared_mount FOLDER MOUNT SECONDS [plain|stale]: shows FOLDER at MOUNT until it is told to end,
// as a network file system would. For tests (tests/net/shared_mounts.py).
//
// Two of these over one folder are two machines: the kernel gives each mount inodes, names, pages
// and locks of its own. Names and attributes of what is there are believed for SECONDS, as NFS
// does for acregmin (that something is absent, and lists, are asked for each time); what was
// written is on the other side when the call returns, and a file that is opened is looked at anew
// (close to open). flock and fcntl hold on one mount only. `plain`: without links, as FAT and many
// servers of SMB are. `stale`: now and then three calls in a row with a name say ESTALE, as NFS
// does of names that others replace all the time (the kernel hides the first of two).
#define FUSE_USE_VERSION 31
#include <dirent.h>
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

namespace {

struct Options {
  int folder = -1;
  double seconds = 1;
  bool plain = false;
  bool stale = false;
};

const Options& options() { return *static_cast<const Options*>(fuse_get_context()->private_data); }
int folder() { return options().folder; }

// libfuse's paths begin with '/'.
const char* inside(const char* path) { return path[1] == '\0' ? "." : path + 1; }
int fd_of(const fuse_file_info* file) { return static_cast<int>(file->fh); }
int answer(int result) { return result == 0 ? 0 : -errno; }
int answer(ssize_t count) { return count >= 0 ? static_cast<int>(count) : -errno; }

// Nobody replaces the root, nor a file that has not got its name yet.
bool is_stale(const char* path) {
  static std::atomic<unsigned> calls = 0;
  if (!options().stale || std::strcmp(path, "/") == 0) return false;
  if (std::strstr(path, "/.atelier-tmp-") != nullptr && std::strstr(path, "-lock-") == nullptr) {
    return false;
  }
  return calls++ % 40 >= 37;
}

int get_attributes(const char* path, struct stat* info, fuse_file_info* file) {
  if (file != nullptr) return answer(::fstat(fd_of(file), info));
  if (is_stale(path)) return -ESTALE;
  return answer(::fstatat(folder(), inside(path), info, AT_SYMLINK_NOFOLLOW));
}

int read_link(const char* path, char* into, size_t size) {
  if (is_stale(path)) return -ESTALE;
  const ssize_t count = ::readlinkat(folder(), inside(path), into, size - 1);
  if (count < 0) return -errno;
  into[count] = '\0';
  return 0;
}

int make_folder(const char* path, mode_t mode) {
  return answer(::mkdirat(folder(), inside(path), mode));
}
int remove_file(const char* path) { return answer(::unlinkat(folder(), inside(path), 0)); }
int remove_folder(const char* path) {
  return answer(::unlinkat(folder(), inside(path), AT_REMOVEDIR));
}

int make_symlink(const char* target, const char* path) {
  if (options().plain) return -EPERM;
  return answer(::symlinkat(target, folder(), inside(path)));
}

int make_link(const char* from, const char* to) {
  if (options().plain) return -EPERM;
  return answer(::linkat(folder(), inside(from), folder(), inside(to), 0));
}

int rename_file(const char* from, const char* to, unsigned flags) {
  return answer(static_cast<int>(
      ::syscall(SYS_renameat2, folder(), inside(from), folder(), inside(to), flags)));
}

int set_mode(const char* path, mode_t mode, fuse_file_info* file) {
  if (file != nullptr) return answer(::fchmod(fd_of(file), mode));
  return answer(::fchmodat(folder(), inside(path), mode, 0));
}

int set_size(const char* path, off_t size, fuse_file_info* file) {
  if (file != nullptr) return answer(::ftruncate(fd_of(file), size));
  const int fd = ::openat(folder(), inside(path), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  const int result = answer(::ftruncate(fd, size));
  ::close(fd);
  return result;
}

int set_times(const char* path, const struct timespec times[2], fuse_file_info* file) {
  if (file != nullptr) return answer(::futimens(fd_of(file), times));
  return answer(::utimensat(folder(), inside(path), times, AT_SYMLINK_NOFOLLOW));
}

int keep(int fd, fuse_file_info* file) {
  if (fd < 0) return -errno;
  file->fh = static_cast<uint64_t>(fd);
  return 0;
}

int create_file(const char* path, mode_t mode, fuse_file_info* file) {
  return keep(::openat(folder(), inside(path), file->flags | O_CREAT | O_CLOEXEC, mode), file);
}
int open_file(const char* path, fuse_file_info* file) {
  if (is_stale(path)) return -ESTALE;
  return keep(::openat(folder(), inside(path), file->flags | O_CLOEXEC), file);
}
int read_file(const char*, char* into, size_t size, off_t offset, fuse_file_info* file) {
  return answer(::pread(fd_of(file), into, size, offset));
}
int write_file(const char*, const char* bytes, size_t size, off_t offset, fuse_file_info* file) {
  return answer(::pwrite(fd_of(file), bytes, size, offset));
}
int flush_file(const char*, int, fuse_file_info* file) { return answer(::fsync(fd_of(file))); }
int close_file(const char*, fuse_file_info* file) { return answer(::close(fd_of(file))); }

int open_folder(const char* path, fuse_file_info* file) {
  return keep(::openat(folder(), inside(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC), file);
}

int list_folder(const char*, void* into, fuse_fill_dir_t fill, off_t, fuse_file_info* file,
                fuse_readdir_flags) {
  struct Close {
    void operator()(DIR* folder) const { ::closedir(folder); }
  };
  // A description of its own: one that is shared has one position.
  const std::unique_ptr<DIR, Close> list(
      ::fdopendir(::openat(fd_of(file), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
  if (!list) return -errno;
  while (const struct dirent* entry = ::readdir(list.get())) {
    struct stat info {};
    info.st_ino = entry->d_ino;
    info.st_mode = static_cast<mode_t>(entry->d_type) << 12;
    if (fill(into, entry->d_name, &info, 0, static_cast<fuse_fill_dir_flags>(0)) != 0) break;
  }
  return 0;
}

int get_room(const char*, struct statvfs* info) { return answer(::fstatvfs(folder(), info)); }

void* begin(fuse_conn_info* connection, fuse_config* config) {
  connection->want &= ~static_cast<unsigned>(FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_POSIX_LOCKS);
  config->use_ino = 1;
  config->nullpath_ok = 1;
  config->hard_remove = 1;
  config->auto_cache = 1;
  config->entry_timeout = config->attr_timeout = options().seconds;
  config->ac_attr_timeout_set = 1;
  config->ac_attr_timeout = 0;  // what is opened is looked at anew
  config->negative_timeout = 0;
  return fuse_get_context()->private_data;
}

fuse_operations operations() {
  fuse_operations all{};
  all.init = begin;
  all.getattr = get_attributes;
  all.readlink = read_link;
  all.mkdir = make_folder;
  all.unlink = remove_file;
  all.rmdir = remove_folder;
  all.symlink = make_symlink;
  all.rename = rename_file;
  all.link = make_link;
  all.chmod = set_mode;
  all.truncate = set_size;
  all.utimens = set_times;
  all.create = create_file;
  all.open = open_file;
  all.read = read_file;
  all.write = write_file;
  all.fsync = flush_file;
  all.release = close_file;
  all.opendir = open_folder;
  all.readdir = list_folder;
  all.fsyncdir = flush_file;
  all.releasedir = close_file;
  all.statfs = get_room;
  return all;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 4) {
    std::fprintf(stderr, "usage: shared_mount FOLDER MOUNT SECONDS [plain|stale]\n");
    return 2;
  }
  Options options;
  options.folder = ::open(arguments[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  options.seconds = std::strtod(arguments[3], nullptr);
  options.plain = count > 4 && std::strcmp(arguments[4], "plain") == 0;
  options.stale = count > 4 && std::strcmp(arguments[4], "stale") == 0;
  if (options.folder < 0) {
    std::perror(arguments[1]);
    return 1;
  }
  ::umask(0);  // the caller's was applied
  std::string program = arguments[0];
  std::string foreground = "-f";
  std::string settings = "-ofsname=atelier-shared-mount,allow_other,default_permissions";
  char* own[] = {program.data(), foreground.data(), settings.data(), arguments[2], nullptr};
  const fuse_operations all = operations();
  return fuse_main(4, own, &all, &options);
}
