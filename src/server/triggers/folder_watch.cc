// SPDX-License-Identifier: Apache-2.0
#include "server/triggers/folder_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

namespace atelier::server {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kNews = IN_MOVED_TO | IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_FROM |
                           IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_DONT_FOLLOW;
// So that news of a busy folder never keeps read() from returning.
constexpr int kReadsTogether = 64;

std::string joined(const std::string& folder, const std::string& name) {
  return folder.empty() ? name : folder + "/" + name;
}

}  // namespace

struct FolderWatch::Event {
  int watch;
  uint32_t mask;
  std::string name;
};

Result<std::unique_ptr<FolderWatch>> FolderWatch::open(const fs::path& folder) {
  std::unique_ptr<FolderWatch> watch(new FolderWatch(folder));
  watch->fd_ = Fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!watch->fd_) {
    return make_error(Code::unavailable,
                      "The folder '{}' cannot be watched: {}; it is listed from time to time "
                      "(more at once: fs.inotify.max_user_instances).",
                      folder.string(), describe_errno(errno));
  }
  // The root itself may be named by a link.
  const int root = ::inotify_add_watch(watch->fd_.get(), folder.c_str(), kNews & ~IN_DONT_FOLLOW);
  if (root < 0) {
    const bool full = errno == ENOSPC || errno == ENOMEM;
    return make_error(full ? Code::unavailable : Code::invalid_argument,
                      "The folder '{}' cannot be watched: {}; {}.", folder.string(),
                      describe_errno(errno),
                      full ? "allow more watches by fs.inotify.max_user_watches"
                           : "make it, or let this user read it");
  }
  watch->paths_[root] = "";
  watch->watches_[""] = root;
  watch->refresh();
  return watch;
}

void FolderWatch::refresh() {
  trouble_.reset();
  watch_tree("", nullptr);
}

bool FolderWatch::watch_one(const std::string& path) {
  const int watch = ::inotify_add_watch(fd_.get(), (root_ / path).c_str(), kNews);
  if (watch < 0) {
    // Gone already, or no folder any more: no news are lost.
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return false;
    trouble_ = fmt::format(
        "The folder '{}' cannot be watched: {}; what comes into it is found by listing{}.",
        (root_ / path).string(), describe_errno(errno),
        errno == ENOSPC ? " (more watches: fs.inotify.max_user_watches)" : "");
    // What is in it is still to be looked at.
    return true;
  }
  // A folder that was moved while nobody looked keeps its watch and gets its new name; another of
  // the same name has another watch. Adding one again changes nothing.
  if (const auto old = watches_.find(path); old != watches_.end()) paths_.erase(old->second);
  if (const auto known = paths_.find(watch); known != paths_.end()) watches_.erase(known->second);
  paths_[watch] = path;
  watches_[path] = watch;
  return true;
}

void FolderWatch::watch_tree(const std::string& path, FolderNews* news) {
  std::vector<std::string> waiting = {path};
  while (!waiting.empty()) {
    const std::string folder = std::move(waiting.back());
    waiting.pop_back();
    if (!folder.empty() && !watch_one(folder)) continue;
    // A folder that cannot be read, or went, has nothing in it for us.
    std::error_code error;
    for (fs::directory_iterator at(root_ / folder, error), end; !error && at != end;
         at.increment(error)) {
      const std::string name = at->path().filename().string();
      if (name.starts_with('.')) continue;
      std::error_code ignored;
      if (at->symlink_status(ignored).type() == fs::file_type::directory) {
        waiting.push_back(joined(folder, name));
      } else if (news != nullptr) {
        news->maybe.insert(joined(folder, name));
      }
    }
  }
}

void FolderWatch::forget_tree(const std::string& path) {
  const std::string below = path + "/";
  for (auto at = watches_.lower_bound(path); at != watches_.end();) {
    if (at->first != path && !at->first.starts_with(below)) {
      // "a-b" sorts between "a" and "a/b".
      if (!at->first.starts_with(path)) return;
      ++at;
      continue;
    }
    ::inotify_rm_watch(fd_.get(), at->second);
    paths_.erase(at->second);
    at = watches_.erase(at);
  }
}

Result<FolderNews> FolderWatch::read() {
  FolderNews news;
  alignas(inotify_event) std::array<char, 65536> buffer;
  for (int reads = 0; reads < kReadsTogether; ++reads) {
    const ssize_t got = ::read(fd_.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    for (ssize_t at = 0; at < got;) {
      inotify_event head;
      std::memcpy(&head, buffer.data() + at, sizeof(head));
      // Padded with NULs.
      const char* name = buffer.data() + at + sizeof(head);
      const size_t length = head.len == 0 ? 0 : ::strnlen(name, head.len);
      take({head.wd, head.mask, std::string(name, length)}, news);
      at += static_cast<ssize_t>(sizeof(head) + head.len);
    }
  }
  if (!root_gone_) return news;
  return make_error(Code::unavailable,
                    "The folder '{}' is gone; make it again, or change the trigger.",
                    root_.string());
}

void FolderWatch::take(const Event& event, FolderNews& news) {
  if ((event.mask & IN_Q_OVERFLOW) != 0) {
    news.lost = true;
    return;
  }
  const auto found = paths_.find(event.watch);
  if (found == paths_.end()) return;  // of a folder that was moved away
  const std::string folder = found->second;
  if ((event.mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT)) != 0) {
    // Of a folder below, its parent tells the rest.
    if (folder.empty()) root_gone_ = true;
    if ((event.mask & IN_IGNORED) != 0) {
      watches_.erase(folder);
      paths_.erase(event.watch);
    }
    return;
  }
  if (event.name.empty() || event.name.starts_with('.')) return;
  const std::string path = joined(folder, event.name);
  if ((event.mask & IN_ISDIR) != 0) return take_folder(event, path, news);
  if ((event.mask & IN_MOVED_TO) != 0) {
    news.whole.insert(path);
  } else if ((event.mask & (IN_CLOSE_WRITE | IN_CREATE)) != 0) {
    news.maybe.insert(path);
  }
}

void FolderWatch::take_folder(const Event& event, const std::string& path, FolderNews& news) {
  if ((event.mask & IN_MOVED_FROM) != 0) forget_tree(path);
  if ((event.mask & (IN_CREATE | IN_MOVED_TO)) != 0) watch_tree(path, &news);
}

}  // namespace atelier::server
