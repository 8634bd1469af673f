// SPDX-License-Identifier: Apache-2.0
// What the kernel tells of the files below a folder (inotify(7)), made into two kinds of news:
// files that appeared whole, and files that may be.
//
// The idea: a rename into its place is the only sure sign that a file is whole. Its writer's
// closing it is none, as one that was killed does the same, and a hard link gives nothing but a
// creation. What is put into a folder that is new comes before the kernel watches that folder:
// hence a new folder is watched first and listed then. If the kernel's queue overflows, that is
// said, and whoever asks lists everything. Hidden folders and links to folders are not entered.
// Cost: one watch per folder. Limits: this machine's writers only; those of a network file system's
// other machines are found by listing.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/file.h"
#include "base/result.h"

namespace atelier::server {

// Paths relative to the folder, of files that were there at some time.
struct FolderNews {
  std::set<std::string> whole;  // renamed into their place
  std::set<std::string> maybe;  // made, closed after writing, or in a folder that is new
  bool lost = false;            // there was more: list everything
};

// One thread at a time.
class FolderWatch {
 public:
  // Watches all that is there. Errors: invalid_argument (no folder there, may not be read),
  // unavailable (the kernel has no room for another one).
  static Result<std::unique_ptr<FolderWatch>> open(const std::filesystem::path& folder);

  // What happened since; never blocks. Readable as fd() is. Errors: unavailable if the folder
  // itself went away: open another.
  Result<FolderNews> read();
  int fd() const { return fd_.get(); }

  // Watches folders that are not watched yet, in case news of them was lost.
  void refresh();
  // Why some folders are not watched; their files are found by listing. A sentence.
  const std::optional<std::string>& trouble() const { return trouble_; }
  size_t folders() const { return paths_.size(); }

 private:
  struct Event;
  explicit FolderWatch(std::filesystem::path root) : root_(std::move(root)) {}
  void take(const Event& event, FolderNews& news);
  void take_folder(const Event& event, const std::string& path, FolderNews& news);
  // Adds watches from `path` downwards; files in new ones go to `news`, if given.
  void watch_tree(const std::string& path, FolderNews* news);
  bool watch_one(const std::string& path);
  void forget_tree(const std::string& path);

  const std::filesystem::path root_;
  Fd fd_;
  std::map<int, std::string> paths_;  // by watch; the root's is ""
  std::map<std::string, int> watches_;
  std::optional<std::string> trouble_;
  bool root_gone_ = false;
};

}  // namespace atelier::server
