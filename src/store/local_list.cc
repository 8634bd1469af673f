// SPDX-License-Identifier: Apache-2.0
// A walk in key order. Inside one folder, a file sorts by its name and a folder by its name plus
// '/', because that is how the keys below it go on; then walking the folders one after the other
// gives all keys in bytewise order, and folders that hold only keys before `after` or without
// `prefix` are never opened. Cost: the names of the folders on the way, one stat per object listed.
#include "store/local_list.h"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "store/local_files.h"
#include "store/names.h"

namespace atelier::local {
namespace {

namespace fs = std::filesystem;

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

bool is_folder(DIR* folder, const struct dirent& entry) {
  if (entry.d_type != DT_UNKNOWN) return entry.d_type == DT_DIR;
  struct stat info {};
  return by_name([&] {
           return ::fstatat(::dirfd(folder), entry.d_name, &info, AT_SYMLINK_NOFOLLOW);
         }) == 0 &&
         S_ISDIR(info.st_mode);
}

class Walk {
 public:
  Walk(const fs::path& root, std::string_view prefix, std::string_view after, size_t limit)
      : root_(root.native()), prefix_(prefix), after_(after), limit_(limit) {}

  // `folder` is empty or ends with '/'. Stops with one object more than the limit.
  Result<void> visit(const std::string& folder) {
    for (const std::string& name : TRY(names_in(folder))) {
      if (found_.size() > limit_) return {};
      if (name.ends_with('/')) {
        TRY(visit(folder + name));
      } else {
        TRY(add(folder + name));
      }
    }
    return {};
  }

  std::vector<ObjectInfo> take() { return std::move(found_); }

 private:
  // Folders end with '/'.
  Result<std::vector<std::string>> names_in(const std::string& folder) const {
    std::vector<std::string> names;
    const std::string path = root_ + "/" + folder;
    std::unique_ptr<DIR, CloseFolder> open;
    by_name([&] {
      open.reset(::opendir(path.c_str()));
      return open ? 0 : -1;
    });
    if (!open) {
      // Nothing there, or gone since its name was read.
      if (means_absent(errno) || errno == ENAMETOOLONG) return names;
      return errno_error("list the folder", path, errno);
    }
    look_anew(::dirfd(open.get()));
    for (;;) {
      errno = 0;
      const struct dirent* entry = ::readdir(open.get());
      if (entry == nullptr) break;
      std::string name = entry->d_name;
      if (name == "." || name == ".." || name.starts_with(kReservedName)) continue;
      if (is_folder(open.get(), *entry)) name += '/';
      if (is_wanted(folder + name)) names.push_back(std::move(name));
    }
    if (errno != 0) return errno_error("list the folder", path, errno);
    std::sort(names.begin(), names.end());  // std::string compares as unsigned bytes
    return names;
  }

  // Whether `key` is in the page's range or, ending with '/', may have keys below it that are.
  bool is_wanted(std::string_view key) const {
    if (key.ends_with('/')) {
      return (key.starts_with(prefix_) || prefix_.starts_with(key)) &&
             (after_ < key || after_.starts_with(key));
    }
    return key.starts_with(prefix_) && key > after_;
  }

  Result<void> add(std::string key) {
    const std::optional<struct stat> info = TRY(find_file(root_ + "/" + key));
    if (!info) return {};
    found_.push_back(
        {std::move(key), static_cast<uint64_t>(info->st_size), etag_of(*info), modified_of(*info)});
    return {};
  }

  const std::string root_;
  const std::string_view prefix_;
  const std::string_view after_;
  const size_t limit_;
  std::vector<ObjectInfo> found_;
};

}  // namespace

Result<ListPage> list_files(const fs::path& root, std::string_view prefix, std::string_view after,
                            size_t limit) {
  // Start at the folder that the prefix names. One that no key can be in is empty, and ".." must
  // not lead out of the root.
  const size_t slash = prefix.rfind('/');
  std::string folder;
  if (slash != std::string_view::npos) {
    if (!check_key(prefix.substr(0, slash)).ok()) return ListPage{};
    folder = prefix.substr(0, slash + 1);
  }
  Walk walk(root, prefix, after, limit);
  TRY(walk.visit(folder));
  ListPage page{walk.take(), {}};
  if (page.objects.size() > limit) {
    page.objects.pop_back();
    page.next = page.objects.back().key;
  }
  return page;
}

}  // namespace atelier::local
